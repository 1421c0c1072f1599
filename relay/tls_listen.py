"""TLS of a listener: its own certificate or one of a throw-away authority, and what clients must show."""

import ssl
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from relay.failure import SettingsError
from relay.route import Endpoint

MAX_SUBJECT_CHARACTERS = 200


@dataclass(frozen=True)
class TlsListen:
    """How to speak TLS with clients; either `certificate` or `new_ca` is set.

    certificate, key: PEM files; the key may stand in the first.
    new_ca: make an authority for this run, and write its certificate here, for clients to trust.
    names: hosts and addresses that its certificate is for, beside those of this machine.
    client_ca: ask clients for a certificate of these authorities (PEM).
    client_required: refuse those who have none.
    http2: offer h2 by ALPN where the package h2 is installed.
    """

    certificate: str | None = None
    key: str | None = None
    new_ca: str | None = None
    names: tuple[str, ...] = ()
    client_ca: str | None = None
    client_required: bool = True
    http2: bool = True

    def check(self, what: str) -> None:
        """Read all files, so that a bad one is found before anything listens. Raises: SettingsError."""
        if (self.certificate is None) == (self.new_ca is None):
            raise SettingsError(f"{what}: expected a certificate, or a file for a throw-away authority's")
        if self.key is not None and self.certificate is None:
            raise SettingsError(f"{what}: a key without a certificate")
        if self.certificate is not None:
            _context(self, self.certificate, self.key, what)
        elif self.client_ca is not None:
            _ask_for_certificates(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self, what)


def server_context(tls: TlsListen, on: Endpoint | Path, what: str = "TLS") -> ssl.SSLContext:
    """A context for connections of clients. Raises: SettingsError when a file cannot be used."""
    if tls.certificate is not None:
        return _context(tls, tls.certificate, tls.key, what)
    assert tls.new_ca is not None
    from relay.throwaway_ca import leaf_for

    names = tls.names + ((on.host,) if isinstance(on, Endpoint) else ())
    # OpenSSL takes a key from a file only
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(leaf_for(Path(tls.new_ca), names))
        file.flush()
        return _context(tls, file.name, None, what)


def _context(tls: TlsListen, certificate: str, key: str | None, what: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key that wants a password fails; nobody is there to be asked
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError:
        why = "expected a certificate and its key, without a password (PEM)"
        raise SettingsError(f"{what}: certificate: cannot use {certificate!r}: {why}") from None
    except OSError as error:
        # It does not say of which of the two
        files = certificate if key is None or not Path(certificate).is_file() else key
        raise SettingsError(f"{what}: certificate: cannot read {files!r}: {error.strerror}") from None
    _ask_for_certificates(context, tls, what)
    protocols = ["h2", "http/1.1"] if tls.http2 and find_spec("h2") is not None else ["http/1.1"]
    context.set_alpn_protocols(protocols)
    return context


def _ask_for_certificates(context: ssl.SSLContext, tls: TlsListen, what: str) -> None:
    if tls.client_ca is None:
        return
    try:
        context.load_verify_locations(tls.client_ca)
    except ssl.SSLError:
        words = f"cannot use {tls.client_ca!r}: it holds no certificate (PEM)"
        raise SettingsError(f"{what}: client_ca: {words}") from None
    except OSError as error:
        words = f"cannot read {tls.client_ca!r}: {error.strerror}"
        raise SettingsError(f"{what}: client_ca: {words}") from None
    context.verify_mode = ssl.CERT_REQUIRED if tls.client_required else ssl.CERT_OPTIONAL


@lru_cache(maxsize=1024)
def subject_of(certificate: bytes) -> str:
    """The subject of a certificate (DER) as RFC 4514 writes it, fit for a log and for rules."""
    from cryptography import x509

    try:
        text = x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
    except ValueError:
        # OpenSSL is content with more than cryptography is
        return "?"
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_SUBJECT_CHARACTERS])
