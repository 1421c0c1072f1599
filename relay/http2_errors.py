"""The errors of an HTTP/2 tunnel as those of a stream, which are OSErrors."""

import contextlib
import errno
from collections.abc import Iterator
from typing import Final

from protocol.errors import PeerWireError
from protocol.http2 import StreamReset

HALF_CLOSED_SECONDS: Final = 30.0
"""END_STREAM is a FIN (RFC 9113 section 8.5), but nghttpx for one does not pass it on to its own backend. So
long nothing may come after our last word; then the tunnel is ended."""


@contextlib.contextmanager
def as_os_errors() -> Iterator[None]:
    """Raises: ConnectionResetError when the proxy ended the tunnel with an error, OSError (EPROTO) for bytes
    that are no HTTP/2."""
    try:
        yield
    except StreamReset as error:
        raise ConnectionResetError(errno.ECONNRESET, str(error)) from error
    except PeerWireError as error:
        raise OSError(errno.EPROTO, str(error)) from error
