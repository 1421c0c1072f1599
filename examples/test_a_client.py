"""Test a client of your own through bad proxies: pytest test_a_client.py (docs/pytest.md)."""

import socket

import pytest


def ask(host: str, port: int, target: str) -> bytes:
    """Stands for your client: CONNECT to the target, say a word, take what comes behind the proxy's head."""
    with socket.create_connection((host, port), timeout=10) as sock, sock.makefile("rb") as answers:
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        status = answers.readline().split()[1]
        if status != b"200":
            raise ConnectionError(f"the proxy said {status.decode()}")
        while answers.readline().strip():
            pass
        return answers.read(5)


@pytest.mark.parametrize("fault", ["answer_joined", "answer_split", "slicer", "latency"])
def test_the_greeting_arrives(connect_proxy, greeting_server, fault):
    proxy, server = connect_proxy(faults=fault), greeting_server(b"hello")
    assert ask(proxy.host, proxy.port, str(server.endpoint)) == b"hello"


@pytest.mark.parametrize("persona", ["squid-6", "zscaler"])
def test_a_refusal_is_an_error(connect_proxy, greeting_server, persona):
    proxy, server = connect_proxy(persona=persona, allow_ports="443"), greeting_server(b"hello")
    with pytest.raises(ConnectionError):
        ask(proxy.host, proxy.port, str(server.endpoint))


@pytest.mark.route({"allow_ports": "1-65535"}, faults="slicer:average_bytes=3", login="alice:secret")
def test_a_client_that_knows_no_proxy(tunnel, framework_server):
    """The port leads to the server, through two proxies; the second wants a login and cuts answers up."""
    with tunnel().connect() as sock:
        sock.sendall(b"no Framework packet")
        assert sock.recv(1) == b""
    assert framework_server.record().ended == "frame-too-large"
