"""A certificate authority for one run of the proxy: its key is forgotten, its certificate is for clients."""

import ipaddress
import os
import socket
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from relay.failure import SettingsError

OWNER = "framework-relay throw-away authority"
# Browsers refuse server certificates that are valid for more than 398 days.
VALID = timedelta(days=365)
# A client's clock may be behind ours.
BEFORE = timedelta(hours=1)
MAX_CA_BYTES = 65_536
_UNSPECIFIED = ("0.0.0.0", "::")
_HERE = ("localhost", "127.0.0.1", "::1")


def leaf_for(ca_file: Path, names: Sequence[str]) -> bytes:
    """Key and certificate (PEM) for `names` and for this machine, of the authority in `ca_file`.

    The authority is made, and the file written, when this is asked first; then it is the same one.

    Raises: SettingsError when the file cannot be written, or is somebody else's.
    """
    authority, key = _authority(ca_file)
    leaf = ec.generate_private_key(ec.SECP256R1())
    hosts = [name for name in dict.fromkeys((*names, *_HERE, socket.gethostname())) if _is_usable(name)]
    built = (
        _begun(_subject("framework-relay proxy"), authority.subject, leaf)
        .add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = leaf.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret + built.public_bytes(serialization.Encoding.PEM)


@lru_cache(maxsize=64)
def _authority(ca_file: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"{OWNER} {os.urandom(4).hex()}")
    authority = (
        _begun(subject, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(ca_file, authority.public_bytes(serialization.Encoding.PEM))
    return authority, key


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEFORE)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs_certificates,
        crl_sign=signs_certificates, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _is_usable(name: str) -> bool:
    return bool(name) and name.isascii() and name not in _UNSPECIFIED


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, pem: bytes) -> None:
    """Replace the file at once, but only one that an earlier run has written."""
    if not _is_ours(path):
        words = "holds something else; expected no file, or one that an earlier run has written"
        raise SettingsError(f"throw-away authority: {str(path)!r} {words}")
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:  # interrupted as well: half a file must not stay
            Path(name).unlink()
            raise
    except OSError as error:
        words = f"{str(path)!r} cannot be written: {error.strerror}"
        raise SettingsError(f"throw-away authority: {words}") from None


def _is_ours(path: Path) -> bool:
    try:
        # A pipe would keep us waiting, and /dev/null, which is empty, would be replaced by a file
        if not path.is_file() and not path.is_dir() and path.exists():
            return False
        with path.open("rb") as file:
            data = file.read(MAX_CA_BYTES)
    except FileNotFoundError:
        return True
    except OSError as error:
        words = f"{str(path)!r} cannot be read: {error.strerror}"
        raise SettingsError(f"throw-away authority: {words}") from None
    if not data:
        return True
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        return False
    return len(found) == 1 and OWNER in found[0].subject.rfc4514_string()
