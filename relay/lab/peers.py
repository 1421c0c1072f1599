"""Peers that misbehave on purpose: `python -m relay.lab.peers MODE PORT`. Run in a place of the lab only.

Light: it imports nothing of the rest, so that it is up at once.
"""

import contextlib
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

BLOCK_PAGE = (
    b"HTTP/1.1 403 Forbidden\r\nServer: FW\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
    b"<html><body>Access blocked by the web filter: category unknown</body></html>"
)
PORTAL = (
    b"HTTP/1.1 302 Found\r\nLocation: http://portal.lab/login\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)
HOLD_SECONDS = 600.0
BACKLOG = 64

Play = Callable[[socket.socket], None]
MODES: dict[str, Play] = {}


def mode(name: str) -> Callable[[Play], Play]:
    """Enter a way to misbehave."""

    def enter(play: Play) -> Play:
        MODES[name] = play
        return play

    return enter


@mode("silent")
def silent(peer: socket.socket) -> None:
    """Take everything, answer nothing."""
    while peer.recv(65_536):
        pass


@mode("closes")
def closes(peer: socket.socket) -> None:
    """Hang up before a word is said."""


@mode("resets")
def resets(peer: socket.socket) -> None:
    """Reset before a word is said."""
    _reset(peer)


@mode("resets-after")
def resets_after(peer: socket.socket) -> None:
    """Take the first bytes, let the kernel acknowledge them, and reset."""
    peer.recv(65_536)
    time.sleep(0.1)
    _reset(peer)


@mode("closes-after")
def closes_after(peer: socket.socket) -> None:
    """Take the first bytes and hang up."""
    peer.recv(65_536)


@mode("echoes")
def echoes(peer: socket.socket) -> None:
    """Give every byte back, as the echo service (RFC 862)."""
    while data := peer.recv(65_536):
        peer.sendall(data)


@mode("answers-half")
def answers_half(peer: socket.socket) -> None:
    """Begin an answer of the right form, and end in the middle of it."""
    peer.recv(65_536)
    peer.sendall(b"\x00\x00\x00\x28" + bytes(12))


@mode("greets")
def greets(peer: socket.socket) -> None:
    """Greet as a mail server does (RFC 5321 section 3.1)."""
    peer.sendall(b"220 mail.lab ESMTP ready\r\n")
    silent(peer)


@mode("talks-nonsense")
def talks_nonsense(peer: socket.socket) -> None:
    """Answer with bytes that are no protocol that anybody knows."""
    peer.recv(65_536)
    peer.sendall(b"\xff\xfe\xfd\xfc\x00\x01" * 8)
    silent(peer)


@mode("web")
def web(peer: socket.socket) -> None:
    """A web server: 400 to what is no HTTP, a page to a request."""
    data = peer.recv(65_536)
    status = b"200 OK" if data.startswith((b"GET ", b"HEAD ")) else b"400 Bad Request"
    peer.sendall(
        b"HTTP/1.1 " + status + b"\r\nServer: lab\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
    )


@mode("block-page")
def block_page(peer: socket.socket) -> None:
    """The page of a web filter, to whatever is sent."""
    peer.recv(65_536)
    peer.sendall(BLOCK_PAGE)


@mode("portal")
def portal(peer: socket.socket) -> None:
    """Send every browser to a login page, and every other client too."""
    peer.recv(65_536)
    peer.sendall(PORTAL)


@mode("never-accepts")
def never_accepts(peer: socket.socket) -> None:
    """Nothing: see `serve`, which fills its own queue and takes nobody out of it."""


@mode("holds")
def holds(peer: socket.socket) -> None:
    """Nothing: see `hold`, which connects and keeps what it got."""


def hold(target: str, own_port: int) -> None:
    """Keep two connections to HOST:PORT open until the room ends; listen as soon as they are."""
    host, _, port = target.rpartition(":")
    held = [socket.create_connection((host, int(port))) for _ in range(2)]
    held.append(socket.create_server(("127.0.0.1", own_port)))
    time.sleep(HOLD_SECONDS)
    for sock in held:
        sock.close()


def _reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def serve(name: str, port: int) -> None:
    """Listen until the room ends."""
    listener = socket.create_server(("0.0.0.0", port), backlog=0 if name == "never-accepts" else BACKLOG)
    if name == "never-accepts":
        # tcp(7): a SYN that finds the queue full is dropped
        held = [socket.socket() for _ in range(3)]
        for sock in held:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        time.sleep(HOLD_SECONDS)
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=_play, args=(MODES[name], peer), daemon=True).start()


def _play(play: Play, peer: socket.socket) -> None:
    with contextlib.suppress(OSError), peer:
        play(peer)


if __name__ == "__main__":
    if sys.argv[1] == "holds":
        hold(sys.argv[3], int(sys.argv[2]))
    serve(sys.argv[1], int(sys.argv[2]))
