"""The binding of a login to the TLS connection it goes over ("Extended Protection"; RFC 5929 section 4).

A login that is bound says which certificate its client has seen. A proxy that checks it refuses what somebody
in the middle, with another certificate, passes on.
"""

from dataclasses import dataclass
from typing import Final

_TYPE: Final = b"tls-server-end-point:"
_TOO_WEAK: Final = ("md5", "sha1")


@dataclass
class ChannelBinding:
    """What the logins of one hop are bound to. `application_data`: as RFC 5929 has it; None without TLS."""

    application_data: bytes | None = None

    def bind(self, certificate: bytes | None) -> None:
        """Bind to a new TLS connection, by the proxy's certificate (DER)."""
        self.application_data = None if certificate is None else server_end_point(certificate)


def server_end_point(certificate: bytes) -> bytes | None:
    """The binding of type tls-server-end-point: a hash of the certificate (DER).

    The hash is that of the certificate's signature, but SHA-256 in place of MD5 and SHA-1. None where RFC
    5929 defines none: for signatures that have no hash function of their own (Ed25519), or an unknown one.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.hashes import SHA256, Hash

    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return None
    if algorithm is None:
        return None
    digest = Hash(SHA256() if algorithm.name in _TOO_WEAK else algorithm)
    digest.update(certificate)
    return _TYPE + digest.finalize()
