"""Logins bound to the proxy's certificate: pyspnego's own server side checks what our clients say."""

import datetime
import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import spnego
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from spnego.channel_bindings import GssChannelBindings

from protocol.schemes.token_server import TokenVerifier
from relay.accepting_context import AcceptingSecurityContext
from relay.channel_binding import ChannelBinding, server_end_point
from relay.client_logins import LoginRules
from relay.failure import ProxyRefused, Reason
from tests.corpus import BANNER
from tests.parts.scripted_proxy import OK, Opening, Played, ScriptedProxy, read_exactly
from tests.parts.test_security_context import PASSWORD, USER, opening, users

__all__ = ["opening", "users"]  # fixtures


def certificate(algorithm: hashes.HashAlgorithm | None) -> bytes:
    """A certificate (DER) signed with this hash; None: with Ed25519, which has none of its own."""
    without_hash = algorithm is None
    key = ed25519.Ed25519PrivateKey.generate() if without_hash else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "proxy.test")])
    today = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, today, today + datetime.timedelta(9))
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512"])
def test_the_hash_is_that_of_the_signature(name: str) -> None:
    """RFC 5929 section 4.1."""
    der = certificate(getattr(hashes, name.upper())())
    assert b"tls-server-end-point:" + hashlib.new(name, der).digest() == server_end_point(der)


def test_a_weak_hash_is_replaced() -> None:
    """SHA-256 stands for SHA-1: said of the algorithm's name, for nothing here signs with it any more."""
    der = certificate(hashes.SHA256())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relay.channel_binding._TOO_WEAK", ("sha256",))
        assert b"tls-server-end-point:" + hashlib.sha256(der).digest() == server_end_point(der)


def test_what_has_no_binding() -> None:
    """No hash in the signature, no certificate, or none that can be read: then nothing is bound."""
    binding = ChannelBinding(b"old")
    binding.bind(None)
    found = server_end_point(certificate(None)), server_end_point(b"no certificate"), binding.application_data
    assert (None, None, None) == found


class Demanding(AcceptingSecurityContext):
    """The acceptor, which demands a binding to this certificate."""

    def __init__(self, mechanism: str, demanded: bytes) -> None:
        super().__init__(mechanism)
        self._demanded = demanded

    def _made(self) -> spnego.ContextProxy:
        bindings = GssChannelBindings(application_data=server_end_point(self._demanded) or b"")
        return spnego.server(service="HTTP", protocol=self._mechanism, channel_bindings=bindings)


@contextmanager
def https_proxy(name: str, other: bytes | None = None) -> Iterator[tuple[ScriptedProxy, str]]:
    """A proxy in TLS that demands logins bound to its certificate, or to `other`; its authority's file."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)

    def scene(played: Played) -> None:
        verifier = TokenVerifier(name, lambda: Demanding(name.lower(), other or der))
        while True:
            given = [line for line in played.head().decode().splitlines() if "-Authorization: " in line]
            found = verifier.verify(given[0].partition(": ")[2]) if given else None
            if found is not None and found.user is not None:
                break
            token = found.token if found is not None and found.token is not None else name
            head = f"HTTP/1.1 407 Log in\r\nProxy-Authenticate: {token}\r\nContent-Length: 0\r\n\r\n"
            played.write(head.encode())
        played.write(OK + BANNER)
        played.wait_for_end()

    with ScriptedProxy(scene, tls=context) as proxy, authority.cert_pem.tempfile() as ca_file:
        yield proxy, ca_file


@pytest.mark.parametrize("name", ["NTLM", "Negotiate"])
def test_a_bound_login(opening: Opening, name: str) -> None:
    """The server side finds in the login the hash of the certificate that it has shown."""
    login = LoginRules((name.lower(),))
    with https_proxy(name) as (proxy, ca_file):
        route = proxy.route(user=USER, password=PASSWORD, login=login, ca_file=ca_file)
        assert BANNER == read_exactly(opening(route), len(BANNER))


@pytest.mark.parametrize("name", ["NTLM", "Negotiate"])
@pytest.mark.parametrize("binds_logins", [True, False])
def test_a_login_bound_to_something_else(opening: Opening, name: str, binds_logins: bool) -> None:
    """Somebody between, with a certificate of his own, cannot pass the login on; nor does one that is unbound
    pass where a binding is demanded."""
    other = certificate(hashes.SHA256()) if binds_logins else None
    login = LoginRules((name.lower(),))
    with https_proxy(name, other) as (proxy, ca_file), pytest.raises(ProxyRefused) as caught:
        opening(
            proxy.route(
                user=USER, password=PASSWORD, login=login, ca_file=ca_file, binds_logins=binds_logins
            )
        )
    assert Reason.LOGIN_REFUSED is caught.value.failure.reason
