"""--admin: an option that the proxy and the server share."""

import argparse
import socket

from relay.commands.running import say
from relay.failure import SettingsError
from relay.listening import is_public, listen_on
from relay.route import Endpoint


def add_admin_option(parser: argparse.ArgumentParser, listed: str) -> None:
    """`listed`: what is open, "tunnels"."""
    parser.add_argument(
        "--admin", metavar="[HOST:]PORT",
        help=f"answer /healthz, /metrics and /{listed} there (HOST is 127.0.0.1 unless given)",
    )  # fmt: skip


def admin_endpoint(text: str) -> Endpoint:
    """HOST:PORT, or a port of loopback alone. Raises: SettingsError."""
    return Endpoint.parse(text if ":" in text else f"127.0.0.1:{text}", "--admin")


def warn_of_admin(endpoint: Endpoint | None, program: str) -> None:
    """Say so where it is open to others."""
    if endpoint is not None and is_public(endpoint):
        say(program, "warning: --admin can be reached from other machines, and asks nobody who they are")


def bind_admin(endpoint: Endpoint | None, named: str = "--admin") -> socket.socket | None:
    """The listening socket; None for None. Raises: SettingsError that begins with `named`."""
    if endpoint is None:
        return None
    try:
        first, *others = listen_on([endpoint])
    except OSError as error:
        raise SettingsError(f"{named}: {error.strerror or error}") from None
    for sock in others:
        sock.close()
    return first
