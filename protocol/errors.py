"""The wire's errors: what we were asked wrongly (local), and what the other side did wrong (peer)."""


class WireError(Exception):
    """Root of every error that the wire layer raises on purpose."""


class LocalWireError(WireError, ValueError):
    """You asked for something the wire cannot carry; nothing was sent."""


class LoginUnusable(LocalWireError):
    """A login scheme cannot speak here: a library, a ticket or a name is missing; the message says which.

    Attributes:
        is_spent: the credentials themselves were refused elsewhere (by a KDC): no other scheme may try them.
    """

    def __init__(self, message: str, *, is_spent: bool = False) -> None:
        super().__init__(message)
        self.is_spent = is_spent


class PeerWireError(WireError):
    """What arrived is not what the wire allows; the connection cannot be read any further."""


class FrameTooLarge(PeerWireError):
    """A frame's length field is over the limit; raised before any of its body is stored.

    Attributes:
        length_bytes: the length announced.
        limit_bytes: the largest length allowed.
    """

    def __init__(self, length_bytes: int, limit_bytes: int) -> None:
        super().__init__(length_bytes, limit_bytes)
        self.length_bytes = length_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        # Text where a length should be is the commonest reason (an HTTP page in the tunnel): show it as text.
        field = self.length_bytes.to_bytes(max(4, (self.length_bytes.bit_length() + 7) // 8))
        return (
            f"a frame of {self.length_bytes} bytes is announced, the limit is {self.limit_bytes}"
            f" (its length field reads {field!r})"
        )


class StreamTruncated(PeerWireError):
    """The stream ended inside a frame or a head."""


class SealBroken(PeerWireError):
    """A frame does not open: changed, lost, repeated, out of order, reflected, or sealed with another key."""


class InflateTooLarge(PeerWireError):
    """A packet opens, but inflates to more than the limit; inflation was stopped there.

    Attributes:
        limit_bytes: the largest inflated size allowed.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return f"a packet inflates to more than the limit of {self.limit_bytes} bytes"


class BodyMalformed(PeerWireError):
    """A packet opens, but is not one gzip member, or its operation's argument has a wrong form."""


class HeadMalformed(PeerWireError):
    """A reply to CONNECT is not HTTP, or is over a limit."""


class AuthMalformed(PeerWireError):
    """A proxy's login challenge cannot be read."""
