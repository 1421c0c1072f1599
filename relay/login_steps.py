"""What a login in steps needs of its connection: bodies are read to their end; the proxy proves itself."""

import asyncio
from collections.abc import Sequence
from typing import Final

from relay.client_request import ClientRequest
from relay.refused import Refused
from relay.request_head import RequestHead, connection_options

# Clients that do not know the proxy send their body with each step; larger ones they send but once.
MAX_BODY_BYTES: Final = 2**20
BODY_SECONDS: Final = 30.0


async def can_go_on(request: ClientRequest) -> bool:
    """Whether the next step can come over this connection; reads what is left of the body, within limits.

    RFC 9931 section 8 wants a refused CONNECT closed, because of bytes that a client may have sent behind it:
    where there are any it is. A body that waits for a 100 may come or not (RFC 9110 section 10.1.1), so
    nobody could tell it from the next request.
    """
    if not _stays(request.head) or (not request.body_is_whole and request.head.values(b"expect")):
        return False
    left_bytes = MAX_BODY_BYTES
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for data in request.body():
                left_bytes -= len(data)
                if left_bytes < 0:
                    return False
    except (Refused, ConnectionError, TimeoutError):
        return False
    return request.body_is_whole and not request.has_early


def _stays(head: RequestHead) -> bool:
    """Whether the client waits on this connection.

    openvpn logs in by NTLM in HTTP/1.0, without a word of keeping the connection. For requests that are
    forwarded RFC 9112 section 9.3 forbids to keep it; a CONNECT ends here.
    """
    if head.line.method == "CONNECT":
        return "close" not in connection_options(head.fields)
    return head.keeps_alive


def with_fields(head: bytes, fields: Sequence[tuple[str, str]]) -> bytes:
    """A reply's head with these fields as its last ones."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")
    return head.removesuffix(b"\r\n") + lines + b"\r\n" if lines else head
