"""What the proxy's side of HTTP/2 knows of one stream: a request, its reply, and the tunnel behind it."""

from dataclasses import dataclass, field


@dataclass
class Http2Exchange:
    """One request. `unsent` waits for room; `said` is the part of a reply head that is not whole.

    is_bodiless: of HEAD, whose reply has no content (RFC 9110 section 9.3.2).
    """

    received: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    said: bytearray = field(default_factory=bytearray)
    is_tunnel: bool = False
    is_bodiless: bool = False
    has_head: bool = False
    has_ended: bool = False
    wants_end: bool = False
    is_over: bool = False
    is_lost: bool = False
