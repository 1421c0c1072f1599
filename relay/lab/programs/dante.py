"""SOCKS servers: dante, and microsocks."""

from relay.lab.program import Command, Given, program
from relay.lab.room import find


@program("dante", 1080)
def dante(given: Given) -> Command:
    """dante; lines are rules before those that let everything pass."""
    rules = given.lines or ("socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }",)
    settings = given.write(
        "danted.conf",
        f"logoutput: {given.folder}/danted.log",
        f"internal: 0.0.0.0 port = {given.port}",
        "external: eth0",
        "clientmethod: none",
        *([] if any(line.startswith("socksmethod") for line in rules) else ["socksmethod: none"]),
        "timeout.connect: 2",
        *(line for line in rules if line.startswith("socksmethod")),
        "client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }",
        *(line for line in rules if not line.startswith("socksmethod")),
    )
    return Command([find("danted", "dante-server"), "-f", str(settings), "-p", f"{given.folder}/pid"])


@program("microsocks", 1080)
def microsocks(given: Given) -> Command:
    """microsocks; lines are its options: -u USER -P PASSWORD."""
    arguments = [find("microsocks", "microsocks"), "-i", "0.0.0.0", "-p", str(given.port), *given.lines]
    return Command(given.room.as_nobody(*arguments))
