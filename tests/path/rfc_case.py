"""What a case of the tables rfc_targets, rfc_framing and rfc_forwarded is.

In each, `{A}` stands for the authority of an origin that answers, `{H}` for its whole Host line.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class RefusedCase:
    """A request of which nothing may reach anybody; the connection closes behind the reply."""

    name: str
    raw: bytes
    status: int


@dataclass(frozen=True)
class ForwardedCase:
    """A request that reaches its origin as `at_origin`, where `{V}` is our name in Via."""

    name: str
    raw: bytes
    at_origin: bytes
