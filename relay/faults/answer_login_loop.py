"""answer_login_loop: no login is ever good enough."""

from relay.fault import Chunks, fault
from relay.fault_answer import answer


@fault(seen_as="407 again after every login, right or wrong", at_connect=True)
async def answer_login_loop(chunks: Chunks, *, challenge: str = 'Basic realm="relay"') -> Chunks:
    """Ask for a login with `challenge`, whatever the client sends, and close."""
    yield answer(407, "log in", ("Proxy-Authenticate", challenge))
