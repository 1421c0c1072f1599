"""What tests share: TMSS10Ping in this process, a server for it, both ways to open a tunnel."""

from collections.abc import Callable, Iterator

import pytest

from relay.commands import guarded
from relay.emulator import EmulatedServer
from relay.route import Endpoint
from tests.parts.beside import beside
from tests.parts.framework_peers import FREE
from tests.parts.scripted_proxy import WAYS, Opening


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoint]:
    with beside(lambda: EmulatedServer((FREE,))) as made:
        yield made.endpoint


@pytest.fixture
def ping(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process: exit status, stdout, stderr."""
    monkeypatch.delenv("RELAY_KEY_FILE", raising=False)
    monkeypatch.delenv("RELAY_PROXY_PASSWORD", raising=False)

    def ping(*arguments: object) -> tuple[int, str, str]:
        status = guarded("ping", [str(argument) for argument in arguments], "TMSS10Ping")
        return (status, *capsys.readouterr())

    return ping


@pytest.fixture(params=WAYS)
def opening(request: pytest.FixtureRequest) -> Iterator[Opening]:
    """open_tunnel, by asyncio and by threads."""
    with WAYS[request.param]() as open_tunnel:
        yield open_tunnel
