"""TLS interception: the TLS inside a tunnel ends here, and another one goes on to the target."""

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relay.dial import reset_socket
from relay.refused import linger_close
from relay.stream import SocketStream

# A TLS record of a handshake (RFC 8446 section 5.1).
HANDSHAKE = 0x16
# Long enough for a test, short enough that nobody comes to rely on it.
VALID = timedelta(days=2)
MAX_NAMES = 256
CHUNK_BYTES = 65_536


class ThrowAwayAuthority:
    """A certificate authority that exists in memory only, and makes a certificate for every name.

    Args: name: as issuers are shown to people.
    """

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        built = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        self._certificate = built.sign(self._key, hashes.SHA256())
        self.context_for = lru_cache(MAX_NAMES)(self._context_for)

    @property
    def pem(self) -> bytes:
        """Its certificate, for a client that is to trust it."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def _context_for(self, host: str) -> ssl.SSLContext:
        """A server's context with a certificate for `host`."""
        key = ec.generate_private_key(ec.SECP256R1())
        # A common name has at most 64 characters (RFC 5280, appendix A.1)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        names = x509.SubjectAlternativeName([_general_name(host)])
        built = self._builder(subject, key).add_extension(names, critical=False)
        certificate = built.sign(self._key, hashes.SHA256())
        no_password = serialization.NoEncryption()
        parts = [
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password),
            certificate.public_bytes(serialization.Encoding.PEM),
            self.pem,
        ]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        handle, path = tempfile.mkstemp()
        try:
            # ssl takes certificates from files alone
            with os.fdopen(handle, "wb") as file:
                file.write(b"".join(parts))
            context.load_cert_chain(path)
        finally:
            os.unlink(path)  # noqa: PTH108 - a path as mkstemp gives it
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - VALID)
            .not_valid_after(now + VALID)
        )


class Interception:
    """Stands between the tunnel and its target. Whoever opens it closes it when the tunnel has ended."""

    def __init__(self, authority: ThrowAwayAuthority, host: str) -> None:
        self._authority = authority
        self._host = host
        self._task: asyncio.Task[None] | None = None

    def open(self, target: SocketStream) -> SocketStream:
        """What the tunnel takes for its target."""
        ours, inner = _pair()
        sock, _ = target.detach()
        self._task = asyncio.create_task(self._run(inner, sock))
        return SocketStream(ours)

    async def aclose(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, inner: socket.socket, target: socket.socket) -> None:
        writers: list[asyncio.StreamWriter] = []
        try:
            await _readable(inner)
            first = inner.recv(1, socket.MSG_PEEK)
            if first and first[0] == HANDSHAKE:
                await self._carry(inner, target, writers)
        except OSError:
            return
        finally:
            for writer in writers:
                # That of Python 3.11.2 fails where the transport has been closed twice
                with contextlib.suppress(AttributeError):
                    writer.transport.abort()
            reset_socket(target)
            # By FIN, whatever is still unread: that it was not liked is all that is to be seen
            await linger_close(SocketStream(inner), b"")

    async def _carry(
        self, inner: socket.socket, target: socket.socket, writers: list[asyncio.StreamWriter]
    ) -> None:
        context = self._authority.context_for(self._host)
        client = await _open(inner.dup(), writers, context, server_side=True)
        # It is the company that would check; a test wants to see what its own client makes of it
        unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unchecked.check_hostname = False
        unchecked.verify_mode = ssl.CERT_NONE
        server = await _open(target.dup(), writers, unchecked, server_side=False, host=self._host)
        ways = [
            asyncio.create_task(_copy(client, writers[1])), asyncio.create_task(_copy(server, writers[0]))
        ]  # fmt: skip
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        for writer in writers:
            writer.close()
        for writer in writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _open(
    sock: socket.socket, writers: list[asyncio.StreamWriter], context: ssl.SSLContext, *,
    server_side: bool, host: str | None = None,
) -> asyncio.StreamReader:  # fmt: skip
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    if server_side:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=context)
    else:
        transport, _ = await loop.create_connection(
            lambda: protocol, sock=sock, ssl=context, server_hostname=host
        )
    writers.append(asyncio.StreamWriter(transport, protocol, reader, loop))
    return reader


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    waiting = loop.create_future()

    def wake() -> None:
        if not waiting.done():
            waiting.set_result(None)

    loop.add_reader(sock, wake)
    try:
        await waiting
    finally:
        loop.remove_reader(sock)


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection: what looks at a tunnel's sockets asks TCP about them."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
