"""What the exporter is asked and told: the request, the file, and the metrics of a probe."""

import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from relay.catalogue import MENDERS, causes
from relay.commands import guarded
from relay.diagnosis import Verdict, diagnose
from relay.exporter_file import DEFAULT_MODULE, Allowed, ExporterFile, read_exporter_file
from relay.exposition import registry_of
from relay.failure import SettingsError
from relay.finding import Finding, Findings
from relay.probe_metrics import NO_CAUSE, PHASES, UNKNOWN_CAUSE, probe_families
from relay.probe_request import ProbeRefused, ProbeRequest, read_request
from relay.route import Endpoint

FILE = """
[exporter]
targets = ["fw.example:5000", "*.lab.example", "10.1.0.0/16:5000", "2001:db8::/32"]
proxies = ["proxy.example:3128"]
probes_at_once = 3

[proxy.corp]
url = "http://proxy.example:3128"
login_file = "corp.login"

[proxy.second]
url = "socks5h://192.0.2.9"

[module.corp]
through = ["corp", "second"]
timeout_seconds = 4.5
key_file = "key"
qualities = true
"""


@pytest.fixture
def settings(tmp_path: Path) -> ExporterFile:
    (tmp_path / "corp.login").write_text("alice:s3cret\n")
    (tmp_path / "key").write_text("6b" * 32)
    (tmp_path / "exporter.toml").write_text(FILE)
    return read_exporter_file(tmp_path / "exporter.toml")


def ask(
    settings: ExporterFile, scrape: str | None = None, is_public: bool = True, **query: str
) -> ProbeRequest:
    return read_request(list(query.items()), scrape, settings, offset_seconds=0.5, is_public=is_public)


def test_a_module_has_its_route_and_its_login(settings: ExporterFile) -> None:
    """Through its proxies, in their order, with the login of the file, which is shown to nobody."""
    asked = ask(settings, target="fw.example", module="corp")
    assert "http://proxy.example:3128 -> socks5h://192.0.2.9:1080 -> fw.example:5000" == str(asked.route)
    assert ("alice", "s3cret") == (asked.route.hops[0].user, asked.route.hops[0].password)
    assert (4.5, True, False) == (asked.timeout_seconds, asked.module.qualities, asked.debug)
    assert "s3cret" not in repr(asked) + repr(settings)
    assert () == ask(settings, target="fw.example").route.hops
    assert ("corp", 3) == (asked.name, settings.probes_at_once)


def test_a_proxy_may_stand_in_the_request(settings: ExporterFile) -> None:
    """By its name in the file, or by a URL that the file allows; it takes the place of the module's own."""
    assert "alice" == ask(settings, target="fw.example", proxy="corp").route.hops[0].user
    (hop,) = ask(settings, target="fw.example", proxy="http://proxy.example:3128", module="corp").route.hops
    assert (None, 3128) == (hop.user, hop.endpoint.port)


@pytest.mark.parametrize(
    ("query", "reason", "words"),
    [
        ({}, "target", "target: is missing; expected HOST:PORT"),
        ({"target": "fw.example", "module": "nosuch"}, "module", "module: there is no 'nosuch'"),
        ({"target": "fw.example:22"}, "target", "target: fw.example:22 is not one that [exporter] targets"),
        ({"target": "169.254.169.254:80"}, "target", "is not one that"),
        ({"target": "10.1.2.3:22"}, "target", "is not one that"),
        ({"target": "10.2.0.1:5000"}, "target", "is not one that"),
        ({"target": "[2001:db9::1]:5000"}, "target", "is not one that"),
        ({"target": "lab.example:1"}, "target", "is not one that"),
        ({"target": "fw.example:0"}, "target", "is not one that"),
        ({"target": "0x7f000001"}, "malformed", "target: '0x7f000001' looks like an IPv4 address"),
        ({"target": "fw.example", "proxy": "http://evil.example:80"}, "proxy", "is no [proxy.NAME]"),
        ({"target": "fw.example", "proxy": "http://a:pass@proxy.example:3128"}, "proxy", "a login belongs"),
        ({"target": "fw.example", "proxy": "ftp://x"}, "malformed", "proxy: scheme 'ftp'"),
        ({"target": "fw.example", "debug": "yes"}, "malformed", "debug: 'yes'; expected true or false"),
        ({"target": "fw.example", "hostname": "x"}, "malformed", "'hostname': unknown; expected one of"),
        ({"target": "x" * 301}, "malformed", "target: expected once, with at most 300 characters"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_what_is_not_probed(settings: ExporterFile, query: dict[str, str], reason: str, words: str) -> None:
    """Whatever the file does not allow, and whatever is not meant; a password is quoted by no answer."""
    with pytest.raises(ProbeRefused) as refused:
        ask(settings, **query)
    assert reason == refused.value.reason
    assert words in str(refused.value)
    assert "pass" not in str(refused.value)


def test_what_is_allowed(settings: ExporterFile) -> None:
    """Names by pattern, whatever their case, addresses by network, each with a port or without."""
    for target in ("FW.example:5000", "a.lab.example:22", "10.1.255.1:5000", "[2001:db8::7]:9"):
        assert ask(settings, target=target).route.target.port
    assert [True, False] == [Allowed(("::1",)).permits(Endpoint(host, 1)) for host in ("0:0::1", "::2")]
    assert not Allowed().permits(Endpoint("127.0.0.1", 5000))


def test_on_loopback_alone_everything_may_be_probed() -> None:
    """Without a list; with other machines asking, nothing may."""
    assert ask(ExporterFile(), is_public=False, target="any.example:7", proxy="http://p:1").route.hops
    with pytest.raises(ProbeRefused):
        ask(ExporterFile(), target="any.example:7")


@pytest.mark.parametrize(
    ("scrape", "seconds"),
    [(None, 10.0), ("5", 4.5), ("60", 10.0), ("0.6", 0.3), ("10.0", 9.5)],
)
def test_a_probe_ends_before_the_scrape(scrape: str | None, seconds: float) -> None:
    """The module's limit, or the scrape's less the offset, of which half is kept at least."""
    assert seconds == ask(ExporterFile(), scrape, False, target="h").timeout_seconds


@pytest.mark.parametrize("scrape", ["", "x", "nan", "inf", "-1", "0"])
def test_a_scrape_timeout_is_a_time(scrape: str) -> None:
    """Else it is refused."""
    with pytest.raises(ProbeRefused, match="expected seconds above 0"):
        ask(ExporterFile(), scrape, False, target="h")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[exporter]\nprobes = 1", "[exporter]: 'probes': no such key; expected one of targets, proxies"),
        ("[exporter]\nprobes_at_once = 0", "probes_at_once: 0; expected a whole number from 1 to 1000"),
        ("[module.a]\nthrough = ['b']", "[module.a]: through: there is no proxy 'b'; expected a table"),
        ("[module.a]\ntimeout_seconds = '1s'", "timeout_seconds: '1s'; expected a number from 0.1"),
        ("[module.a]\nkey_file = 'nosuch'", "[module.a]: key_file: cannot read"),
        ("[proxy.a]\n", "[proxy.a]: url: is missing; expected text in quotes"),
        ("[proxy.a]\nurl = 'ftp://x'", "[proxy.a]: url: scheme 'ftp'; expected one of http://"),
        ("[proxy.a]\nurl = 'http://x:1'\nlogin_file = 'nosuch'", "[proxy.a]: login_file: cannot use"),
        ("proxy = 1", "proxy: 1; expected a table"),
        ("[modules]", "'modules': no such key; expected one of exporter, proxy, module"),
    ],
)
def test_mistakes_in_the_file(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, and one line that names file, table and key, and what was expected."""
    path = tmp_path / "exporter.toml"
    path.write_text(text)
    assert 2 == guarded("exporter", ["--config", str(path), "--check"], "relay exporter")
    out, err = capsys.readouterr()
    assert ("", 1) == (out, err.count("\n"))
    assert err.startswith(f"relay exporter: {path}: ") or words.startswith("[")
    assert words in err


def test_beyond_loopback_a_list_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An exporter that strangers may ask must say who may be probed."""
    open_to_all = ["--listen", "0.0.0.0:0", "--check"]
    assert 2 == guarded("exporter", open_to_all, "relay exporter")
    assert "--config: is missing; expected a list of who may be probed" in capsys.readouterr().err
    (tmp_path / "e.toml").write_text("[exporter]\ntargets = []\n")
    assert 0 == guarded("exporter", [*open_to_all, "--config", str(tmp_path / "e.toml")], "relay exporter")
    assert "1 modules, 0 proxies" in capsys.readouterr().err


def test_the_manual_has_a_file_of_the_exporter(tmp_path: Path) -> None:
    """The one in docs/exporter.md can be read, and every metric of a probe is told there."""
    manual = (Path(__file__).parents[2] / "docs" / "exporter.md").read_text()
    (text,) = re.findall(r"(?ms)^```toml\n(.*?)^```$", manual)
    (tmp_path / "e.toml").write_text(text)
    (tmp_path / "corp.login").write_text("alice:s3cret")
    (tmp_path / "fw.key").write_text("6b" * 32)
    assert "corp" in read_exporter_file(tmp_path / "e.toml").modules
    nothing = Findings("h:1", (), "", 0.0, 0, ())
    families = probe_families(nothing, diagnose(nothing, ()), 1.0)
    assert [] == [family.name for family in families if f"`{family.name}" not in manual]


def test_the_example_is_a_file_of_the_exporter() -> None:
    """examples/monitoring/exporter.toml can be read."""
    example = Path(__file__).parents[2] / "examples" / "monitoring" / "exporter.toml"
    assert {"direct", "corp", DEFAULT_MODULE} == set(read_exporter_file(example).modules)


# The metrics of one probe

SECRET = "s3cret"


def samples(*findings: Finding, hops: tuple[str, ...] = ()) -> dict[tuple[str, str], float]:
    found = Findings("fw.example:5000", hops, "2026-01-01T00:00:00Z", 1.5, 2, findings)
    text = generate_latest(registry_of(probe_families(found, diagnose(found, causes()), 9.5))).decode()
    assert SECRET not in text
    labels = set(re.findall(r'="([^"]*)"', text))
    known = {*PHASES, *Verdict, *MENDERS, NO_CAUSE, UNKNOWN_CAUSE, *(cause.id for cause in causes())}
    assert set() == labels - known, "every label value is one of a closed list"
    return {
        (sample.name, *sample.labels.values()) if sample.labels else (sample.name, ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_path_that_works() -> None:
    """Success, its times by phase, one verdict and the cause `none`."""
    found = samples(
        Finding("route", "direct"),
        Finding("resolve", "found", evidence={"milliseconds": 20.0}),
        Finding("connect", "open", evidence={"milliseconds": 30.0}, seconds=0.5),
        Finding("ping", "answered", seconds=0.25),
    )
    names = ("success", "duration_seconds", "timeout_seconds", "connections")
    assert [1, 1.5, 9.5, 2] == [found[f"probe_{name}", ""] for name in names]
    phases = [found["probe_phase_duration_seconds", phase] for phase in PHASES]
    assert [0.02, 0.03, 0.0, 0.25] == phases
    assert (1, 0) == (found["probe_verdict", "good"], found["probe_verdict", "broken"])
    assert [NO_CAUSE] == [key[1] for key, value in found.items() if key[0] == "probe_cause" and value]
    assert 0 == sum(value for key, value in found.items() if key[0] == "probe_mender")


def test_a_path_that_is_broken() -> None:
    """The cause by its id, and who can mend it; what the peer has said stands nowhere."""
    found = samples(
        Finding("route", "proxy", f"http://alice:{SECRET}@proxy"),
        Finding("resolve", "literal"),
        Finding("connect", "refused", f"refused: {SECRET}", {"errno": SECRET}),
        hops=("http://proxy.example:3128",),
    )
    assert (0, 1) == (found["probe_success", ""], found["probe_verdict", "broken"])
    assert 1 == found["probe_cause", "proxy-refused"]
    assert (1, 0) == (found["probe_mender", "proxy"], found["probe_mender", "dns"])


def test_a_path_that_nobody_understands() -> None:
    """Broken without a known cause is the cause `unknown`; so is a path that could not be tested."""
    found = samples(Finding("route", "direct"), Finding("resolve", "untested", SECRET))
    assert (0, 1, 1) == (
        found["probe_success", ""], found["probe_verdict", "untested"], found["probe_cause", UNKNOWN_CAUSE],
    )  # fmt: skip


def test_a_key_is_read_once(settings: ExporterFile, tmp_path: Path) -> None:
    """A key file that goes away while probes are asked for fails none of them; no key is in a repr."""
    (tmp_path / "key").unlink()
    assert "6b" * 32 not in repr(ask(settings, target="fw.example", module="corp"))


def test_a_key_file_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be read is told at the start, also where no module has a key of its own."""
    monkeypatch.setenv("RELAY_KEY_FILE", str(tmp_path / "none"))
    (tmp_path / "e.toml").write_text("[exporter]\n")
    with pytest.raises(SettingsError, match="RELAY_KEY_FILE: cannot read"):
        read_exporter_file(tmp_path / "e.toml")


def test_secrets_of_a_key_file_that_is_broken(tmp_path: Path) -> None:
    """Nothing of a file that is no login is quoted."""
    (tmp_path / "e.toml").write_text('[proxy.a]\nurl = "http://p:1"\nlogin_file = "login"\n')
    (tmp_path / "login").write_text(f"{SECRET}\nmore\n")
    with pytest.raises(SettingsError) as told:
        read_exporter_file(tmp_path / "e.toml")
    assert SECRET not in str(told.value)
