"""http URLs over HTTP/2: a browser that knows us as an https:// proxy asks for them in no other way."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import h2.events
import pytest

from relay.listener import Listener
from relay.tls_listen import TlsListen
from tests.path.proxied import (
    SOON_SECONDS,
    Proxied,
    Target,
    fields_of,
    read_all,
    read_exactly,
    read_head,
    reset,
)
from tests.path.real import Tool
from tests.path.test_http2_listener import LOOPBACK, STREAMS, Client, client_of, nghttpx

Uri = tuple[tuple[str, str], ...]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the throw-away authority."""
    return tmp_path_factory.mktemp("http2") / "ca.pem"


@pytest.fixture
def over_http2(ca: Path) -> Iterator[Proxied]:
    """A proxy with a TLS listener that offers h2; it must have let go of everything in the end."""
    listeners = (Listener(LOOPBACK, TlsListen(new_ca=str(ca))),)
    with Proxied(listen=(), listeners=listeners, log_details=True) as proxied:
        yield proxied
        assert (0, 0, 0) == proxied.settled()


def uri(method: str, authority: str, path: str = "/path") -> Uri:
    return ((":method", method), (":scheme", "http"), (":authority", authority), (":path", path))


def get(client: Client, authority: str, path: str = "/path", *fields: tuple[str, str]) -> int:
    """Ask for something, with the end of the request in its head."""
    number = client.http.get_next_available_stream_id()
    client.http.send_headers(number, [*uri("GET", authority, path), *fields], end_stream=True)
    client.flush()
    return number


def body_of(client: Client, number: int) -> bytes:
    """The body of a reply, up to the end of its stream."""
    body = b""
    while True:
        event = client.wait((h2.events.DataReceived, h2.events.StreamEnded), number)  # type: ignore[arg-type]
        if isinstance(event, h2.events.StreamEnded):
            return body
        body += event.data
        client.http.acknowledge_received_data(event.flow_controlled_length, number)
        client.flush()


def test_a_request_and_its_reply(over_http2: Proxied, ca: Path) -> None:
    """The origin is asked in HTTP/1.1, Via says 2.0, cookies are one field; chunks become DATA."""
    with Target() as target, client_of(over_http2, ca) as client:
        number = get(client, target.authority, "/path", ("cookie", "a=1"), ("cookie", "b=2"))
        with target.accept() as far:
            head = read_head(far)
            assert head.startswith(b"GET /path HTTP/1.1\r\n")
            fields = fields_of(head)
            assert ([target.authority], ["a=1; b=2"]) == (fields["host"], fields["cookie"])
            assert fields["via"][0].startswith("2.0 ")
            chunks = b"5\r\nhello\r\n0\r\n\r\n"
            far.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Y: z\r\n\r\n" + chunks)
            reply = dict(client.wait(h2.events.ResponseReceived, number).headers)
            assert ("200", "z") == (reply[":status"], reply["x-y"])
            assert {"connection", "transfer-encoding"}.isdisjoint(reply)
            assert b"hello" == body_of(client, number)
    entry = over_http2.entry()
    uri_asked = f"http://{target.authority}/path"
    expected = {"method": "GET", "target": uri_asked, "status": 200, "bytes_down": 5, "version": "2.0"}
    assert expected == {name: entry[name] for name in expected}


@pytest.mark.parametrize("is_sized", [True, False])
def test_a_body(over_http2: Proxied, ca: Path, is_sized: bool) -> None:
    """Of known length, or in chunks; larger than the window, and the reply may have one too."""
    body = b"x" * 200_000
    with Target() as target, client_of(over_http2, ca) as client:
        length = (("content-length", str(len(body))),) if is_sized else ()
        number = client.ask(*uri("PUT", target.authority), *length)
        with target.accept() as far:
            fields = fields_of(read_head(far))
            assert (is_sized, not is_sized) == ("content-length" in fields, "transfer-encoding" in fields)
            left = memoryview(body)
            while left:
                while not (room := min(client.http.local_flow_control_window(number), 16_384)):
                    client.wait(h2.events.WindowUpdated)
                client.http.send_data(number, bytes(left[:room]), end_stream=room >= len(left))
                left = left[room:]
                client.flush()
            if is_sized:
                assert body == read_exactly(far, len(body))
            else:
                received = bytearray()
                while not received.endswith(b"\r\n0\r\n\r\n"):
                    received += far.recv(65_536)
                assert len(body) == received.count(b"x")
            far.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")
            assert "201" == client.status(number)
            assert b"ok" == body_of(client, number)
    assert len(body) == over_http2.entry()["bytes_up"]


def test_a_body_in_one_piece_with_its_head(over_http2: Proxied, ca: Path) -> None:
    """Without a length: the end is there when the request is first looked at, and the body none the less."""
    with Target() as target, client_of(over_http2, ca) as client:
        number = client.http.get_next_available_stream_id()
        client.http.send_headers(number, uri("POST", target.authority))
        client.http.send_data(number, b"body", end_stream=True)
        client.flush()
        with target.accept() as far:
            assert ["chunked"] == fields_of(read_head(far))["transfer-encoding"]
            assert b"4\r\nbody\r\n0\r\n\r\n" == read_exactly(far, 14)
            far.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert "204" == client.status(number)


def test_interim_replies_and_an_expectation(over_http2: Proxied, ca: Path) -> None:
    """1xx reach a client that knows them (RFC 9110 section 15.2), and Expect the origin (section 10.1.1)."""
    with Target() as target, client_of(over_http2, ca) as client:
        fields = (("expect", "100-continue"), ("content-length", "4"))
        number = client.ask(*uri("PUT", target.authority), *fields)
        with target.accept() as far:
            assert ["100-continue"] == fields_of(read_head(far))["expect"]
            for status in ("100 Continue", "103 Early Hints"):
                far.sendall(f"HTTP/1.1 {status}\r\nLink: <a>\r\n\r\n".encode())
                interim = client.wait(h2.events.InformationalResponseReceived, number)
                assert status[:3] == dict(interim.headers)[":status"]
            client.http.send_data(number, b"body", end_stream=True)
            client.flush()
            assert b"body" == read_exactly(far, 4)
            far.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert "204" == client.status(number)


@pytest.mark.parametrize("length", [(), (("content-length", "5"),)])
def test_trace_with_content(over_http2: Proxied, ca: Path, length: tuple[tuple[str, str], ...]) -> None:
    """RFC 9110 section 9.3.8: it has none; nobody is asked."""
    with Target() as target, client_of(over_http2, ca) as client:
        number = client.http.get_next_available_stream_id()
        client.http.send_headers(number, [*uri("TRACE", target.authority), *length])
        client.http.send_data(number, b"hello", end_stream=True)
        client.flush()
        assert "400" == client.status(number)
        assert not target.was_called()


@pytest.mark.parametrize("sent", [b"", b"hell", b"hello!"])
def test_a_body_of_another_length(over_http2: Proxied, ca: Path, sent: bytes) -> None:
    """RFC 9113 section 8.1.1: an error of the stream; the origin has got no whole request, the log a line."""
    with Target() as target, client_of(over_http2, ca) as client:
        client.http.config.validate_outbound_headers = False
        number = client.http.get_next_available_stream_id()
        client.http.send_headers(
            number, [*uri("PUT", target.authority), ("content-length", "5")], end_stream=not sent
        )
        if sent:
            client.http.streams[number]._expected_content_length = None
            client.http.send_data(number, sent, end_stream=True)
        client.flush()
        assert 1 == client.wait(h2.events.StreamReset, number).error_code
        if not sent:
            assert not target.was_called()
            return
        assert "client-reset" == over_http2.entry()["ended"]
        if target.was_called():
            with target.accept() as far:
                assert b"hello" not in read_all(far)[0]


def test_many_at_once(over_http2: Proxied, ca: Path) -> None:
    """Each stream is a request of its own, and the last that was asked may be answered first."""
    with Target(STREAMS) as target, client_of(over_http2, ca) as client:
        numbers = [get(client, target.authority, f"/{at}") for at in range(STREAMS)]
        fars: dict[int, socket.socket] = {}
        for _ in numbers:
            far = target.accept()
            fars[int(read_head(far).split()[1][1:])] = far
        for at in reversed(range(STREAMS)):
            with fars[at] as far:
                far.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%d" % at)
            assert "200" == client.status(numbers[at])
            assert b"%d" % at == body_of(client, numbers[at])


def test_a_broken_reply_is_no_whole_one(over_http2: Proxied, ca: Path) -> None:
    """The origin resets in the middle: so does the stream, and the connection goes on."""
    with Target() as target, client_of(over_http2, ca) as client:
        number = get(client, target.authority)
        far = target.accept()
        read_head(far)
        far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        assert b"hello" == client.read(number, 5)
        reset(far)
        client.wait(h2.events.StreamReset, number)
        assert "502" == client.status(get(client, "127.0.0.1:1"))
    assert ["origin-broke", "refused"] == [over_http2.entry()["ended"] for _ in range(2)]


def test_a_request_taken_back(over_http2: Proxied, ca: Path) -> None:
    """RST_STREAM while the origin thinks: its connection is closed, and nobody waits for it."""
    with Target() as target, client_of(over_http2, ca) as client:
        number = get(client, target.authority)
        with target.accept() as far:
            read_head(far)
            client.http.reset_stream(number, 8)
            client.flush()
            assert b"" == far.recv(1)
    assert "client-reset" == over_http2.entry()["ended"]


def test_behind_nghttpx(ca: Path, tool: Tool) -> None:
    """curl asks nghttpx for an http URL, which asks us for it in HTTP/2."""
    with Proxied(listen=(), listeners=(Listener(LOOPBACK, TlsListen(new_ca=str(ca))),)) as proxied:
        with Target() as target, nghttpx(tool, proxied.port, ca) as front:
            command = [tool("curl", "curl"), "-q", "-sS", "--noproxy", "", "-x", f"http://{front.endpoint}"]
            command += ["-d", "body", f"http://{target.authority}/path"]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as curl, target.accept() as far:
                assert b"POST /path HTTP/1.1" == read_head(far).split(b"\r\n")[0]
                assert b"body" == read_exactly(far, 4)
                far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                assert b"hi" == curl.communicate(timeout=SOON_SECONDS)[0]
