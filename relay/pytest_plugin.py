"""The pytest plugin (docs/pytest.md): bad proxies and networks for the tests of somebody's own client.

pytest loads this file in every project where the package is installed: nothing heavy is imported before a
fixture is used.
"""

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from relay.places import FarServer
    from relay.route import Route
    from relay.testbed import Testbed

MARKER = (
    "route(*proxies, target=None, **options): how the fixtures framework_route and tunnel get to the "
    "Framework Server: no argument is straight; else proxies, nearest first, each the URL of a real one "
    "or a dict of connect_proxy's options; options in the marker itself are those of one more, the last."
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def relay_testbed() -> "Iterator[Testbed]":
    """All that the other fixtures start; it ends with the test."""
    from relay.testbed import Testbed

    with Testbed() as testbed:
        yield testbed


@pytest.fixture
def framework_server(relay_testbed: "Testbed") -> "FarServer":
    """An emulated Framework Server on loopback: `.host`, `.port`, `.endpoint`, `.record()`, `.records`."""
    return relay_testbed.framework_server


@pytest.fixture
def greeting_server(relay_testbed: "Testbed") -> Callable[..., Any]:
    """`greeting_server(b"hello")`: a server that speaks first, and then echoes."""
    return _guarded(relay_testbed.greeting_server)


@pytest.fixture
def connect_proxy(relay_testbed: "Testbed") -> Callable[..., Any]:
    """`connect_proxy(profile=, persona=, faults=, allow_ports=, login=)`: with `.host`, `.port`, `.url`."""
    return _guarded(relay_testbed.connect_proxy)


@pytest.fixture
def broken_network(relay_testbed: "Testbed") -> Callable[..., Any]:
    """`broken_network(fault="latency:seconds=0.2")`: a port that leads to the server, or to `target=`."""
    return _guarded(relay_testbed.broken_network)


@pytest.fixture
def framework_route(request: pytest.FixtureRequest, relay_testbed: "Testbed") -> "Route":
    """The way that the marker `route` describes; without it, through one proxy that does nothing bad."""
    marker = request.node.get_closest_marker("route")
    if marker is None:
        return relay_testbed.route(relay_testbed.connect_proxy())
    return _marked(relay_testbed, marker, request.node.nodeid)


@pytest.fixture
def tunnel(request: pytest.FixtureRequest, relay_testbed: "Testbed") -> Callable[..., Any]:
    """`tunnel(proxy, ...)`, or `tunnel()` by the marker: a port that leads to the server through proxies."""

    def open_tunnel(*route: Any) -> Any:
        if not route:
            route = (request.getfixturevalue("framework_route"),)
        return relay_testbed.tunnel(*route)

    return _guarded(open_tunnel)


def _guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with mistakes told at the caller's own line, not at one of ours."""

    @functools.wraps(call)
    def guarded(*given: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        from relay.failure import SettingsError

        try:
            return call(*given, **options)
        except SettingsError as error:
            raise error.with_traceback(None) from None

    return guarded


def _marked(testbed: "Testbed", marker: pytest.Mark, test: str) -> "Route":
    from relay.failure import SettingsError
    from relay.testbed import PROXY_OPTIONS

    def wrong(words: str) -> NoReturn:
        __tracebackhide__ = True
        pytest.fail(f"{test}: @pytest.mark.route: {words}", pytrace=False)

    __tracebackhide__ = True
    options = dict(marker.kwargs)
    target = options.pop("target", None)
    try:
        hops: list[Any] = []
        for given in (*marker.args, *([options] if options else [])):
            if isinstance(given, str):
                hops.append(given)
                continue
            if not isinstance(given, dict):
                wrong(f"{given!r:.60}; expected a proxy's URL, or a dict of connect_proxy's options")
            for name in given:
                if name not in PROXY_OPTIONS:
                    wrong(f"{name!r:.60}; expected target, or one of {', '.join(PROXY_OPTIONS)}")
            hops.append(testbed.connect_proxy(**given))
        return testbed.route(*hops, target=target)
    except SettingsError as error:
        words = str(error)
    # Out here pytest shows it alone, without the SettingsError that it was made from
    return wrong(words)
