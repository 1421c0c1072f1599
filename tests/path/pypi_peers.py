"""Real proxies from PyPI, in a venv of their own: they pin many versions, so not beside ours."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.lacking import lacking
from tests.path.peers import USER
from tests.path.real import Daemon, daemon, folder, free_endpoint

PEERS = Path(os.environ.get("RELAY_PEERS") or Path(__file__).parents[2] / ".venv-peers" / "bin")
"""Where `make peers` puts them."""

MITMPROXY_SOURCE = "127.0.0.7"
"""Where its connections to targets come from."""

MITMPROXY_PASSWORD = "inside 7"
"""It takes any but those with a colon."""


def peer(name: str) -> str:
    """Give the path of such a program, of these versions only; where it is missing skip, or fail in CI."""
    return shutil.which(name, path=str(PEERS)) or lacking(f"{name} is not in {PEERS}: make peers")


@contextlib.contextmanager
def mitmproxy(*, login: bool = False) -> Iterator[Daemon]:
    """mitmproxy, which passes on what is no HTTP; with `login` it asks for Basic."""
    program, endpoint = peer("mitmdump"), free_endpoint()
    with folder() as place:
        options = [f"confdir={place}", f"connect_addr={MITMPROXY_SOURCE}"]
        options += [f"proxyauth={USER}:{MITMPROXY_PASSWORD}"] if login else []
        arguments = [program, "--listen-host", endpoint.host, "-p", str(endpoint.port)]
        arguments += [word for option in options for word in ("--set", option)]
        with daemon(arguments, endpoint, place, HOME=str(place)) as running:
            yield running
