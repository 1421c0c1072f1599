"""tinyproxy; lines are directives."""

from relay.lab.program import Command, Given, program
from relay.lab.room import find


@program("tinyproxy", 8888)
def tinyproxy(given: Given) -> Command:
    """Every port may be reached unless a line says ConnectPort. Its password: `BasicAuth relay inside1`."""
    lines = [
        f"Port {given.port}",
        f'LogFile "{given.folder}/tinyproxy.log"',
        "LogLevel Info",
        "MaxClients 50",
        *(line.replace("{folder}", str(given.folder)) for line in given.lines),
    ]
    settings = given.write("tinyproxy.conf", *lines)
    return Command(given.room.as_nobody(find("tinyproxy", "tinyproxy"), "-d", "-c", str(settings)))
