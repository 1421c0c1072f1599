"""squid as companies have it; lines are directives before the rule that allows the rest."""

from pathlib import Path

from relay.lab.certificates import proxy_pem
from relay.lab.network import ADDRESSES
from relay.lab.program import Command, Given, program
from relay.lab.room import CannotPlay, find

USER_AND_PASSWORD = "relay:$apr1$loopback$7vRUMcuLkBKo9DBy59V941"  # noqa: S105 - of the lab alone
"""The password is `let me: in@once`; as `openssl passwd -apr1 -salt loopback` makes it."""

SPARE = (
    "pid_filename none",
    "netdb_filename none",
    "pinger_enable off",
    "cache deny all",
    "cache_mem 1 MB",
    "max_filedescriptors 1024",
    "shutdown_lifetime 0 seconds",
)
"""What a squid does without that is there for an hour at most."""


@program("squid", 3128)
def squid(given: Given) -> Command:
    """Squid as Debian builds it (GnuTLS); it cannot open TLS."""
    return _start(given, find("squid", "squid"), f"http_port {given.port}")


@program("squid-tls", 3129)
def squid_tls(given: Given) -> Command:
    """Squid to which clients speak TLS."""
    certificate = proxy_pem(given.folder)
    return _start(given, find("squid", "squid"), f"https_port {given.port} tls-cert={certificate}")


@program("squid-openssl", 3128)
def squid_openssl(given: Given) -> Command:
    """Squid built with OpenSSL, which opens TLS (ssl_bump); {ca} in lines is its certificate authority."""
    path = Path(find("squid-openssl", "squid-openssl, see docs/lab.md"))
    certificate = proxy_pem(given.folder, is_authority=True)
    options = "ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=1MB"
    # Beside the program, wherever its package was unpacked
    found = sorted(path.resolve().parents[1].glob("lib/squid/security_file_certgen"))
    maker = found[0] if found else Path("/usr/lib/squid/security_file_certgen")
    if not maker.exists():
        raise CannotPlay(f"{maker} is missing (Debian package squid-openssl)")
    database = given.folder / "certificates"
    given.room.run(given.place, given.room.as_nobody(str(maker), "-c", "-s", str(database), "-M", "4MB"))
    more = [f"sslcrtd_program {maker} -s {database} -M 4MB", "sslcrtd_children 1 startup=1 idle=1"]
    return _start(given, str(path), f"http_port {given.port} {options} tls-cert={certificate}", *more)


def _start(given: Given, path: str, listen: str, *more: str) -> Command:
    (given.folder / "passwords").write_text(USER_AND_PASSWORD + "\n")
    folder = str(given.folder)
    names = any(line.startswith("dns_nameservers") for line in given.lines)
    lines = [
        listen,
        *more,
        *(line.replace("{folder}", folder).replace("{helpers}", "/usr/lib/squid") for line in given.lines),
        "http_access allow all",
        f"visible_hostname {given.place}.lab",
        f"access_log stdio:{folder}/access.log",
        f"cache_log {folder}/cache.log",
        f"coredump_dir {folder}",
        *SPARE,
        *([] if names else [f"dns_nameservers {ADDRESSES['router']}"]),
        "dns_timeout 3 seconds",
        "dns_retransmit_interval 1 second",
        "connect_timeout 2 seconds",
        "forward_max_tries 1",
    ]
    settings = given.write("squid.conf", *lines)
    return Command(given.room.as_nobody(path, "-N", "-f", str(settings)))
