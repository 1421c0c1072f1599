"""What the faults at the connect stage answer with."""

from http import HTTPStatus

from relay.fault import Chunk, now

# No Content-Length, no Transfer-Encoding (RFC 9110 section 9.3.6): what follows belongs to the tunnel.
STATUS_LINE = "HTTP/1.1 200 Connection established"
ESTABLISHED = f"{STATUS_LINE}\r\n\r\n".encode()
PAGE = "<!DOCTYPE html><html><head><title>Blocked</title></head><body><p>%s</p></body></html>"
_TEXT = ("Content-Type", "text/plain; charset=utf-8")


def answer(status: int, words: str, *fields: tuple[str, str]) -> Chunk:
    """A whole reply that no tunnel follows: the connection closes behind it."""
    status = status if 100 <= status <= 999 else 500
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Refused"
    body = f"{words}\n".encode()
    head = [f"HTTP/1.1 {status} {reason}"]
    has_type = any(name == "Content-Type" for name, _ in fields)
    for name, value in (*fields, *(() if has_type else (_TEXT,))):
        # A value from a file or a flag must not become a second field
        head.append(f"{name}: " + "".join(c if c.isprintable() else "?" for c in value))
    head += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return Chunk("\r\n".join(head).encode("latin-1", "replace") + body, now(), is_head=True, is_refusal=True)
