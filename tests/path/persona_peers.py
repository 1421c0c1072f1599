"""The real proxies that personas are compared with, told what the recorded ones were told."""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from relay.route import Endpoint
from tests.path.peers import APACHE_MODULE_FOLDER, APACHE_MODULES, squid_helper
from tests.path.persona_compare import Addresses
from tests.path.persona_targets import Lab
from tests.path.pypi_peers import peer
from tests.path.real import Daemon, Tool, daemon, folder, free_endpoint

PASSWORDS = "user:$apr1$loopback$pa/eGvSY9rKFe0AYBwgqm.\n"
"""Of user and pass, as `openssl passwd -apr1 -salt loopback` makes it."""

TIMEOUT_SECONDS = 4


def address(endpoint: Endpoint) -> tuple[str, int]:
    return endpoint.host, endpoint.port


@contextlib.contextmanager
def squid(tool: Tool, lab: Lab) -> Iterator[Addresses]:
    """One process that listens twice."""
    plain, known = free_endpoint(), free_endpoint()
    with folder(of_nobody=True) as place:
        (place / "passwords").write_text(PASSWORDS)
        lines = [
            f"http_port {plain} name=plain",
            f"http_port {known} name=known",
            "visible_hostname proxy.test",
            f"auth_param basic program {squid_helper('basic_ncsa_auth')} {place}/passwords",
            "auth_param basic realm lab",
            "auth_param basic children 1 startup=1",
            "acl knownport myportname known",
            "acl users proxy_auth REQUIRED",
            "acl lab_ports port " + " ".join(map(str, lab.ports)),
            f"acl denied dstdomain {lab.denied_name}",
            "http_access deny CONNECT !lab_ports",
            "http_access deny denied",
            "http_access deny knownport !users",
            "http_access allow all",
            "cache deny all",
            "cache_mem 1 MB",
            "max_filedescriptors 1024",
            "dns_nameservers 127.0.0.1",
            "dns_timeout 1 second",
            "dns_retransmit_interval 200 milliseconds",
            f"connect_timeout {TIMEOUT_SECONDS} seconds",
            f"read_timeout {TIMEOUT_SECONDS} seconds",
            f"request_start_timeout {TIMEOUT_SECONDS} seconds",
            f"request_timeout {TIMEOUT_SECONDS} seconds",
            # The target ends each connection; a request that meets that end on an old one is a 502
            "server_persistent_connections off",
            "pinger_enable off",
            "shutdown_lifetime 0 seconds",
            "pid_filename none",
            "netdb_filename none",
            f"access_log stdio:{place}/access.log",
            f"cache_log {place}/cache.log",
            f"coredump_dir {place}",
        ]
        (place / "squid.conf").write_text("\n".join(lines) + "\n")
        service = f"relaytest{os.getpid()}x{plain.port}"
        arguments = [tool("squid", "squid"), "-N", "-n", service, "-f", f"{place}/squid.conf"]
        try:
            with daemon(arguments, plain, place, as_nobody=True):
                yield Addresses(address(plain), address(known))
        finally:
            for segment in Path("/dev/shm").glob(f"{service}-*"):
                segment.unlink()


@contextlib.contextmanager
def _tinyproxy(tool: Tool, lab: Lab, *more: str) -> Iterator[Daemon]:
    endpoint = free_endpoint()
    with folder(of_nobody=True) as place:
        (place / "filter").write_text("^" + lab.denied_name.replace(".", r"\.") + "$\n")
        lines = [
            f"Listen {endpoint.host}",
            f"Port {endpoint.port}",
            f"Timeout {TIMEOUT_SECONDS - 1}",
            f'LogFile "{place}/tinyproxy.log"',
            "MaxClients 100",
            'ViaProxyName "tinyproxy"',
            *(f"ConnectPort {port}" for port in lab.ports),
            f'Filter "{place}/filter"',
            "FilterExtended On",
            *more,
        ]
        (place / "tinyproxy.conf").write_text("\n".join(lines) + "\n")
        arguments = [tool("tinyproxy", "tinyproxy"), "-d", "-c", f"{place}/tinyproxy.conf"]
        with daemon(arguments, endpoint, place, as_nobody=True) as running:
            yield running


@contextlib.contextmanager
def tinyproxy(tool: Tool, lab: Lab) -> Iterator[Addresses]:
    login = f"BasicAuth {lab.user} {lab.password}"
    with _tinyproxy(tool, lab) as plain, _tinyproxy(tool, lab, login) as known:
        yield Addresses(address(plain.endpoint), address(known.endpoint))


@contextlib.contextmanager
def apache(tool: Tool, lab: Lab) -> Iterator[Addresses]:
    """Two virtual hosts."""
    plain, known = free_endpoint(), free_endpoint()
    with folder(of_nobody=True) as place:
        (place / "passwords").write_text(PASSWORDS)
        modules = [*APACHE_MODULES.split(), "reqtimeout"]
        lines = [
            *(f"LoadModule {name}_module {APACHE_MODULE_FOLDER}/mod_{name}.so" for name in modules),
            f"ServerRoot {place}",
            f"DefaultRuntimeDir {place}",
            f"PidFile {place}/pid",
            "ServerName proxy.test",
            f"Listen {plain}",
            f"Listen {known}",
            f"ErrorLog {place}/error.log",
            f"Timeout {TIMEOUT_SECONDS}",
            f"ProxyTimeout {TIMEOUT_SECONDS}",
            f"RequestReadTimeout header={TIMEOUT_SECONDS},MinRate=1 body={TIMEOUT_SECONDS}",
            "ServerLimit 1",
            "StartServers 1",
            "ThreadsPerChild 64",
            "MaxRequestWorkers 64",
            "ProxyRequests On",
            "ProxyVia On",
            "AllowCONNECT " + " ".join(map(str, lab.ports)),
            f"ProxyBlock {lab.denied_name}",
            f"<VirtualHost {plain}>",
            "</VirtualHost>",
            f"<VirtualHost {known}>",
            '<Proxy "*">',
            "AuthType Basic",
            'AuthName "lab"',
            "AuthBasicProvider file",
            f"AuthUserFile {place}/passwords",
            "Require valid-user",
            "</Proxy>",
            "</VirtualHost>",
        ]
        (place / "apache.conf").write_text("\n".join(lines) + "\n")
        arguments = [tool("apache2", "apache2"), "-DFOREGROUND", "-f", f"{place}/apache.conf"]
        with daemon(arguments, plain, place, as_nobody=True):
            yield Addresses(address(plain), address(known))


@contextlib.contextmanager
def privoxy(tool: Tool, lab: Lab) -> Iterator[Addresses]:
    """It knows no logins."""
    endpoint = free_endpoint()
    with folder(of_nobody=True) as place:
        ports = ",".join(map(str, lab.ports))
        (place / "lab.action").write_text(
            f"{{+limit-connect{{{ports}}}}}\n/\n{{+block{{lab policy}}}}\n.{lab.denied_name}\n"
        )
        lines = [
            "confdir /etc/privoxy",
            f"logdir {place}",
            "logfile privoxy.log",
            f"actionsfile {place}/lab.action",
            f"listen-address {endpoint}",
            f"socket-timeout {TIMEOUT_SECONDS}",
            f"keep-alive-timeout {TIMEOUT_SECONDS}",
        ]
        (place / "privoxy.conf").write_text("\n".join(lines) + "\n")
        arguments = [tool("privoxy", "privoxy"), "--no-daemon", f"{place}/privoxy.conf"]
        with daemon(arguments, endpoint, place, as_nobody=True):
            yield Addresses(address(endpoint))


@contextlib.contextmanager
def _twice(start: Callable[[Endpoint, Path, bool], list[str]]) -> Iterator[Addresses]:
    """Two processes, the second with a login."""
    plain, known = free_endpoint(), free_endpoint()
    with ExitStack() as stack:
        for endpoint, wants_login in ((plain, False), (known, True)):
            place = stack.enter_context(folder())
            arguments = start(endpoint, place, wants_login)
            stack.enter_context(daemon(arguments, endpoint, place, HOME=str(place)))
        yield Addresses(address(plain), address(known))


@contextlib.contextmanager
def mitmproxy(tool: Tool, lab: Lab) -> Iterator[Addresses]:
    def start(endpoint: Endpoint, place: Path, wants_login: bool) -> list[str]:
        option = f"proxyauth={lab.user}:{lab.password}"
        option = option if wants_login else f"block_list=/~d {lab.denied_name}/403"
        where = ["--listen-host", endpoint.host, "-p", str(endpoint.port)]
        return [peer("mitmdump"), *where, "--set", f"confdir={place}", "--set", option]

    with _twice(start) as where:
        yield where


@contextlib.contextmanager
def proxy_py(tool: Tool, lab: Lab) -> Iterator[Addresses]:
    def start(endpoint: Endpoint, place: Path, wants_login: bool) -> list[str]:
        plugin = "proxy.plugin.FilterByUpstreamHostPlugin"
        login = ["--basic-auth", f"{lab.user}:{lab.password}"]
        filters = ["--plugins", plugin, "--filtered-upstream-hosts", lab.denied_name]
        return [
            peer("proxy"), "--hostname", endpoint.host, "--port", str(endpoint.port), "--num-workers", "1",
            "--num-acceptors", "1", "--timeout", str(TIMEOUT_SECONDS), "--data-dir", str(place),
            *(login if wants_login else filters),
        ]  # fmt: skip

    with _twice(start) as where:
        yield where
