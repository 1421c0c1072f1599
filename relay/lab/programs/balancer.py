"""haproxy as a load balancer; lines are the whole of its sections."""

from relay.lab.network import ADDRESSES
from relay.lab.program import Command, Given, program
from relay.lab.room import find


@program("haproxy", 5000)
def haproxy(given: Given) -> Command:
    """A frontend on its port with the given lines; `{server}` and the like are filled in."""
    lines = list(given.lines)
    for name, value in ADDRESSES.items():
        lines = [line.replace(f"{{{name}}}", value) for line in lines]
    settings = given.write(
        "haproxy.cfg",
        "defaults",
        "  mode tcp",
        "  timeout connect 1s",
        "  timeout client 60s",
        "  timeout server 60s",
        "  retries 1",
        "listen lab",
        f"  bind :{given.port}",
        *(f"  {line}" for line in lines),
    )
    return Command(given.room.as_nobody(find("haproxy", "haproxy"), "-db", "-f", str(settings)))
