"""Apache: as a proxy (mod_proxy_connect), and as the web server that it mostly is."""

from relay.lab.program import Command, Given, program
from relay.lab.programs.squid import USER_AND_PASSWORD
from relay.lab.room import find

MODULES = (
    "mpm_event authn_core authn_file authz_core authz_host authz_user auth_basic"
    " proxy proxy_connect proxy_http"
)
MODULE_FOLDER = "/usr/lib/apache2/modules"


@program("apache", 8080)
def apache(given: Given) -> Command:
    """A proxy for every port; lines are directives, `AllowCONNECT 443` among them."""
    (given.folder / "passwords").write_text(USER_AND_PASSWORD + "\n")
    proxy = ["ProxyRequests On", "ProxyTimeout 2", "LimitRequestBody 1000000"]
    if not any(line.startswith("AllowCONNECT") for line in given.lines):
        proxy.append("AllowCONNECT 1-65535")
    return _start(given, [*proxy, *(line.replace("{folder}", str(given.folder)) for line in given.lines)])


@program("apache-web", 80)
def apache_web(given: Given) -> Command:
    """A web server with one page, which knows no CONNECT."""
    given.write("index.html", "<html><title>welcome</title>hello</html>")
    return _start(given, [f"DocumentRoot {given.folder}", *given.lines], binds_low=given.port < 1024)


def _start(given: Given, more: list[str], *, binds_low: bool = False) -> Command:
    lines = [
        *(f"LoadModule {name}_module {MODULE_FOLDER}/mod_{name}.so" for name in MODULES.split()),
        f"ServerRoot {given.folder}",
        f"DefaultRuntimeDir {given.folder}",
        f"PidFile {given.folder}/pid",
        "ServerName proxy.lab",
        f"Listen 0.0.0.0:{given.port}",
        f"ErrorLog {given.folder}/error.log",
        "ServerLimit 1",
        "StartServers 1",
        "ThreadsPerChild 25",
        "MaxRequestWorkers 25",
        *more,
    ]
    settings = given.write("apache.conf", *lines)
    if binds_low:
        given.room.run(given.place, ["sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=1"])
    arguments = [find("apache2", "apache2"), "-DFOREGROUND", "-f", str(settings)]
    return Command(given.room.as_nobody(*arguments))
