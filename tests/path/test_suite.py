"""`relay suite` with real proxies on loopback: what is broken is one row, by its cause, at its hop."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from relay.route import Endpoint
from tests.junit_schema import failing_rows
from tests.path import peers
from tests.path.conftest import FarEnd
from tests.path.real import Daemon, Tool, relay


@contextmanager
def proxies(
    tool: Tool, *, squid_login: bool = False, tinyproxy_port: int | None = None
) -> Iterator[dict[str, Daemon]]:
    """Squid and tinyproxy; the first may want a login, the second may let one port out only."""
    with (
        peers.squid(tool, login=squid_login) as one,
        peers.tinyproxy(tool, allow_port=tinyproxy_port) as other,
    ):
        yield {"squid": one, "tinyproxy": other}


def matrix(folder: Path, running: dict[str, Daemon], target: Endpoint, closed: Endpoint) -> Path:
    """Each proxy, both as a chain, and the direct way; to the server, and to a port where nothing listens."""
    tables = [f'[proxy.{name}]\nurl = "{proxy.url}"' for name, proxy in running.items()]
    file = folder / "relay.toml"
    file.write_text(
        "\n".join(tables)
        + f"""
[route.chain]
via = ["squid", "tinyproxy"]
[target.framework]
at = "{target}"
[target.closed]
at = "{closed}"
[[path]]
route = "*"
target = "framework"
expect = "ok"
[[path]]
route = ["squid", "tinyproxy"]
target = "closed"
expect = "proxy-upstream-refused"
[[path]]
route = "direct"
target = "closed"
expect = "server-port-closed"
"""
    )
    return file


async def test_all_as_expected(far: FarEnd, closed_port: Endpoint, tool: Tool, tmp_path: Path) -> None:
    """Real proxies, a chain of them, and ports that must be closed: exit 0."""
    with proxies(tool) as running:
        file = matrix(tmp_path, running, far.server.endpoint, closed_port)
        ran = await relay("suite", "-f", str(file), "--report", f"junit={tmp_path}/out.xml")
    assert (0, {}) == (ran.status, failing_rows((tmp_path / "out.xml").read_text("utf-8"))), ran.text
    assert "7 of 7 as expected" in ran.text


@pytest.mark.parametrize(
    ("broken", "setting", "cause"),
    [
        ("tinyproxy", {"tinyproxy_port": 443}, "proxy-port-policy"),
        ("squid", {"squid_login": True}, "proxy-407-no-credentials"),
    ],
)
async def test_a_proxy_that_is_broken(
    broken: str,
    setting: dict[str, Any],
    cause: str,
    far: FarEnd,
    closed_port: Endpoint,
    tool: Tool,
    tmp_path: Path,
) -> None:
    """One proxy's settings are changed: exactly the rows through it fail, by that cause, at that hop."""
    with proxies(tool, **setting) as running:
        file = matrix(tmp_path, running, far.server.endpoint, closed_port)
        arguments = ("--report", f"junit={tmp_path}/out.xml", "--report", f"json={tmp_path}/out.json")
        ran = await relay("suite", "-f", str(file), *arguments)
        url = running[broken].url
    rows = (f"{broken}/framework", f"{broken}/closed", "chain/framework")
    failing = failing_rows((tmp_path / "out.xml").read_text("utf-8"))
    assert (1, dict.fromkeys(rows, cause)) == (ran.status, failing), ran.text
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    places = {one["path"]: one["place"] for one in results if one["path"] in rows}
    which = {"squid": 1, "tinyproxy": 2}[broken]
    expected = [f"{url} (the proxy)", f"{url} (the proxy)", f"{url} (proxy {which} of 2)"]
    assert expected == [places[row] for row in rows], ran.text


async def test_a_baseline_names_the_hop(
    far: FarEnd, closed_port: Endpoint, tool: Tool, tmp_path: Path
) -> None:
    """A verdict that is worse than it was fails, and says at which proxy it has changed."""
    saved = f"{tmp_path}/baseline.json"
    with proxies(tool) as running:
        file = matrix(tmp_path, running, far.server.endpoint, closed_port)
        assert 0 == (await relay("suite", "-f", str(file), "--save", saved)).status
    with proxies(tool, tinyproxy_port=443) as running:
        file = matrix(tmp_path, running, far.server.endpoint, closed_port)
        tolerance = ("--tolerance", "1000000%,throughput=100%")
        ran = await relay("suite", "-f", str(file), "--compare", saved, *tolerance)
        url = running["tinyproxy"].url
    assert 1 == ran.status
    worse = "was ok, is proxy-port-policy: changed at"
    assert f"WORSE    tinyproxy/framework: {worse} {url} (the proxy)" in ran.text
    assert f"WORSE    chain/framework: {worse} {url} (proxy 2 of 2)" in ran.text
    assert "WORSE    squid/" not in ran.text
