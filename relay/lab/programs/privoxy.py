"""Privoxy without any filter; lines are its actions."""

from relay.lab.program import Command, Given, program
from relay.lab.room import find


@program("privoxy", 8118)
def privoxy(given: Given) -> Command:
    """Every port may be reached unless a line says otherwise: `{+limit-connect{443}}`."""
    actions = given.lines or ("{+limit-connect{1-65535}}",)
    action_file = given.write("lab.action", *(line for action in actions for line in (action, "/")))
    settings = given.write(
        "privoxy.conf",
        "confdir /etc/privoxy",
        f"logdir {given.folder}",
        "logfile privoxy.log",
        f"actionsfile {action_file}",
        f"listen-address :{given.port}",
        "socket-timeout 60",
    )
    return Command(given.room.as_nobody(find("privoxy", "privoxy"), "--no-daemon", str(settings)))
