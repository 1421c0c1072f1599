"""A word of warning where a password goes over the network as it is (RFC 7617 section 4)."""

import ipaddress
import logging
from functools import cache

_LOG = logging.getLogger(__name__)


@cache
def note_clear_text(peer: str, host: str) -> None:
    """Warn once for each proxy, unless it is on this machine.

    Args: peer: the proxy, without secrets. host: its name or address.
    """
    if not _is_here(host):
        words = "the password went as it is (Basic, without TLS): anybody on the way can read it"
        _LOG.warning("warning: %s: %s", peer, words)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
