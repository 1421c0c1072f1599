"""A certificate authority for one room, and what it issues. Nothing of it leaves the room's memory."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relay.lab.network import ADDRESSES
from relay.lab.room import FOLDER

AUTHORITY_FILE = FOLDER / "ca.pem"
"""What a client that trusts the company names with --proxy-ca."""


def proxy_pem(folder: Path, *, is_authority: bool = False) -> Path:
    """Write a key with its certificate, for every place of the lab, and the authority beside it; its path.

    Args: is_authority: the pair may itself issue certificates, as a TLS-inspecting proxy does.
    """
    issuer_key, issuer = _issue("Lab Company CA", None, None, may_issue=True)
    AUTHORITY_FILE.write_bytes(issuer.public_bytes(serialization.Encoding.PEM))
    name = "Lab Inspection CA" if is_authority else "proxy.lab"
    key, certificate = _issue(name, issuer_key, issuer, may_issue=is_authority)
    path = folder / "proxy.pem"
    plain = serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(pem, form, plain) + certificate.public_bytes(pem))
    path.chmod(0o644)
    return path


def _issue(
    name: str,
    issuer_key: ec.EllipticCurvePrivateKey | None,
    issuer: x509.Certificate | None,
    *,
    may_issue: bool,
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    others: list[x509.GeneralName] = [x509.DNSName("proxy.lab"), x509.DNSName("server.lab")]
    others += [x509.IPAddress(ipaddress.ip_address(one)) for one in ADDRESSES.values()]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=may_issue, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(others), critical=False)
        .sign(issuer_key or key, hashes.SHA256())
    )
    return key, made
