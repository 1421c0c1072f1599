"""answer_portal: a login page in the way."""

from relay.fault import Chunks, fault
from relay.fault_answer import answer


@fault(seen_as="CONNECT is answered with a redirect to a login page", at_connect=True)
async def answer_portal(
    chunks: Chunks, *, location: str = "http://portal.test/login", status: int = 302
) -> Chunks:
    """Redirect to `location`; the target is never dialled."""
    yield answer(status, "log in at the portal first", ("Location", location))
