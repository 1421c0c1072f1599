"""How a tunnel ended, and what it carried; free of asyncio, so that `relay tunnel --stdio` starts fast."""

from dataclasses import dataclass
from enum import StrEnum


class TunnelEnd(StrEnum):
    """How a tunnel ended; "closed" is a FIN, named after the side whose end came first.

    TARGET_UNHEARD: it said nothing for too long after the client's end, which a proxy perhaps kept to itself.
    """

    CLIENT_CLOSED = "client-closed"
    TARGET_CLOSED = "target-closed"
    CLIENT_RESET = "client-reset"
    TARGET_RESET = "target-reset"
    TARGET_SILENT = "target-closed-at-once"
    TARGET_UNHEARD = "target-unheard"
    FAULT_CLOSED = "fault-closed"
    FAULT_RESET = "fault-reset"
    STOPPED = "stopped"


@dataclass
class Counters:
    """Bytes carried so far: `up` from the client to the target, `down` back."""

    up: int = 0
    down: int = 0
