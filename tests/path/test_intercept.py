"""TLS interception as curl, our own checks, and a client that looks at the certificate see it."""

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator

import pytest
import trustme
from cryptography import x509

from relay.fault_plan import FaultPlan
from relay.fault_rule import rule_from_text
from tests.path.proxied import SOON_SECONDS, Proxied, connect_head, read_exactly, read_head
from tests.path.real import SCRIPTS, Tool, environment, relay_command

ISSUER = "Example Corp TLS Inspection"


@pytest.fixture
def tls_echo() -> Iterator[int]:
    """A target that speaks TLS: it echoes once, and closes. Its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SOON_SECONDS)

        def serve() -> None:
            sock, _ = listener.accept()
            with sock, context.wrap_socket(sock, server_side=True) as inside:
                inside.sendall(inside.recv(1000))

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(SOON_SECONDS)


def proxied_with_interception() -> Proxied:
    return Proxied(faults=FaultPlan([rule_from_text("intercept")]))


def test_the_certificate_is_the_companys(tls_echo: int) -> None:
    """The issuer is the throw-away authority, the name is the target's, and the bytes get through."""
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    with proxied_with_interception() as proxied:
        with proxied.client(connect_head(f"127.0.0.1:{tls_echo}")) as near:
            assert b" 200 " in read_head(near)
            with blind.wrap_socket(near) as inside:
                shown = x509.load_der_x509_certificate(inside.getpeercert(binary_form=True) or b"")
                inside.sendall(b"secret")
                assert b"secret" == read_exactly(inside, 6)
        assert f"CN={ISSUER}" == shown.issuer.rfc4514_string()
        assert "CN=127.0.0.1" == shown.subject.rfc4514_string()
        assert (0, 0, 0) == proxied.settled()


def test_curl_does_not_trust_it(tool: Tool) -> None:
    """curl gets its tunnel, and ends with 60: nobody has told it of that authority."""
    with proxied_with_interception() as proxied, socket.create_server(("127.0.0.1", 0)) as target:
        url = f"https://127.0.0.1:{target.getsockname()[1]}/"
        proxy = ["-p", "-x", f"http://127.0.0.1:{proxied.port}"]
        ran = subprocess.run(
            [tool("curl", "curl"), "-q", "-sS", "--noproxy", "", *proxy, url],
            capture_output=True, text=True, timeout=50,
        )  # fmt: skip
    assert 60 == ran.returncode, ran.stderr


def test_our_check_names_inspection() -> None:
    """With an early 200, as inspecting proxies have it, TLS inspection is among the causes."""
    with (
        relay_command("server") as server,
        relay_command("proxy", "--fault", "intercept", "--fault", "answer_early") as proxy,
    ):
        ran = subprocess.run(
            [str(SCRIPTS / "relay"), "check", str(server.endpoint), "-x", proxy.url, "--json"],
            capture_output=True, text=True, timeout=50, env=environment(),
        )  # fmt: skip
    assert 1 == ran.returncode, ran.stderr
    assert "tls-inspection-kills-nontls" in json.dumps(json.loads(ran.stdout)), ran.stdout
