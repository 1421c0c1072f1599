"""Send a TLS ClientHello where our packet got no answer: does only TLS pass, and who shows a certificate?"""

import asyncio
import contextlib
import ssl
from typing import Any

from protocol.resemblance import excerpt
from relay.check import Trip, check, found
from relay.checks.ping import kind_of
from relay.failure import RelayError
from relay.finding import Finding
from relay.stream import Stream
from relay.tls import TlsCore

WORDS = {
    "certificate": "a certificate comes back: whatever is there speaks TLS",
    "alert": "TLS is answered, and refused",
    "foreign": "something else than TLS is answered",
    "closed": "the connection is closed",
    "reset": "the connection is reset",
    "silent": "no answer comes",
}
MAX_HELLO_BYTES = 32_768


@check("tls-hello", WORDS, needs={"connect": "open", "ping": "closed reset cut foreign silent rejected"})
async def tls_hello(trip: Trip) -> Finding:
    """Is a TLS ClientHello answered where our packet is not?"""
    async with trip.stream() as stream:
        word, evidence = await greet(stream, trip.route.target.host, trip.patience.control)
    return found("tls-hello", word, **evidence)


async def greet(stream: Stream, host: str, limit_seconds: float) -> tuple[str, dict[str, Any]]:
    """Begin a TLS handshake without trusting anybody; the word, and who issued the certificate."""
    # Nothing secret is sent: who answers is the question, so every certificate is looked at
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    core = TlsCore(context, host)
    got = bytearray()
    try:
        async with asyncio.timeout(limit_seconds):
            while True:
                done = _step(core)
                with contextlib.suppress(OSError):
                    await stream.write(core.data_to_send())
                if done or _has_certificate(got):
                    return "certificate", {"first_bytes": excerpt(bytes(got))}
                data = await stream.read()
                got += data
                if not data:
                    return ("closed" if not got else _word(got)), {"first_bytes": excerpt(bytes(got))}
                core.receive_data(data)
                if len(got) > MAX_HELLO_BYTES:
                    return _word(got), {"first_bytes": excerpt(bytes(got))}
    except TimeoutError:
        return "silent" if not got else _word(got), {"first_bytes": excerpt(bytes(got))}
    except ssl.SSLError as error:
        return _word(got), {"first_bytes": excerpt(bytes(got)), "reason": str(error.reason)}
    except (OSError, RelayError):
        return "reset", {}


def _step(core: TlsCore) -> bool:
    return core.handshake()


def _has_certificate(got: bytearray) -> bool:
    """A ServerHello has come (RFC 5246 section 7.4.1.3): whoever sends one holds a certificate."""
    return len(got) > 5 and got[0] == 0x16 and got[5] == 2


def _word(got: bytearray) -> str:
    if _has_certificate(got):
        return "certificate"
    return "alert" if kind_of(bytes(got)) == "tls" else "foreign"
