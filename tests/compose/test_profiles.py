"""Every profile of docker-compose.yml, both ways: as it is delivered, and with a setting changed.

Needs compose v2; the default profile is tested with docker-compose 1.29 as well (test_stack.py).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.compose.stack import ROOT, Stack
from tests.junit_schema import failing_rows

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]

PEERS = ("server", "proxy", "squid", "tinyproxy", "apache", "inner", "outer", "socks", "inspect", "gateway")
PROFILES = ("suite", "squid", "tinyproxy", "apache", "chain", "socks", "tls-inspection", "firewall")

CHANGED = {"RELAY_ALLOW_PORT": "443", "ALLOW_PORT": "444", "SOCKS_PORT": "1081", "RULES": "open"}
"""What docs/suite.md tells a user to change, to see a suite fail."""

FAILING = {
    "suite": {"proxy/framework": "proxy-port-policy"},
    "squid": {"squid/framework": "proxy-port-policy"},
    "tinyproxy": {"tinyproxy/framework": "proxy-port-policy"},
    "apache": {"apache/framework": "proxy-port-policy"},
    "chain": {"chain/framework": "proxy-port-policy", "outer/framework": "proxy-port-policy"},
    "socks": {"socks/framework": "proxy-refused", "socks/mail": "proxy-refused"},
    "tls-inspection": {"exempt/framework": "tls-inspection-kills-nontls"},
    "firewall": {f"direct/{port}": "ok" for port in ("drop", "reset", "prohibited", "idle", "small")},
}
"""The rows that fail then, each with the cause that is named; of the firewall, that the path is open."""


@dataclass(frozen=True)
class Ran:
    """One run of a suite: how it ended, what it said, and the folder of its reports."""

    status: int
    said: str
    reports: Path

    @property
    def junit(self) -> str:
        return next(self.reports.glob("*.xml")).read_text("utf-8")


def run_all(folder: Path, **settings: str) -> dict[str, Ran]:
    """Bring every peer up with these settings, and run the suite of each profile, two at a time."""
    stack = Stack("profiles", **settings)
    up = stack.compose("up", "--detach", "--no-build", "--wait", *PEERS)
    assert 0 == up.returncode, up.stdout

    def one(profile: str) -> Ran:
        reports = folder / profile
        reports.mkdir(parents=True)
        own = Stack("profiles", REPORTS=str(reports), **settings)
        service = "suite" if profile == "suite" else f"suite-{profile}"
        done = own.compose("run", "--rm", "--no-deps", service)
        return Ran(done.returncode, done.stdout, reports)

    with ThreadPoolExecutor(2) as pool:
        # The longest first
        order = sorted(PROFILES, key=lambda profile: profile not in ("firewall", "tls-inspection"))
        return dict(zip(order, pool.map(one, order), strict=True))


@pytest.fixture(scope="module")
def everything() -> Iterator[Stack]:
    """Give the project of all profiles; its containers are removed at the end."""
    stack = Stack("profiles")
    built = stack.compose("build", "squid")
    assert 0 == built.returncode, built.stdout
    yield stack
    stack.compose("--profile", "*", "down", "--timeout", "2", "--volumes", "--remove-orphans")


@pytest.fixture(scope="module")
def good(everything: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Every suite, as it is delivered."""
    return run_all(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def bad(good: dict[str, Ran], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Every suite with something changed behind its back."""
    return run_all(tmp_path_factory.mktemp("bad"), **CHANGED)


@pytest.mark.parametrize("profile", PROFILES)
def test_all_is_as_expected(profile: str, good: dict[str, Ran]) -> None:
    """Exit 0; JUnit and HTML are left in the folder."""
    ran = good[profile]
    assert (0, {}) == (ran.status, failing_rows(ran.junit)), ran.said
    assert "</html>" in next(ran.reports.glob("*.html")).read_text("utf-8")


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_broken_is_named(profile: str, bad: dict[str, Ran]) -> None:
    """Exit 1; exactly the rows fail that the change concerns, each by its cause."""
    ran = bad[profile]
    assert (1, FAILING[profile]) == (ran.status, failing_rows(ran.junit)), ran.said


def test_one_command_is_enough(everything: Stack, tmp_path: Path) -> None:
    """What docs/suite.md tells a user: it starts the peers of its profile, and leaves its reports."""
    stack = Stack("single", REPORTS=str(tmp_path))
    try:
        done = stack.compose("--profile", "socks", "run", "--rm", "suite-socks")
    finally:
        stack.compose("--profile", "*", "down", "--timeout", "2", "--volumes", "--remove-orphans")
    assert 0 == done.returncode, done.stdout
    assert {"socks.xml", "socks.html", "socks.md"} == {file.name for file in tmp_path.iterdir()}


def test_every_profile_has_its_proof() -> None:
    """A profile that is new is tested both ways, and its suite is there."""
    listed = Stack("profiles").compose("config", "--profiles")
    assert set(PROFILES) == set(listed.stdout.split()) - {"load"}
    suites = {path.stem for path in (ROOT / "stack" / "suites").glob("*.toml")}
    assert set(PROFILES) - {"suite"} | {"own"} == suites


@pytest.mark.parametrize("service", ["squid", "tinyproxy", "apache", "outer", "socks", "inspect", "gateway"])
def test_peers_have_no_rights_that_they_do_not_need(
    good: dict[str, Ran], everything: Stack, service: str
) -> None:
    """No root but at the gateway, which changes its own network's rules and nothing else."""
    container = everything.inspect(service)
    host = container["HostConfig"]
    rights = ["NET_ADMIN"] if service == "gateway" else None
    assert (True, ["ALL"], rights) == (host["ReadonlyRootfs"], host["CapDrop"], host["CapAdd"])
    assert ("root" if service == "gateway" else "proxy") == container["Config"]["User"]
    assert {} == (host["PortBindings"] or {})
