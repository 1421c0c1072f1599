"""Say what answered when it was no Framework Server."""

from protocol.errors import PeerWireError
from relay.failure import Failure, PeerMisbehaved, Reason, Stage, classify

# Enough to know every protocol that `resembles` knows.
FIRST_BYTES = 64

# A Framework Server that cannot open a packet says nothing: it closes.
UNANSWERED = "before it answered: its key may be another one, or no Framework Server is there"


def idle_failure(came: bytes | None, unread_bytes: int, peer: str) -> Failure | None:
    """Why an idle connection can carry no further request; None when it can.

    Args: came: what a poll of its stream gave. unread_bytes: what came before that.
    """
    if came == b"":
        return Failure(Stage.FRAMEWORK, Reason.CLOSED, peer, "while the connection was idle")
    waiting = unread_bytes + len(came or b"")
    if not waiting:
        return None
    # The next answer could not be told from them
    return Failure(Stage.FRAMEWORK, Reason.MALFORMED, peer, f"sent {waiting} bytes that nobody had asked for")


def unanswered(packets_received: int) -> str:
    """What to say of a connection that was closed while an answer was awaited."""
    if not packets_received:
        return UNANSWERED
    return f"before it answered; it had answered {packets_received} times on this connection"


def not_framework(error: PeerWireError, first: bytes, packets_received: int, peer: str) -> PeerMisbehaved:
    """The error for bytes that are no Framework packet; the first bytes of a connection often tell why."""
    # Its patterns are compiled when it is imported, and this is rarely needed
    from protocol.resemblance import resembles

    found = resembles(first) if packets_received == 0 else None
    if found is None or found == "a Framework frame":
        return PeerMisbehaved(classify(error, Stage.FRAMEWORK, peer).failure)
    detail = f"sent {found} where a Framework packet belongs: something else answers there"
    return PeerMisbehaved(Failure(Stage.FRAMEWORK, Reason.MALFORMED, peer, detail))
