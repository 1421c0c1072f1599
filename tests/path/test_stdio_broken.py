"""`relay tunnel --stdio` when its own ends are wrong: the far side is not blamed for them."""

import socket
import subprocess
import threading

import pytest

from tests.path.real import SCRIPTS, environment

RELAY = str(SCRIPTS / "relay")
SECONDS = 30


@pytest.mark.parametrize(("closed", "name"), [("<&-", "stdin"), (">&-", "stdout")])
def test_a_closed_end_is_told_before_anything_is_opened(closed: str, name: str) -> None:
    """Exit status 2 and one line that names it; nobody was called."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = subprocess.run(
            ["sh", "-c", f'exec "$0" tunnel --stdio 127.0.0.1:{port} {closed}', RELAY],
            capture_output=True, text=True, timeout=SECONDS, env=environment(),
        )  # fmt: skip
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert (2, f"relay tunnel: --stdio: {name} is closed; expected it open\n") == (
        done.returncode,
        done.stderr,
    )


def test_a_full_disk_is_told_as_one() -> None:
    """What cannot be written to stdout ends the tunnel with RST, and with the system's own words."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen: list[str] = []

        def serve() -> None:
            with listener.accept()[0] as sock:
                sock.sendall(b"an answer")
                try:
                    seen.append(repr(sock.recv(1)))
                except ConnectionResetError:
                    seen.append("RST")

        server = threading.Thread(target=serve)
        server.start()
        done = subprocess.run(
            ["sh", "-c", f'exec "$0" tunnel --stdio 127.0.0.1:{listener.getsockname()[1]} >/dev/full', RELAY],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=SECONDS, env=environment(),
        )  # fmt: skip
        server.join(SECONDS)
    said = "relay tunnel: cannot write to stdout: No space left on device\n"
    assert (1, said) == (done.returncode, done.stderr)
    assert seen in (["RST"], ["b''"])
