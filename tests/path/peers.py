"""What real peers are told: one context manager for each program, with its whole configuration."""

import contextlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from relay.lab.programs.squid import SPARE
from tests.path.real import (
    Daemon,
    RelayCommand,
    Tool,
    daemon,
    folder,
    free_endpoint,
    is_root,
    relay_command,
)

SQUID_SOURCE = "127.0.0.2"
TINYPROXY_SOURCE = "127.0.0.3"
APACHE_SOURCE = "127.0.0.4"
"""Where each proxy's connections to targets come from, so that the far end can tell who made them."""

USER, PASSWORD = "relay", "let me: in@once"
"""Of squid and Apache; it has all that must be encoded in a URL."""

PASSWORD_FILE = f"{USER}:$apr1$loopback$7vRUMcuLkBKo9DBy59V941\n"
"""As `openssl passwd -apr1 -salt loopback` makes it."""

TINYPROXY_PASSWORD = "inside1"
"""tinyproxy's file takes letters and digits only."""

APACHE_MODULES = (
    "mpm_event authn_core authn_file authz_core authz_user auth_basic proxy proxy_connect proxy_http"
)
APACHE_MODULE_FOLDER = "/usr/lib/apache2/modules"


@contextlib.contextmanager
def squid(
    tool: Tool,
    *,
    allow_ports: str = "1-65535",
    login: bool = False,
    certificate: bytes | None = None,
    auth: Callable[[Path], list[str]] | None = None,
    authority: bytes | None = None,
    more: Sequence[str] = (),
    **env: str,
) -> Iterator[Daemon]:
    """Squid as a corporate proxy; with `certificate` (PEM, key first) clients speak TLS to it.

    `auth`: gives its auth_param lines, for a login other than Basic; it may write files into the folder.
    `authority`: a CA as PEM, key first, with which it opens TLS (ssl_bump). `more`: further directives.
    """
    program = tool("squid", "squid") if authority is None else tool("squid-openssl", ".ci/squid-openssl")
    endpoint = free_endpoint()
    with folder(of_nobody=True) as place:
        listen = f"http_port {endpoint}"
        if certificate is not None:
            (place / "proxy.pem").write_bytes(certificate)
            listen = f"https_port {endpoint} tls-cert={place}/proxy.pem"
        if authority is not None:
            listen, bumping = ssl_bump(program, str(endpoint), authority, place)
            more = [*bumping, *more]
        rules = ["acl allowed_ports port " + allow_ports, "http_access deny CONNECT !allowed_ports"]
        if login or auth is not None:
            rules = [
                *(auth or basic_auth)(place),
                "acl known proxy_auth REQUIRED",
                *rules,
                "http_access deny !known",
            ]
        lines = [
            listen,
            *rules,
            "http_access allow all",
            f"tcp_outgoing_address {SQUID_SOURCE}",
            "visible_hostname proxy.test",
            "logformat relay %rm %ru %>Hs %[un",
            f"access_log stdio:{place}/access.log logformat=relay",
            f"cache_log {place}/cache.log",
            f"coredump_dir {place}",
            *SPARE,
            # Nothing answers there, so every name fails, and soon
            "dns_nameservers 127.0.0.1",
            "dns_timeout 1 second",
            "dns_retransmit_interval 200 milliseconds",
            *more,
        ]
        (place / "squid.conf").write_text("\n".join(lines) + "\n")
        # Squids of one service name share memory, and what a killed one leaves there stops the next user's
        service = f"relaytest{os.getpid()}x{endpoint.port}"
        arguments = [program, "-N", "-n", service, "-f", f"{place}/squid.conf"]
        try:
            with daemon(arguments, endpoint, place, as_nobody=True, **env) as running:
                yield running
        finally:
            for segment in Path("/dev/shm").glob(f"{service}-*"):
                segment.unlink()


def ssl_bump(program: str, endpoint: str, authority: bytes, place: Path) -> tuple[str, list[str]]:
    """How squid listens, and the directives, to open all TLS with certificates of its own making."""
    (place / "authority.pem").write_bytes(authority)
    # Beside the program, wherever its package was unpacked
    maker = Path(program).resolve().parents[1] / "lib/squid/security_file_certgen"
    database = place / "certificates"
    subprocess.run([maker, "-c", "-s", database, "-M", "4MB"], check=True, capture_output=True)
    for path in (database, *database.rglob("*")):
        shutil.chown(path, "nobody")
    options = "ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=1MB"
    directives = [
        f"sslcrtd_program {maker} -s {database} -M 4MB",
        "sslcrtd_children 1 startup=1 idle=1",
        "ssl_bump bump all",
    ]
    return f"http_port {endpoint} {options} tls-cert={place}/authority.pem", directives


def basic_auth(place: Path) -> list[str]:
    """Squid's settings for Basic."""
    (place / "passwords").write_text(PASSWORD_FILE)
    return [
        f"auth_param basic program {squid_helper('basic_ncsa_auth')} {place}/passwords",
        "auth_param basic realm relay test",
        "auth_param basic children 1 startup=1",
    ]


def squid_helper(name: str) -> str:
    """Return the path of one of squid's helpers; Debian and Fedora differ."""
    found = [path for lib in ("lib", "lib64") for path in Path("/usr", lib, "squid").glob(name)]
    return str(found[0])


@contextlib.contextmanager
def tinyproxy(
    tool: Tool, *, allow_port: int | None = None, login: bool = False, allow_ports: Sequence[int] = ()
) -> Iterator[Daemon]:
    """tinyproxy; without `allow_port` and `allow_ports` every port may be reached."""
    program = tool("tinyproxy", "tinyproxy")
    endpoint = free_endpoint()
    with folder(of_nobody=True) as place:
        lines = [
            f"Listen {endpoint.host}",
            f"Port {endpoint.port}",
            f"Bind {TINYPROXY_SOURCE}",
            f'LogFile "{place}/tinyproxy.log"',
            "LogLevel Info",
            "MaxClients 50",
            *([f"ConnectPort {allow_port}"] if allow_port else []),
            *(f"ConnectPort {port}" for port in allow_ports),
            *([f"BasicAuth {USER} {TINYPROXY_PASSWORD}"] if login else []),
        ]
        (place / "tinyproxy.conf").write_text("\n".join(lines) + "\n")
        arguments = [program, "-d", "-c", f"{place}/tinyproxy.conf"]
        with daemon(arguments, endpoint, place, as_nobody=True) as running:
            yield running


@contextlib.contextmanager
def apache(
    tool: Tool,
    *,
    allow_ports: str = "1-65535",
    login: bool = False,
    certificate: bytes | None = None,
    auth: Callable[[Path], list[str]] | None = None,
) -> Iterator[Daemon]:
    """Apache with mod_proxy_connect and mod_proxy_http; with `certificate` clients speak TLS to it.

    `auth`: gives its settings for a login other than Basic; it may write files into the folder.
    """
    program = tool("apache2", "apache2")
    endpoint = free_endpoint()
    with folder(of_nobody=True) as place:
        modules = [*APACHE_MODULES.split(), "auth_digest", *(["ssl"] if certificate is not None else [])]
        lines = [
            *(f"LoadModule {name}_module {APACHE_MODULE_FOLDER}/mod_{name}.so" for name in modules),
            f"ServerRoot {place}",
            f"DefaultRuntimeDir {place}",
            f"PidFile {place}/pid",
            "ServerName proxy.test",
            f"Listen {endpoint}",
            f"ErrorLog {place}/error.log",
            f'CustomLog {place}/access.log "%r %>s %u"',
            "ServerLimit 1",
            "StartServers 1",
            "ThreadsPerChild 25",
            "MaxRequestWorkers 25",
            "ProxyRequests On",
            f"AllowCONNECT {allow_ports}",
            f"ProxySourceAddress {APACHE_SOURCE}",
        ]
        if certificate is not None:
            (place / "proxy.pem").write_bytes(certificate)
            lines += ["SSLEngine on", f"SSLCertificateFile {place}/proxy.pem"]
        if login or auth is not None:
            lines += ['<Proxy "*">', *(auth or apache_basic)(place), "Require valid-user", "</Proxy>"]
        (place / "apache.conf").write_text("\n".join(lines) + "\n")
        arguments = [program, "-DFOREGROUND", "-f", f"{place}/apache.conf"]
        with daemon(arguments, endpoint, place, as_nobody=True) as running:
            yield running


def apache_basic(place: Path) -> list[str]:
    """Apache's settings for Basic."""
    (place / "passwords").write_text(PASSWORD_FILE)
    lines = ["AuthType Basic", 'AuthName "relay test"', "AuthBasicProvider file"]
    return [*lines, f"AuthUserFile {place}/passwords"]


@contextlib.contextmanager
def privoxy(tool: Tool, *, allow_ports: str = "1-65535") -> Iterator[Daemon]:
    """Privoxy without any filter; ports that are not allowed are blocked."""
    program = tool("privoxy", "privoxy")
    endpoint = free_endpoint()
    with folder(of_nobody=True) as place:
        (place / "ports.action").write_text(f"{{+limit-connect{{{allow_ports}}}}}\n/\n")
        lines = [
            "confdir /etc/privoxy",
            f"logdir {place}",
            "logfile privoxy.log",
            f"actionsfile {place}/ports.action",
            f"listen-address {endpoint}",
            "socket-timeout 60",
        ]
        (place / "privoxy.conf").write_text("\n".join(lines) + "\n")
        arguments = [program, "--no-daemon", f"{place}/privoxy.conf"]
        with daemon(arguments, endpoint, place, as_nobody=True) as running:
            yield running


@contextlib.contextmanager
def relay_proxy(tool: Tool | None = None, *, allow_ports: str | None = None) -> Iterator[RelayCommand]:
    """Our own proxy, as the others are: a process of its own."""
    ports = [] if allow_ports is None else ["--allow-port", allow_ports]
    with relay_command("proxy", "--access-log", "-", *ports) as running:
        yield running


@dataclass(frozen=True)
class Sshd:
    """An SSH server that lets the user of the tests in, and what its client must be told."""

    daemon: Daemon
    user: str
    options: tuple[str, ...]


@contextlib.contextmanager
def sshd(tool: Tool) -> Iterator[Sshd]:
    """OpenSSH's server; it runs as the user of the tests, whom alone it lets in, by key."""
    program, keygen = tool("sshd", "openssh-server"), tool("ssh-keygen", "openssh-client")
    endpoint = free_endpoint()
    if is_root():
        # Debian's service makes it at its start; without it sshd does not start as root
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    user = pwd.getpwuid(os.getuid()).pw_name
    with folder() as place:
        for name in ("host", "user"):
            subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", place / name], check=True)
        host_key = (place / "host.pub").read_text()
        (place / "known").write_text(f"[{endpoint.host}]:{endpoint.port} {host_key}")
        lines = [
            f"ListenAddress {endpoint.host}:{endpoint.port}",
            f"HostKey {place}/host",
            f"AuthorizedKeysFile {place}/user.pub",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "PidFile none",
        ]
        (place / "sshd.conf").write_text("\n".join(lines) + "\n")
        options = "BatchMode=yes StrictHostKeyChecking=yes IdentitiesOnly=yes"
        options += f" UserKnownHostsFile={place}/known"
        with daemon([program, "-D", "-e", "-f", str(place / "sshd.conf")], endpoint, place) as running:
            flags = ["-F", "none", "-i", str(place / "user"), *(f"-o{option}" for option in options.split())]
            yield Sshd(running, user, tuple(flags))


@contextlib.contextmanager
def git_daemon(tool: Tool, base: Path) -> Iterator[Daemon]:
    """git's own server for git:// URLs; it serves what is below `base`."""
    endpoint = free_endpoint()
    arguments = [
        tool("git", "git"),
        "daemon",
        "--export-all",
        f"--listen={endpoint.host}",
        f"--port={endpoint.port}",
        f"--base-path={base}",
        str(base),
    ]
    with folder() as place, daemon(arguments, endpoint, place) as running:
        yield running
