"""Say what answered when it was no Framework Server."""

from protocol.errors import PeerWireError
from relay.failure import Failure, PeerMisbehaved, Reason, Stage, classify

# Enough to know every protocol that `resembles` knows.
FIRST_BYTES = 64

# A Framework Server that cannot open a packet says nothing: it closes.
UNANSWERED = "before it answered: its key may be another one, or no Framework Server is there"


def not_framework(error: PeerWireError, first: bytes, packets_received: int, peer: str) -> PeerMisbehaved:
    """The error for bytes that are no Framework packet; the first bytes of a connection often tell why."""
    # Its patterns are compiled when it is imported, and this is rarely needed
    from protocol.resemblance import resembles

    found = resembles(first) if packets_received == 0 else None
    if found is None or found == "a Framework frame":
        return PeerMisbehaved(classify(error, Stage.FRAMEWORK, peer).failure)
    detail = f"sent {found} where a Framework packet belongs: something else answers there"
    return PeerMisbehaved(Failure(Stage.FRAMEWORK, Reason.MALFORMED, peer, detail))
