"""Ask in HTTP where something answered our packet that is no Framework Server: who is it?"""

import asyncio
import re

from relay.check import Trip, check, found
from relay.finding import Finding
from relay.reading import own_words

WORDS = {
    "http": "it answers HTTP",
    "http-login": "it answers HTTP with a page to log in, or sends a browser elsewhere",
    "http-blocked": "it answers HTTP with the page of a filter that blocks it",
    "quiet": "it does not answer HTTP",
}
_LOGIN = re.compile(rb"(?i)captive|hotspot|portal|log ?in|sign ?in|accept the terms")
_BLOCKED = re.compile(rb"(?i)blocked|web ?filter|url ?filter|not permitted by (?:company )?policy")


@check("http-get", WORDS, needs={"connect": "open", "ping": "foreign silent closed"})
async def http_get(trip: Trip) -> Finding:
    """Is an HTTP request answered there?"""
    request = f"GET / HTTP/1.0\r\nHost: {trip.route.target.host}\r\nConnection: close\r\n\r\n".encode("ascii")
    got = b""
    async with trip.stream() as stream:
        try:
            async with asyncio.timeout(trip.patience.control):
                await stream.write(request)
                while len(got) < 8192 and (data := await stream.read()):
                    got += data
        except (OSError, TimeoutError):
            pass
    if not got.startswith(b"HTTP/"):
        return found("http-get", "quiet", received_bytes=len(got))
    head, _, body = got.partition(b"\r\n\r\n")
    status = head.split(b"\r\n")[0][:120].decode("latin-1")
    code = int(found_code[1]) if (found_code := re.match(rb"HTTP/\d\.\d (\d{3})", head)) else 0
    quoted = own_words({}, body)
    words = f"{status}{f': {quoted[:160]}' if quoted else ''}"
    return found("http-get", _word(code, got), words, status=code, own_words=quoted)


def _word(code: int, got: bytes) -> str:
    if code == 511 or 300 <= code < 400 or _LOGIN.search(got):
        return "http-login"
    # RFC 7725: 451 is for this alone
    return "http-blocked" if code == 451 or _BLOCKED.search(got) else "http"
