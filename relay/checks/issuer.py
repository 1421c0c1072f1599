"""Compare the certificate of port 443 through the proxy with the one that comes without it."""

import asyncio
import ssl

from relay.check import CannotTest, Trip, check, found
from relay.checks.direct import addresses_of
from relay.checks.other_port import OTHER_PORT
from relay.failure import RelayError
from relay.finding import Finding
from relay.stream import SocketStream, Stream
from relay.tls import TlsCore

WORDS = {
    "same": "the certificate is the same with the proxy and without",
    "differs": "the proxy shows a certificate of its own in place of the server's",
    "unknown": "a certificate comes through the proxy, and none without it to compare with",
}


@check("issuer", WORDS, needs={"fake-200": "opened"}, connections=2, routes=("proxy",))
async def issuer(trip: Trip) -> Finding:
    """Is the certificate of port 443 the server's own?"""
    shown = await _through(trip)
    if shown is None:
        raise CannotTest(f"port {OTHER_PORT} shows no certificate through the proxy")
    own = await _directly(trip)
    word = "unknown" if own is None else "same" if own == shown else "differs"
    return found("issuer", word, f"{WORDS[word]} (issued by {name_of(shown)})", issuer=name_of(shown))


async def _through(trip: Trip) -> bytes | None:
    try:
        async with trip.stream(trip.beside(OTHER_PORT), trip.patience.control) as stream:
            return await certificate(stream, trip.route.target.host, trip.patience.control)
    except RelayError:
        return None


async def _directly(trip: Trip) -> bytes | None:
    try:
        addresses = await addresses_of(trip.beside(OTHER_PORT))
    except OSError:
        return None
    dialled = await trip.dial(addresses[0], trip.patience.control)
    if dialled.sock is None:
        return None
    stream = SocketStream(dialled.sock)
    try:
        return await certificate(stream, trip.route.target.host, trip.patience.control)
    finally:
        await stream.aclose()


async def certificate(stream: Stream, host: str, limit_seconds: float) -> bytes | None:
    """The certificate that a TLS server shows, as DER; None when there is none. Nobody is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    core = TlsCore(context, host)
    try:
        async with asyncio.timeout(limit_seconds):
            while not core.handshake():
                await stream.write(core.data_to_send())
                data = await stream.read()
                if not data:
                    return None
                core.receive_data(data)
    except (OSError, RelayError, TimeoutError):
        return None
    return core.peer_certificate()


def name_of(certificate_der: bytes) -> str:
    """Who issued it (RFC 4514), or "an unreadable name"."""
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(certificate_der).issuer.rfc4514_string()[:200]
    except ValueError:
        return "an unreadable name"
