"""What the proxy's side of HTTP/2 knows of one stream: a request, its reply, and the tunnel behind it."""

from dataclasses import dataclass, field


@dataclass
class Http2Exchange:
    """One request. `unsent` waits for room; `said` is the part of a reply head that is not whole.

    is_bodiless: of HEAD, whose reply has no content (RFC 9110 section 9.3.2). missing_bytes: how much of the
    request's body has not come, by its Content-Length; None where it has none. has_body: its head was not the
    end of the request. is_malformed: what came is not to be used, not even what came before.
    """

    received: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    said: bytearray = field(default_factory=bytearray)
    missing_bytes: int | None = None
    has_body: bool = False
    is_malformed: bool = False
    is_tunnel: bool = False
    is_bodiless: bool = False
    has_head: bool = False
    has_ended: bool = False
    wants_end: bool = False
    is_over: bool = False
    is_lost: bool = False

    def take(self, data: bytes) -> None:
        """More of the request's body."""
        self.received += data
        if self.missing_bytes is not None:
            self.missing_bytes -= len(data)

    @property
    def is_of_another_length(self) -> bool:
        """Whether DATA is not what Content-Length says: malformed (RFC 9113 section 8.1.1)."""
        return bool(self.missing_bytes) and (self.has_ended or (self.missing_bytes or 0) < 0)
