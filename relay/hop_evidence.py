"""What a proxy said when it refused, made fit to be shown: without secrets, printable, bounded."""

import base64
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from relay.failure import Answered
from relay.route import Hop

if TYPE_CHECKING:
    from protocol.connect import Reply

# A head of the usual size is shown whole; what is longer is most often a policy or a cookie.
MAX_HEAD_CHARACTERS = 4_000
MAX_BODY_CHARACTERS = 600
MAX_FIELD_CHARACTERS = 320
HIDDEN = "***"
SHORTEST_HIDDEN = 4

# Values that log somebody in, wherever they are quoted: in our own request, echoed, or in the reply.
_SECRET_FIELDS = re.compile(r"(?im)^([ \t>]*(?:proxy-)?authorization|[ \t>]*(?:set-)?cookie2?)[ \t]*:.*$")
_TOKENS = re.compile(r"(?i)\b(NTLM|Negotiate|Basic|Bearer)[ \t]+[A-Za-z0-9._~+/-]{16,}=*")
_NO_TEXT = re.compile(r"(?is)<(script|style)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<[^>]*(?:>|\Z)")
_SPACE = re.compile(r"\s+")


def without_secrets(reply: "Reply", hop: Hop) -> "Reply":
    """The same reply, with what logs somebody in hidden wherever the proxy has repeated it."""
    lines = [(name, redacted(f"{name}: {value}", hop)) for name, value in reply.headers]
    body = redacted(reply.body.decode("utf-8", "surrogateescape"), hop)
    return replace(
        reply,
        reason=redacted(reply.reason, hop),
        headers=tuple((name, line.partition(":")[2].removeprefix(" ")) for name, line in lines),
        body=body.encode("utf-8", "surrogateescape"),
    )


def answered(reply: "Reply", hop: Hop) -> Answered:
    """The evidence in a refusal of `hop`."""

    def field(name: str) -> str | None:
        values = reply.all(name)
        return printable(redacted(", ".join(values), hop), MAX_FIELD_CHARACTERS) if values else None

    lines = [f"HTTP/{reply.http_version} {reply.status} {reply.reason}".rstrip()]
    lines += [f"{name}: {value}" for name, value in reply.headers]
    head = "\n".join(printable(line, MAX_HEAD_CHARACTERS) for line in lines)
    text = _SPACE.sub(" ", _NO_TEXT.sub(" ", redacted(reply.body.decode("utf-8", "replace"), hop))).strip()
    return Answered(
        reply.status,
        _bounded(redacted(head, hop), MAX_HEAD_CHARACTERS),
        printable(text, MAX_BODY_CHARACTERS),
        field("Proxy-Status"),
        field("X-Squid-Error"),
        field("Via"),
    )


def redacted(text: str, hop: Hop) -> str:
    """`text` without this hop's password, as it is, percent-encoded or in Base64, and without any token."""
    for secret in _secrets(hop):
        text = text.replace(secret, HIDDEN)
    return _TOKENS.sub(rf"\1 {HIDDEN}", _SECRET_FIELDS.sub(rf"\1: {HIDDEN}", text))


def printable(text: str, limit_characters: int) -> str:
    """One line for a terminal: no control characters, bounded."""
    return _bounded("".join(c if c.isprintable() else " " for c in text), limit_characters)


def _bounded(text: str, limit_characters: int) -> str:
    return text if len(text) <= limit_characters else text[: limit_characters - 3] + "..."


def _secrets(hop: Hop) -> list[str]:
    if not hop.password:
        return []
    pairs = {f"{hop.user}:{hop.password}".encode(charset, "replace") for charset in ("utf-8", "latin-1")}
    codes = [base64.b64encode(data).decode().rstrip("=") for data in (*pairs, hop.password.encode())]
    # Fields of a head are read octet by octet
    octets = hop.password.encode().decode("latin-1")
    plain = [hop.password, octets, quote(hop.password), quote(hop.password, safe="")]
    # What is shorter stands in every other word: hiding it would spoil the text, and tell what it is
    return [*codes, *(text for text in plain if len(text) >= SHORTEST_HIDDEN)]
