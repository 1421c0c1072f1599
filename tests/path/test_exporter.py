"""The exporter as Prometheus sees it: probes of real paths, limits, and a real Prometheus that scrapes it."""

import asyncio
import contextlib
import json
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from relay.diagnosis import diagnose
from relay.exporter import SCRAPE_TIMEOUT, Exporter
from relay.exporter_file import ExporterFile, Module
from relay.exposition import exposition, registry_of, server_exposition
from relay.finding import Findings
from relay.journal import Journal
from relay.metrics import Metrics
from relay.places import FarServer
from relay.probe_metrics import probe_families
from relay.route import Endpoint
from relay.server_answers import ServerNumbers
from tests.path.real import Daemon, RelayCommand, Tool, daemon, folder, free_endpoint, relay_command

Start = Callable[..., Any]
LOOPBACK = Endpoint("127.0.0.1", 0)
MONITORING = Path(__file__).parents[2] / "examples" / "monitoring"
PATIENCE_SECONDS = 30.0
SECRET = "s3cret"


class Asked:
    """An exporter inside the test, and a client for it."""

    def __init__(self, exporter: Exporter, client: ClientSession) -> None:
        self.exporter = exporter
        self._client = client

    async def get(self, path: str, headers: dict[str, str] | None = None, **query: object) -> tuple[int, str]:
        url = f"http://{self.exporter.endpoints[0]}{path}"
        given = {name: str(value) for name, value in query.items()}
        async with self._client.get(url, params=given, headers=headers) as reply:
            assert "no-store" == reply.headers.get("Cache-Control", "no-store")
            return reply.status, await reply.text()

    async def probe(self, **query: object) -> dict[str, str]:
        """The samples of a probe that are not 0, by name and label."""
        status, text = await self.get("/probe", **query)
        assert 200 == status, text
        return {
            sample.name: next(iter(sample.labels.values()), "")
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.value
        }

    async def counted(self, name: str, **labels: str) -> float:
        text = (await self.get("/metrics"))[1]
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        )


@pytest.fixture
async def asked(connect_proxy: Start) -> AsyncIterator[Asked]:
    """Modules: `default` is straight, `refusing` goes through a proxy that lets only port 443 out."""
    proxy = connect_proxy(allow_ports="443", login=f"alice:{SECRET}")
    modules = {"default": Module((), 300.0), "refusing": Module((proxy.hop,), 300.0)}
    settings = ExporterFile(modules, probes_at_once=2)
    async with Exporter(settings, (LOOPBACK,)) as exporter, ClientSession() as client:
        yield Asked(exporter, client)


async def test_a_good_path(asked: Asked, framework_server: FarServer) -> None:
    """Success, the verdict `good`, no cause; it is a ping that the server has seen."""
    found = await asked.probe(target=framework_server.endpoint)
    assert ("good", "none") == (found["probe_verdict"], found["probe_cause"])
    assert "probe_success" in found
    assert "probe_mender" not in found
    assert {0, 1} == {framework_server.record().pings, framework_server.record().pings}
    assert 1 == await asked.counted("relay_exporter_probes_total", module="default", verdict="good")


async def test_a_broken_path(asked: Asked, framework_server: FarServer) -> None:
    """A proxy's policy is named by its id, with who can mend it; the debug text tells all but the login."""
    found = await asked.probe(target=framework_server.endpoint, module="refusing")
    assert ("broken", "proxy") == (found["probe_verdict"], found["probe_mender"])
    assert "probe_success" not in found
    assert found["probe_cause"].startswith("proxy-")
    _, text = await asked.get("/probe", target=framework_server.endpoint, module="refusing", debug="true")
    assert SECRET not in text
    assert re.search(r"tunnel: denied .*403 Forbidden", text)
    assert "probe_verdict{probe_verdict=\"broken\"} 1.0" in text
    assert [] == [part for part in ("Asked:", "Answers:", "Meaning:", "Metrics:") if part not in text]


async def test_what_is_refused_is_counted(asked: Asked) -> None:
    """400 with the reason in words, and by a word of a closed list in the metrics."""
    assert (400, "module: there is no 'nosuch'\n") == await asked.get("/probe", target="h", module="nosuch")
    assert 400 == (await asked.get("/probe"))[0]
    assert 400 == (await asked.get("/probe", {SCRAPE_TIMEOUT: "soon"}, target="h"))[0]
    for reason in ("module", "target", "malformed"):
        assert 1 == await asked.counted("relay_exporter_probes_refused_total", reason=reason)


async def test_no_web_page_may_ask(asked: Asked) -> None:
    """On loopback it answers to addresses and localhost only: a name may have been led there."""
    for path in ("/probe", "/metrics", "/-/healthy", "/"):
        assert 421 == (await asked.get(path, {"Host": "evil.example"}))[0]
    assert (200, "healthy\n") == await asked.get("/-/healthy")
    assert "modules: default, refusing\n" in (await asked.get("/"))[1]


async def test_the_scrapes_timeout_is_obeyed(asked: Asked) -> None:
    """A server that keeps silent is judged before Prometheus gives up; only so many are probed at once."""
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as never:
        target = f"127.0.0.1:{never.getsockname()[1]}"
        answers = await asyncio.gather(
            *(asked.get("/probe", {SCRAPE_TIMEOUT: "2"}, target=target) for _ in range(4))
        )
    assert time.monotonic() - began < PATIENCE_SECONDS, "the module's own limit is 300 seconds"
    assert [200, 200, 503, 503] == sorted(status for status, _ in answers)
    judged = next(text for status, text in answers if status == 200)
    assert "probe_timeout_seconds 1.5" in judged
    assert 'probe_verdict{probe_verdict="broken"} 1.0' in judged
    assert 2 == await asked.counted("relay_exporter_probes_refused_total", reason="busy")
    assert 0 == await asked.counted("relay_exporter_probes_running")


def test_it_reads_its_file_again(tmp_path: Path) -> None:
    """SIGHUP: a file that is broken is told and changes nothing; one that is right takes its place."""

    def modules(command: RelayCommand) -> str:
        url = f"http://{command.endpoint}/"
        with urllib.request.urlopen(url, timeout=10) as reply:
            text: str = reply.read().decode()
        return text.rpartition("modules: ")[2].strip()

    def heard(command: RelayCommand) -> str:
        command.process.send_signal(signal.SIGHUP)
        assert command.process.stderr is not None
        return command.process.stderr.readline().decode()

    path = tmp_path / "e.toml"
    path.write_text("[module.one]\n")
    with relay_command("exporter", "--config", str(path)) as command:
        path.write_text("[module.two]\nthrough = ['nobody']\n")
        assert "not reloaded, all stays as it was: " in heard(command)
        assert "default, one" == modules(command)
        path.write_text("[module.two]\n")
        assert "relay exporter: reloaded\n" == heard(command)
        assert "default, two" == modules(command)


# Prometheus itself


@pytest.fixture
def promtool(tool: Tool) -> Callable[..., str]:
    program = tool("promtool", "prometheus")

    def run(*arguments: str, stdin: str = "", cwd: Path | None = None) -> str:
        done = subprocess.run(
            [program, *arguments], input=stdin, capture_output=True, text=True, timeout=60, cwd=cwd
        )
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def all_metrics() -> list[bytes]:
    """One exposition each of a probe, the exporter, the proxy and the server."""
    nothing = Findings("h:1", (), "", 0.0, 0, ())
    families = probe_families(nothing, diagnose(nothing, ()), 1.0)
    numbers = {**Metrics().snapshot(), "tunnels_open": 0, "connections_open": 0}
    exporter = Exporter(ExporterFile(), (LOOPBACK,))
    return [
        generate_latest(registry_of(families)),
        generate_latest(exporter.registry),
        exposition([numbers]),
        server_exposition([ServerNumbers(Journal()).snapshot()]),
    ]


def test_promtool_finds_nothing_to_mend(promtool: Start) -> None:
    """Names, units and types of all metrics are as Prometheus wants them; rules and settings are right."""
    for text in all_metrics():
        assert "" == promtool("check", "metrics", stdin=text.decode())
    promtool("check", "config", "prometheus.yml", cwd=MONITORING)
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml", cwd=MONITORING)


def test_dashboard_and_alerts_ask_for_what_is_there() -> None:
    """Every metric named in examples/monitoring exists, with every label value that is written out."""
    known = {"up"} | {
        name
        for text in all_metrics()
        for family in text_string_to_metric_families(text.decode())
        for name in (family.name, *(f"{family.name}_{end}" for end in ("total", "bucket", "sum", "count")))
    }
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    asked_for = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked_for += re.findall(r"expr: (.+)", (MONITORING / "alerts.yml").read_text())
    assert len(asked_for) > 15
    names = set(re.findall(r"\b(?:probe|relay|process)_[a-z_]+|\bup\b", " ".join(asked_for)))
    labels = {"probe_cause", "probe_mender"}
    assert set() == names - known - labels
    assert {"probe_success", "probe_mender", "relay_server_connections_total"} <= names
    everything = b"".join(all_metrics()).decode()
    for label, value in re.findall(r'(ended|phase|probe_cause)!?="([a-z-]+)"', " ".join(asked_for)):
        assert f'{label}="{value}"' in everything
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.fixture
def exporter_command(tmp_path: Path, connect_proxy: Start) -> Iterator[RelayCommand]:
    """`relay exporter` as a process, with a module through a proxy with a login."""
    proxy = connect_proxy(login=f"alice:{SECRET}")
    (tmp_path / "login").write_text(f"alice:{SECRET}")
    (tmp_path / "e.toml").write_text(
        f'[exporter]\ntargets = ["127.0.0.0/8"]\n[proxy.corp]\nurl = "{proxy.url}"\nlogin_file = "login"\n'
        '[module.corp]\nthrough = ["corp"]\n'
    )
    with relay_command("exporter", "--config", str(tmp_path / "e.toml")) as command:
        yield command


def query(prometheus: Endpoint, expression: str) -> list[dict[str, Any]]:
    url = f"http://{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            result: list[dict[str, Any]] = json.load(reply)["data"]["result"]
            return result
    except urllib.error.HTTPError as error:
        if error.code != 503:  # it listens, but has not read its storage yet
            raise
        error.close()
        return []


def test_a_real_prometheus_scrapes_it(
    tool: Tool, exporter_command: RelayCommand, framework_server: FarServer
) -> None:
    """With the example's relabelling its API returns our series: a good path, and one with nobody there."""
    program = tool("prometheus", "prometheus")
    with socket.socket() as closed, folder() as place:
        closed.bind(("127.0.0.1", 0))
        good, bad = str(framework_server.endpoint), f"127.0.0.1:{closed.getsockname()[1]}"
        text = (MONITORING / "prometheus.yml").read_text()
        for old, new in {
            "scrape_interval: 30s": "scrape_interval: 3s", "scrape_timeout: 15s": "scrape_timeout: 3s",
            '["fw.example:5000"]': json.dumps([good, bad]), "127.0.0.1:9715": str(exporter_command.endpoint),
        }.items():  # fmt: skip
            assert old in text
            text = text.replace(old, new)
        (place / "prometheus.yml").write_text(text)
        (place / "alerts.yml").write_text((MONITORING / "alerts.yml").read_text())
        endpoint = free_endpoint()
        arguments = [
            program, f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data",
            f"--web.listen-address={endpoint}", "--log.level=warn",
        ]  # fmt: skip
        with daemon(arguments, endpoint, place) as running:
            expected = {good: ("1", "none"), bad: ("0", "proxy-upstream-refused")}
            found = settled(running, expected)
            assert "output: " == running.said, "it warns of nothing"
    assert {good, bad} == set(found["phases"])
    assert {str(exporter_command.endpoint): "1"} == found["exporter"]
    exporter_command.stop()
    assert SECRET not in exporter_command.stderr


def settled(prometheus: Daemon, expected: dict[str, tuple[str, str]]) -> dict[str, dict[str, str]]:
    """What Prometheus knows once it has success and cause of each target as expected, and all the rest.

    On a busy machine the first probes may have been too slow to find the cause.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        at = prometheus.endpoint
        found = {
            "cause": {
                one["metric"]["instance"]: one["metric"]["probe_cause"]
                for one in query(at, "probe_cause == 1")
            },
            "phases": values(query(at, 'probe_phase_duration_seconds{phase="tunnel"}')),
            "success": values(query(at, 'probe_success{job="framework-path"}')),
            "exporter": values(query(at, 'up{job="relay-exporter"}')),
        }
        judged = {target: (found["success"].get(target), found["cause"].get(target)) for target in expected}
        if judged == expected and expected.keys() <= found["phases"].keys() and found["exporter"]:
            return found
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = prometheus.process.wait(0.1)  # the pause ends at once when it dies
            raise AssertionError(f"it ended with status {status}; {prometheus.said}")
        assert time.monotonic() < deadline, found


def values(result: list[dict[str, Any]]) -> dict[str, str]:
    return {one["metric"]["instance"]: one["value"][1] for one in result}
