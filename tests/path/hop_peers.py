"""Real proxies that are not HTTP/1.1 on a plain socket: SOCKS servers, TLS before a proxy, HTTP/2."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from relay.route import Endpoint
from tests.lacking import lacking
from tests.path.real import Daemon, Tool, daemon, folder, free_endpoint, is_root

DANTE_SOURCE = "127.0.0.5"
MICROSOCKS_SOURCE = "127.0.0.6"
"""Where their connections to targets come from."""

USER, PASSWORD = "relay", "let me: in@once"

PASSWORD_HASH = (
    "$6$loopback$JBfERBWphcFN9pH6Go8MQ/s7meGH1gWn9NycgWzl/edFwvDA"
    "0tOF9c6BVAqDwdd4DBeuDH9wdc4t1Fzn6reB4/"
)
"""As `openssl passwd -6 -salt loopback` makes it."""


@contextlib.contextmanager
def microsocks(tool: Tool, *, login: bool = False) -> Iterator[Daemon]:
    """SOCKS 5 only; with `login` it takes user and password and nothing else."""
    program = tool("microsocks", "microsocks")
    endpoint = free_endpoint()
    arguments = [program, "-i", endpoint.host, "-p", str(endpoint.port), "-b", MICROSOCKS_SOURCE]
    if login:
        arguments += ["-u", USER, "-P", PASSWORD]
    with folder() as place, daemon(arguments, endpoint, place) as running:
        yield running


@contextlib.contextmanager
def dante(tool: Tool, *, login: bool = False, deny_port: int | None = None) -> Iterator[Daemon]:
    """SOCKS 4 and 5; its logins are those of the system, which with `login` has one user for it alone."""
    program = tool("danted", "dante-server")
    endpoint = free_endpoint()
    method = "username" if login else "none"
    with folder(of_nobody=True) as place:
        rules = ["client pass {", "from: 0/0 to: 0/0", "log: connect error", "}"]
        if deny_port is not None:
            rules += ["socks block {", f"from: 0/0 to: 0/0 port = {deny_port}", "log: error", "}"]
        rules += ["socks pass {", "from: 0/0 to: 0/0", "log: connect error", f"socksmethod: {method}", "}"]
        lines = [
            f"logoutput: {place}/dante.log",
            f"internal: {endpoint.host} port = {endpoint.port}",
            f"external: {DANTE_SOURCE}",
            "clientmethod: none",
            f"socksmethod: {method}",
            "user.unprivileged: nobody",
            *rules,
        ]
        (place / "dante.conf").write_text("\n".join(lines) + "\n")
        start = [program, "-f", f"{place}/dante.conf", "-p", f"{place}/pid"]
        if login:
            if not is_root():
                lacking("a user of dante's alone needs root, as its server does")
            start = [*_with_a_user(tool, place), *start]
        with daemon(start, endpoint, place) as running:
            yield running


def _with_a_user(tool: Tool, place: Path) -> list[str]:
    """What begins a command that finds a user of this system, and nobody else does: in a mount namespace."""
    passwd = Path("/etc/passwd").read_text("utf-8")
    (place / "passwd").write_text(f"{passwd}{USER}:x:64999:64999::/nonexistent:/usr/sbin/nologin\n")
    (place / "shadow").write_text(f"{USER}:{PASSWORD_HASH}:20000:0:99999:7:::\n")
    mounts = " && ".join(f"mount --bind {place}/{name} /etc/{name}" for name in ("passwd", "shadow"))
    unshare = [tool("unshare", "util-linux"), "--mount", "--propagation", "private"]
    return [*unshare, "sh", "-c", f'{mounts} && exec "$@"', "sh"]


@contextlib.contextmanager
def stunnel(
    tool: Tool, before: Endpoint, *, certificate: bytes, client_authority: bytes | None = None
) -> Iterator[Daemon]:
    """TLS before another proxy; with `client_authority` (PEM) its clients must have a certificate of it."""
    program = tool("stunnel", "stunnel4")
    endpoint = free_endpoint()
    with folder(of_nobody=True) as place:
        (place / "proxy.pem").write_bytes(certificate)
        lines = [
            "foreground = yes",
            f"output = {place}/stunnel.log",
            "pid =",
            "socket = l:TCP_NODELAY=1",
            "socket = r:TCP_NODELAY=1",
            "[proxy]",
            f"accept = {endpoint}",
            f"connect = {before}",
            f"cert = {place}/proxy.pem",
        ]
        if client_authority is not None:
            (place / "clients.pem").write_bytes(client_authority)
            lines += [f"CAfile = {place}/clients.pem", "verifyChain = yes", "requireCert = yes"]
        (place / "stunnel.conf").write_text("\n".join(lines) + "\n")
        with daemon([program, f"{place}/stunnel.conf"], endpoint, place) as running:
            yield running


@contextlib.contextmanager
def nghttpx(tool: Tool, before: Endpoint, *, key: bytes, chain: bytes) -> Iterator[Daemon]:
    """An HTTP/2 proxy in TLS that hands each CONNECT on to the HTTP/1.1 proxy at `before`."""
    program = tool("nghttpx", "nghttp2-proxy")
    endpoint = free_endpoint()
    with folder() as place:
        (place / "key.pem").write_bytes(key)
        (place / "chain.pem").write_bytes(chain)
        arguments = [
            program,
            "--http2-proxy",
            f"--frontend={endpoint.host},{endpoint.port}",
            f"--backend={before.host},{before.port}",
            "--workers=1",
            "--single-process",
            "--no-ocsp",
            f"--errorlog-file={place}/nghttpx.log",
            f"--accesslog-file={place}/access.log",
            f"--conf={place}/none.conf",
            f"{place}/key.pem",
            f"{place}/chain.pem",
        ]
        (place / "none.conf").write_text("")
        with daemon(arguments, endpoint, place) as running:
            yield running
