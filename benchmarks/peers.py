"""The field: every proxy that is measured, with its whole configuration.

All get the same: one CPU, one process or thread where that can be said, no log, no cache, no limit that the
workloads reach, no name lookup. HAProxy speaks TCP only, so it leads to a fixed target without CONNECT.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pypi import Installed, install

DESCRIPTOR_LIMIT = 40_000
SPARE_DESCRIPTORS = 800
"""Beside two for each tunnel: listeners, pipes, logs, libraries."""

LAUNCH = str(Path(__file__).with_name("launch.py"))
STREAMS = str(Path(__file__).with_name("streams_server.py"))


@dataclass(frozen=True)
class Place:
    """Where an instance of a peer lives."""

    folder: Path
    port: int
    target: str
    tunnels: int
    """How many at once it must be able to carry."""

    def write(self, name: str, lines: list[str]) -> str:
        """Write a configuration file; return its path."""
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n")
        return str(path)


@dataclass(frozen=True)
class Peer:
    """A way from client to target.

    Args:
        program: what is started; None for the direct connection.
        configure: writes its files, and returns the arguments behind `program`.
        package: what to install when `program` is missing.
        is_slow: gets a share of the work, in a share of the rounds.
        workloads: keys of those that it does; none named: all that go through a tunnel.
    """

    key: str
    label: str
    program: Callable[[Path], str | None]
    configure: Callable[[Place], list[str]]
    version: Callable[[str], str]
    package: str
    speaks_connect: bool = True
    is_slow: bool = False
    workloads: tuple[str, ...] = ()


def squid(place: Place) -> list[str]:
    """Squid in one process, without cache."""
    lines = [
        f"http_port 127.0.0.1:{place.port}",
        "http_access allow all",
        "visible_hostname bench.test",
        "access_log none",
        "cache_log /dev/null",
        "cache_store_log none",
        "cache deny all",
        "cache_mem 8 MB",
        "coredump_dir none",
        "pid_filename none",
        "netdb_filename none",
        "pinger_enable off",
        "workers 1",
        f"max_filedescriptors {2 * place.tunnels + SPARE_DESCRIPTORS}",
        "shutdown_lifetime 0 seconds",
    ]
    return ["-N", "-f", place.write("squid.conf", lines)]


def tinyproxy(place: Place) -> list[str]:
    """tinyproxy: a thread for each tunnel."""
    lines = [
        "Listen 127.0.0.1",
        f"Port {place.port}",
        f"MaxClients {place.tunnels + 100}",
        "Timeout 900",
        "LogLevel Critical",
        "DisableViaHeader Yes",
    ]
    return ["-d", "-c", place.write("tinyproxy.conf", lines)]


def _haproxy(place: Place, *more: str) -> list[str]:
    lines = [
        "global",
        f"  maxconn {place.tunnels + 100}",
        "  maxpipes 100",
        "  nbthread 1",
        "defaults",
        "  mode tcp",
        "  timeout connect 5s",
        "  timeout client 1h",
        "  timeout server 1h",
        *(f"  {line}" for line in more),
        "listen bench",
        f"  bind 127.0.0.1:{place.port}",
        f"  server target {place.target}",
    ]
    return ["-db", "-f", place.write("haproxy.cfg", lines)]


def haproxy(place: Place) -> list[str]:
    """HAProxy in TCP mode, one thread."""
    return _haproxy(place)


def haproxy_splice(place: Place) -> list[str]:
    """The same with splice(2), which it does not use unless told to."""
    return _haproxy(place, "option splice-request", "option splice-response")


def apache(place: Place) -> list[str]:
    """Apache's event MPM and mod_proxy_connect: a thread for each tunnel."""
    folder = "/usr/lib/apache2/modules"
    processes = max(1, -(-place.tunnels // 100))
    modules = "mpm_event authz_core proxy proxy_connect"
    lines = [
        *(f"LoadModule {name}_module {folder}/mod_{name}.so" for name in modules.split()),
        f"ServerRoot {place.folder}",
        f"DefaultRuntimeDir {place.folder}",
        f"PidFile {place.folder}/pid",
        "ServerName bench.test",
        f"Listen 127.0.0.1:{place.port}",
        "ErrorLog /dev/null",
        f"ServerLimit {processes}",
        f"StartServers {processes}",
        "ThreadsPerChild 128",
        "ThreadLimit 128",
        f"MaxRequestWorkers {processes * 128}",
        "MinSpareThreads 1",
        f"MaxSpareThreads {processes * 128}",
        "MaxConnectionsPerChild 0",
        "ProxyRequests On",
        "AllowCONNECT 1-65535",
        "ProxyTimeout 900",
        *(["User nobody", "Group nogroup"] if os.geteuid() == 0 else []),
    ]
    return ["-DFOREGROUND", "-f", place.write("apache.conf", lines)]


def proxy_py(place: Place) -> list[str]:
    """proxy.py with one acceptor and one worker."""
    listen = ["--hostname", "127.0.0.1", "--port", str(place.port)]
    limits = ["--num-acceptors", "1", "--num-workers", "1", "--timeout", "900", "--log-level", "CRITICAL"]
    return [*listen, *limits, "--data-dir", str(place.folder)]


def pproxy(place: Place) -> list[str]:
    """pproxy on asyncio streams."""
    return ["-l", f"http://127.0.0.1:{place.port}"]


def mitmproxy(place: Place) -> list[str]:
    """mitmdump that looks into nothing: every tunnel is passed on as raw TCP."""
    quiet = [
        "-q",
        "--set",
        "flow_detail=0",
        "--set",
        "termlog_verbosity=error",
        "--set",
        "server_replay_reuse=false",
    ]
    listen = ["--listen-host", "127.0.0.1", "--listen-port", str(place.port)]
    return [*listen, *quiet, "--set", f"confdir={place.folder}", "--ignore-hosts", ".*"]


def _relay(loop: str, *more: str) -> Callable[[Place], list[str]]:
    def configure(place: Place) -> list[str]:
        words = [word.format(folder=place.folder) for word in more]
        return ["-P", LAUNCH, loop, "proxy", "--listen", f"127.0.0.1:{place.port}", *words]

    return configure


def nothing(place: Place) -> list[str]:
    """The direct connection starts no program."""
    return []


def _on_path(name: str) -> Callable[[Path], str | None]:
    # Debian keeps servers in sbin, which is not on every user's PATH
    path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
    return lambda build: shutil.which(name, path=path)


def _from_pypi(package: Installed) -> Callable[[Path], str | None]:
    return lambda build: install(package, build)


def _says(*flags: str) -> Callable[[str], str]:
    """The first line that a program prints about its version."""

    def version(program: str) -> str:
        done = subprocess.run([program, *flags], capture_output=True, text=True, timeout=30)
        return (done.stdout or done.stderr).strip().splitlines()[0]

    return version


def _is_installed(package: Installed) -> Callable[[str], str]:
    def version(program: str) -> str:
        words = f"import importlib.metadata as m, sys; print('{package.name}', m.version('{package.name}'))"
        words += "; print('Python', sys.version.split()[0])"
        python = str(Path(program).with_name("python"))
        return ", ".join(subprocess.check_output([python, "-c", words], text=True, timeout=30).splitlines())

    return version


def _our_version(program: str) -> str:
    return _says("-P", LAUNCH, "asyncio", "--version")(program)


def _pypi_peer(key: str, package: Installed, configure: Callable[[Place], list[str]]) -> Peer:
    version = _is_installed(package)
    return Peer(
        key, package.name, _from_pypi(package), configure, version, f"{package.name} from PyPI", is_slow=True
    )


def _our_peer(key: str, label: str, loop: str, *more: str, workloads: tuple[str, ...] = ()) -> Peer:
    configure = _relay(loop, *more)
    return Peer(key, label, _python, configure, _our_version, "uvloop", workloads=workloads)


def _python(build: Path) -> str:
    return sys.executable


LOGGING = ("--access-log", "{folder}/access.log", "--allow-port", "1-65535", "--admin", "127.0.0.1:0")
"""Access control, log and metrics, to be compared with none; what is logged goes to a file."""

PEERS = (
    Peer("direct", "direct", lambda build: None, nothing, lambda program: "", "", speaks_connect=False),
    Peer("squid", "squid", _on_path("squid"), squid, _says("--version"), "squid"),
    Peer("tinyproxy", "tinyproxy", _on_path("tinyproxy"), tinyproxy, _says("-v"), "tinyproxy"),
    Peer("haproxy", "HAProxy", _on_path("haproxy"), haproxy, _says("-v"), "haproxy", speaks_connect=False),
    Peer("haproxy_splice", "HAProxy, splice", _on_path("haproxy"), haproxy_splice, _says("-v"), "haproxy",
         speaks_connect=False),
    Peer("apache", "Apache", _on_path("apache2"), apache, _says("-v"), "apache2", is_slow=True),
    _pypi_peer("proxy_py", Installed("proxy.py", ">=2.4.10,<3", "proxy"), proxy_py),
    _pypi_peer("pproxy", Installed("pproxy", ">=2.7.9,<3", "pproxy"), pproxy),
    _pypi_peer("mitmproxy", Installed("mitmproxy", ">=11,<13", "mitmdump"), mitmproxy),
    _our_peer("relay_asyncio", "relay, asyncio", "asyncio"),
    _our_peer("relay", "relay", "default"),
    _our_peer("relay_log", "relay, all on", "default", *LOGGING, workloads=("set_up",)),
)  # fmt: skip


PINGS = ("ping_1", "ping_64")


def _server(key: str, label: str, loop: str) -> Peer:
    def configure(place: Place) -> list[str]:
        listen = ["--listen", f"127.0.0.1:{place.port}", "--max-connections", str(place.tunnels)]
        return ["-P", LAUNCH, loop, "server", *listen]

    return Peer(key, label, _python, configure, _our_version, "uvloop", False, workloads=PINGS)


def _streams(key: str, label: str, loop: str) -> Peer:
    def configure(place: Place) -> list[str]:
        return ["-P", STREAMS, loop, "127.0.0.1", str(place.port)]

    return Peer(key, label, _python, configure, _says("--version"), "uvloop", False, workloads=PINGS)


SERVERS = (
    _streams("streams_asyncio", "streams, asyncio", "asyncio"),
    _streams("streams", "streams, uvloop", "uvloop"),
    _server("server_asyncio", "relay server, asyncio", "asyncio"),
    _server("server", "relay server, uvloop", "default"),
)
BY_KEY = {peer.key: peer for peer in (*PEERS, *SERVERS)}
