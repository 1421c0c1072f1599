"""Listener: where a proxy listens, and what a connection is wrapped in there. Bound: one that is open."""

import contextlib
import os
import socket
import ssl
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relay.access_networks import IpNetwork, NetworkSet
from relay.failure import SettingsError
from relay.listening import BACKLOG, bound_endpoint, is_public, listen_on
from relay.route import Endpoint
from relay.tls_listen import TlsListen, server_context

# struct sockaddr_un has 108 bytes, the last one a NUL (unix(7)).
MAX_PATH_BYTES = 107
DEFAULT_MODE = 0o600


@dataclass(frozen=True)
class Listener:
    """One listener.

    on: an endpoint, or the path of a Unix socket.
    tls: None is plain.
    proxy_from: who may, and must, say in a PROXY protocol header whose connection it is; None: nobody.
    mode: of a Unix socket.
    """

    on: Endpoint | Path
    tls: TlsListen | None = None
    proxy_from: tuple[IpNetwork, ...] | None = None
    mode: int = DEFAULT_MODE

    @property
    def is_public(self) -> bool:
        """Whether others than this machine can reach it."""
        return isinstance(self.on, Endpoint) and is_public(self.on)


class Bound:
    """A listener that is open. `context` can be replaced, for the connections that come after."""

    def __init__(self, listener: Listener, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        self.listener = listener
        self.sock = sock
        self.context = context
        trusted = listener.proxy_from
        self.proxy_from = None if trusted is None else NetworkSet(trusted)
        self._inode = _inode(listener.on) if isinstance(listener.on, Path) else 0

    @property
    def endpoint(self) -> Endpoint | None:
        """Where it really listens; None for a Unix socket."""
        return bound_endpoint(self.sock) if isinstance(self.listener.on, Endpoint) else None

    def __str__(self) -> str:
        listener = self.listener
        where = f"unix:{listener.on}" if isinstance(listener.on, Path) else str(self.endpoint)
        more = [", TLS"] if listener.tls is not None else []
        more += [", PROXY protocol"] if listener.proxy_from is not None else []
        return where + "".join(more)

    def remove(self) -> None:
        """Close it for good: the path of a Unix socket goes as well, if it is still ours."""
        self.sock.close()
        if isinstance(self.listener.on, Path) and _inode(self.listener.on) == self._inode:
            with contextlib.suppress(OSError):
                self.listener.on.unlink()


def open_listeners(listeners: Sequence[Listener], *, share_port: bool = False) -> list[Bound]:
    """Bind and listen, one Bound for each address.

    Args:   share_port: other sockets may listen on the same ports, and the kernel shares out.
    Raises: OSError that names the listener, SettingsError; nothing stays open then.
    """
    bound: list[Bound] = []
    try:
        for listener in listeners:
            context = server_context(listener.tls, listener.on) if listener.tls is not None else None
            on = listener.on
            sockets = (
                [_listen_on_path(on, listener.mode)] if isinstance(on, Path)
                else listen_on([on], share_port=share_port)
            )  # fmt: skip
            bound += [Bound(listener, sock, context) for sock in sockets]
    except (OSError, SettingsError):
        for one in bound:
            one.remove()
        raise
    return bound


def open_again(bound: Sequence[Bound]) -> list[Bound]:
    """Listeners for one more worker: the same ports, Unix sockets and certificates. Raises: OSError."""
    again: list[Bound] = []
    try:
        for one in bound:
            endpoint = one.endpoint
            sock = one.sock.dup() if endpoint is None else listen_on([endpoint], share_port=True)[0]
            again.append(Bound(one.listener, sock, one.context))
    except OSError:
        for one in again:
            one.sock.close()
        raise
    return again


def _listen_on_path(path: Path, mode: int) -> socket.socket:
    """Raises: OSError that names the path; EADDRINUSE when somebody answers there, or it is no socket."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _remove_stale(path)
        # On Linux the path gets the mode that the socket has, so that it is never open to more
        os.fchmod(sock.fileno(), mode)
        sock.bind(str(path))
        path.chmod(mode)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on unix:{path}: {error.strerror}") from None
    return sock


def _remove_stale(path: Path) -> None:
    """Remove what a proxy that was killed has left: a socket that refuses connections."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError:
            # Somebody is there, and busy, or it is not ours to try
            return


def _inode(path: Path) -> int:
    try:
        return path.lstat().st_ino
    except OSError:
        return 0


def path_of(text: str, what: str) -> Path | None:
    """The path in `unix:PATH`, None for anything else. Raises: SettingsError."""
    if not text.startswith("unix:"):
        return None
    path = text.removeprefix("unix:")
    if not 0 < len(os.fsencode(path)) <= MAX_PATH_BYTES or "\0" in path:
        raise SettingsError(f"{what}: {text[:120]!r}; expected unix:PATH with 1 to {MAX_PATH_BYTES} bytes")
    return Path(path)
