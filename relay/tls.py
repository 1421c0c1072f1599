"""TLS over any byte stream, sans-IO: one ssl.SSLObject between two memory buffers.

asyncio's own TLS cannot half-close and hides the socket; this core serves asyncio, threads, and TLS
inside TLS alike.
"""

import ssl
from collections.abc import Callable
from threading import Lock
from typing import Protocol

# One TLS record carries at most 16 KiB of plaintext (RFC 8446 section 5.1); several are decrypted per call.
DECRYPT_BYTES = 262_144
# OpenSSL's word for an end without close_notify.
_CUT_OFF = "UNEXPECTED_EOF_WHILE_READING"


class TlsSettings(Protocol):
    """How to speak TLS with a proxy; a Hop says all of it."""

    @property
    def verify(self) -> bool: ...
    @property
    def ca_file(self) -> str | None: ...
    @property
    def cert_file(self) -> str | None: ...
    @property
    def key_file(self) -> str | None: ...
    @property
    def system_trust(self) -> bool: ...
    @property
    def http2(self) -> bool: ...


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context for the TLS connection to a proxy.

    By ALPN only http/1.1 is offered unless asked: not every proxy that picks h2 knows CONNECT there.

    Raises: OSError or ssl.SSLError when a file cannot be read, or truststore is wanted and not there.
    """
    if settings.system_trust and settings.verify:
        context = _system_context()
        if settings.ca_file is not None:
            context.load_verify_locations(cafile=settings.ca_file)
    else:
        context = ssl.create_default_context(cafile=settings.ca_file)
    context.set_alpn_protocols(["h2", "http/1.1"] if settings.http2 else ["http/1.1"])
    if settings.cert_file is not None:
        # A key that wants a password fails; asking for it would stop a program that nobody watches
        context.load_cert_chain(settings.cert_file, settings.key_file, password=lambda: b"")
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _system_context() -> ssl.SSLContext:
    try:
        import truststore
    except ImportError:
        words = "truststore is not installed: pip install 'framework-relay[truststore]'"
        raise ssl.SSLError(words) from None
    context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return context


class TlsCore:
    """Ciphertext in, plaintext out, and back. Calls are short and never wait; threads may share it.

    Args: server_hostname: whom we speak with; None: we are the server.
    """

    def __init__(self, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # Some builds of Python 3.11 have it set, and then an end without close_notify looks like any other
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing,
            server_side=server_hostname is None, server_hostname=server_hostname,
        )  # fmt: skip
        # An SSL object must not be used by two threads at once, and a tunnel reads while it writes.
        self._lock = Lock()
        self.ended_without_close_notify = False

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is complete. Send `data_to_send()` after each call.

        Raises: ssl.SSLError
        """
        with self._lock:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                return False
            return True

    @property
    def alpn(self) -> str | None:
        """What ALPN has settled on, after the handshake; None when the peer does not know it."""
        return self._tls.selected_alpn_protocol()

    @property
    def certificate(self) -> bytes | None:
        """The peer's certificate (DER), verified or not, after the handshake."""
        return self._tls.getpeercert(binary_form=True)

    def receive_data(self, data: bytes) -> None:
        """Take ciphertext from the peer; b"" says that it has ended."""
        with self._lock:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def decrypt(self) -> bytes | None:
        """Plaintext, b"" at the end, or None when more ciphertext is needed.

        Raises: ssl.SSLError
        """
        with self._lock:
            try:
                return self._tls.read(DECRYPT_BYTES)
            except ssl.SSLWantReadError:
                return None
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                # Python 3.11.2 has no class of its own for it
                if error.reason != _CUT_OFF and not isinstance(error, ssl.SSLEOFError | ssl.SSLSyscallError):
                    raise
                # Many proxies just close; the tunnelled protocol has framing of its own.
                self.ended_without_close_notify = True
                return b""

    def poll(self, poll_below: Callable[[], bytes | None]) -> bytes | None:
        """Plaintext that can be had without waiting, b"" at the end; None when nothing has come.

        Args:   poll_below: gives ciphertext in the same way. Raises: ssl.SSLError, OSError.
        """
        while (plaintext := self.decrypt()) is None:
            ciphertext = poll_below()
            if ciphertext is None:
                return None
            self.receive_data(ciphertext)
        return plaintext

    def encrypt(self, data: bytes) -> None:
        """Turn plaintext into ciphertext, to be fetched with `data_to_send()`."""
        with self._lock:
            self._tls.write(data)

    def close_notify(self) -> None:
        """Say that we will send no more (RFC 8446 section 6.1: reading goes on)."""
        with self._lock:
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                # Our alert is written first; what is reported here is only that the peer's has not come.
                return

    def data_to_send(self) -> bytes:
        """Ciphertext that must go to the peer now."""
        with self._lock:
            return self._outgoing.read()
