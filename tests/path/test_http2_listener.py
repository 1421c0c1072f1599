"""HTTP/2 CONNECT on the TLS listener: our own client, nghttpx, and h2 by hand."""

import asyncio
import contextlib
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from relay.access import Access, parse_ports
from relay.blocking import open_tunnel
from relay.failure import ProxyRefused
from relay.http2_side import Http2Session
from relay.listener import Listener
from relay.outbound import Ways
from relay.route import Endpoint, Hop, Route
from relay.tls_listen import TlsListen
from relay.upstream import Upstream
from tests.path.proxied import (
    LOOPS,
    SOON_SECONDS,
    Proxied,
    Target,
    connect_head,
    fields_of,
    read_all,
    read_exactly,
    read_head,
    reset,
    status_of,
)
from tests.path.real import Daemon, Tool, daemon, folder, free_endpoint

LOOPBACK = Endpoint("127.0.0.1", 0)
STREAMS = 20


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the throw-away authority."""
    return tmp_path_factory.mktemp("http2") / "ca.pem"


def listener(ca: Path) -> Listener:
    return Listener(LOOPBACK, TlsListen(new_ca=str(ca)))


@pytest.fixture(params=LOOPS)
def over_http2(request: pytest.FixtureRequest, ca: Path) -> Iterator[Proxied]:
    """A proxy with a TLS listener that offers h2, on every event loop."""
    with Proxied(request.param, listen=(), listeners=(listener(ca),)) as proxied:
        yield proxied


def agreed_on_h2(proxied: Proxied, ca: Path) -> ssl.SSLSocket:
    """A connection that has said nothing behind its handshake."""
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(["h2", "http/1.1"])
    sock = context.wrap_socket(proxied.client(), server_hostname="localhost")
    assert "h2" == sock.selected_alpn_protocol()
    return sock


class Client:
    """One HTTP/2 connection, with h2 by hand."""

    def __init__(self, proxied: Proxied, ca: Path) -> None:
        self.sock = agreed_on_h2(proxied, ca)
        settings = h2.config.H2Configuration(header_encoding="latin-1", validate_outbound_headers=False)
        self.http = h2.connection.H2Connection(settings)
        self.http.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.flush()

    def flush(self) -> None:
        self.sock.sendall(self.http.data_to_send())

    def ask(self, *fields: tuple[str, str]) -> int:
        number = self.http.get_next_available_stream_id()
        self.http.send_headers(number, list(fields))
        self.flush()
        return number

    def connect(self, authority: str, *fields: tuple[str, str]) -> int:
        return self.ask((":method", "CONNECT"), (":authority", authority), *fields)

    def wait(self, kind: type[Any], number: int | None = None) -> Any:
        """The next event of this kind, and of this stream; others are kept."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and number in (None, getattr(event, "stream_id", None)):
                    self.events.remove(event)
                    return event
            data = self.sock.recv(65_536)
            assert data, "the proxy has closed the connection"
            self.events += self.http.receive_data(data)
            self.flush()

    def status(self, number: int) -> str:
        return str(dict(self.wait(h2.events.ResponseReceived, number).headers)[":status"])

    def read(self, number: int, size: int) -> bytes:
        data = b""
        while len(data) < size:
            event = self.wait(h2.events.DataReceived, number)
            data += event.data
            self.http.acknowledge_received_data(event.flow_controlled_length, number)
            self.flush()
        return data


@contextlib.contextmanager
def client_of(proxied: Proxied, ca: Path) -> Iterator[Client]:
    client = Client(proxied, ca)
    with client.sock:
        yield client


def test_our_own_client(over_http2: Proxied, ca: Path) -> None:
    """--proxy-http2 picks h2, and a tunnel carries bytes and both ends; a refusal says why."""
    hop = replace(Hop.parse(f"https://localhost:{over_http2.port}", ca_file=str(ca)), http2=True)
    block = b"x" * 1_000_000
    with Target() as target:
        stream = open_tunnel(Route(Endpoint("127.0.0.1", target.port), (hop,)))
        with target.accept() as far:
            stream.write(b"up")
            assert b"up" == read_exactly(far, 2)
            far.settimeout(SOON_SECONDS)
            sending = threading.Thread(target=far.sendall, args=(block,))
            sending.start()
            received = bytearray()
            while len(received) < len(block):
                received += stream.read()
            sending.join()
            assert block == bytes(received)
            stream.half_close()
            assert b"" == far.recv(1)
        stream.close()
    entry = over_http2.entry()
    assert ("CONNECT", 200, "chunks") == (entry["method"], entry["status"], entry["path"])
    with pytest.raises(ProxyRefused, match="502"):
        open_tunnel(Route(Endpoint("127.0.0.1", 1), (hop,)))
    assert (0, 0, 0) == over_http2.settled()


def test_many_streams_in_one_connection(over_http2: Proxied, ca: Path) -> None:
    """Each is a tunnel of its own; END_STREAM is a half-close, and one that is not read stops no other."""
    with contextlib.ExitStack() as stack:
        target, client = stack.enter_context(Target(STREAMS)), stack.enter_context(client_of(over_http2, ca))
        client.http.increment_flow_control_window(STREAMS * 65_535)
        numbers = [client.connect(target.authority) for _ in range(STREAMS)]
        assert {"200"} == {client.status(number) for number in numbers}
        fars = [stack.enter_context(target.accept()) for _ in numbers]
        for number in numbers:
            client.http.send_data(number, b"%4d" % number, end_stream=True)
        client.flush()
        by_number = {int(read_all(far)[0]): far for far in fars}
        assert set(numbers) == set(by_number)
        # The client reads nothing of the first: its window is full, and the others go on
        by_number[numbers[0]].setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                by_number[numbers[0]].send(b"x" * 65_536)
        for number in numbers[1:]:
            by_number[number].sendall(b"answer")
            by_number[number].shutdown(socket.SHUT_WR)
            assert b"answer" == client.read(number, 6)
            client.wait(h2.events.StreamEnded, number)
    assert (0, 0, 0) == over_http2.settled()


def test_resets_go_both_ways(over_http2: Proxied, ca: Path) -> None:
    """RST_STREAM resets the target and no other stream; a RST of the target is a RST_STREAM."""
    with Target() as target, client_of(over_http2, ca) as client:
        first, second, third = (client.connect(target.authority) for _ in range(3))
        assert ["200"] * 3 == [client.status(number) for number in (first, second, third)]
        with target.accept() as one, target.accept() as two, target.accept() as three:
            fars = []
            for number in (first, second, third):
                client.http.send_data(number, b"%4d" % number)
            client.flush()
            fars = {int(read_exactly(far, 4)): far for far in (one, two, three)}
            client.http.reset_stream(first, 8)
            client.flush()
            assert "RST" == read_all(fars[first])[1]
            reset(fars[second])
            assert 10 == client.wait(h2.events.StreamReset, second).error_code
            fars[third].sendall(b"still here")
            assert b"still here" == client.read(third, 10)
    assert (0, 0, 0) == over_http2.settled()


def test_trailers_break_a_tunnel(over_http2: Proxied, ca: Path) -> None:
    """The target sees a reset, and no end that looks like the client's last word."""
    with Target() as target, client_of(over_http2, ca) as client:
        number = client.connect(target.authority)
        assert "200" == client.status(number)
        with target.accept() as far:
            client.http.send_headers(number, [("x", "y")], end_stream=True)
            client.flush()
            assert 1 == client.wait(h2.events.StreamReset, number).error_code
            assert "RST" == read_all(far)[1]
    assert (0, 0, 0) == over_http2.settled()


def test_nothing_is_forwarded(over_http2: Proxied, ca: Path) -> None:
    """An http URI in the place of a path reaches nobody, and the connection goes on."""
    with Target() as target, client_of(over_http2, ca) as client:
        path = f"http://{target.authority}/"
        number = client.ask((":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", path))
        assert 1 == client.wait(h2.events.StreamReset, number).error_code
        assert not target.was_called()
        assert "200" == client.status(client.connect(target.authority))
    assert (0, 0, 0) == over_http2.settled()


def test_the_received_version_is_told(ca: Path) -> None:
    """A parent proxy reads in Via that the request came over HTTP/2 (RFC 9110 section 7.6.3)."""
    with Target() as parent:
        ways = Ways((Upstream((Hop.parse(f"http://{parent.authority}"),)),))
        with Proxied(listen=(), listeners=(listener(ca),), ways=ways) as proxied:
            with client_of(proxied, ca) as client:
                client.connect("far.example:1", ("via", "1.0 before"))
                with parent.accept() as asked:
                    assert [f"1.0 before, 2.0 {proxied.proxy.via}"] == fields_of(read_head(asked))["via"]


def test_refusals(ca: Path) -> None:
    """:status of the policy, in a stream that ends, and the connection goes on; a malformed one resets."""
    access = Access(allow_ports=parse_ports(["443"], "test"))
    with Proxied(listen=(), listeners=(listener(ca),), access=access) as proxied:
        with client_of(proxied, ca) as client:
            number = client.connect("far.example:5000")
            reply = client.wait(h2.events.ResponseReceived, number)
            fields = dict(reply.headers)
            assert "403" == fields[":status"]
            assert "port 5000 is not allowed" in fields["proxy-status"]
            assert {"connection", "transfer-encoding"}.isdisjoint(fields)
            client.wait(h2.events.StreamEnded, number)
            assert "400" == client.status(client.connect("no port"[:2]))
            number = client.ask((":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/"))
            assert "403" == client.status(number)
            number = client.ask((":method", "GET"), (":scheme", "ftp"), (":authority", "a"), (":path", "/"))
            assert "501" == client.status(number)
            number = client.ask((":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/"))
            assert "405" == client.status(number)
            assert "403" == client.status(client.connect("far.example:1"))
        entry = proxied.entry()
        assert (403, "far.example:5000") == (entry["status"], entry["target"])
        with client_of(proxied, ca) as client:
            # RFC 9113 section 8.5: CONNECT has no :scheme and no :path
            client.ask(
                (":method", "CONNECT"), (":scheme", "https"), (":authority", "a:443"), (":path", "/")
            )  # fmt: skip
            found = client.wait((h2.events.StreamReset, h2.events.ConnectionTerminated))  # type: ignore[arg-type]
            assert 1 == found.error_code
        assert (0, 0, 0) == proxied.settled()


def test_a_drain_says_goaway(ca: Path) -> None:
    """New streams are refused, open ones go on until they end; then the connection does."""
    with Proxied(listen=(), listeners=(listener(ca),)) as proxied, Target() as target:
        with client_of(proxied, ca) as client:
            number = client.connect(target.authority)
            assert "200" == client.status(number)
            with target.accept() as far:
                draining = asyncio.run_coroutine_threadsafe(proxied.proxy.drain(SOON_SECONDS), proxied._loop)
                assert 0 == client.wait(h2.events.ConnectionTerminated).error_code
                far.sendall(b"late")
                # h2 itself hears no more after GOAWAY
                assert any(b"late" in client.sock.recv(65_536) for _ in range(10))
                reset(far)
            while client.sock.recv(65_536):
                pass
        draining.result(SOON_SECONDS)


@contextlib.contextmanager
def nghttpx(tool: Tool, behind: int, ca: Path) -> Iterator[Daemon]:
    """nghttpx, which takes HTTP/1.1 and goes on in HTTP/2."""
    endpoint = free_endpoint()
    with folder() as place:
        (place / "nghttpx.conf").write_text(
            f"frontend={endpoint.host},{endpoint.port};no-tls\n"
            f"backend=127.0.0.1,{behind};;proto=h2;tls;sni=localhost\n"
            f"http2-proxy=yes\ncacert={ca}\nworkers=1\n"
        )
        arguments = [tool("nghttpx", "nghttp2-proxy"), f"--conf={place}/nghttpx.conf"]
        with daemon(arguments, endpoint, place) as running:
            yield running


def test_behind_nghttpx(ca: Path, tool: Tool) -> None:
    """curl through nghttpx, which speaks HTTP/2 with us."""
    with Proxied(listen=(), listeners=(listener(ca),)) as proxied, Target() as target:
        with nghttpx(tool, proxied.port, ca) as front:
            command = [tool("curl", "curl"), "-sS", "--proxytunnel", "-x", f"http://{front.endpoint}"]
            command.append(f"http://{target.authority}/")
            with subprocess.Popen(command, stdout=subprocess.PIPE) as curl, target.accept() as far:
                read_head(far)
                far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
                assert b"hi" == curl.communicate(timeout=SOON_SECONDS)[0]


@pytest.mark.parametrize("pieces", [1, 2, 40])
def test_http_1_behind_h2(over_http2: Proxied, ca: Path, pieces: int) -> None:
    """Go's HTTP client agrees on h2 with an https:// proxy, and sends CONNECT in HTTP/1.1 nevertheless."""
    with Target() as target, agreed_on_h2(over_http2, ca) as sock:
        head = connect_head(target.authority)
        step = len(head) // pieces + 1
        for at in range(0, len(head), step):
            sock.sendall(head[at : at + step])
        with target.accept() as far:
            assert 200 == status_of(read_head(sock))
            far.sendall(b"hello")
            assert b"hello" == read_exactly(sock, 5)
    assert (0, 0, 0) == over_http2.settled()


def test_silence_behind_h2(ca: Path) -> None:
    """Who agrees on h2 and says nothing is given up, with words in the log; and who leaves is forgotten."""
    with Proxied(listen=(), listeners=(listener(ca),), head_timeout_seconds=0.2) as proxied:
        with agreed_on_h2(proxied, ca) as sock:
            assert b"" == sock.recv(1)
        assert "nothing behind its TLS handshake" in proxied.entry()["words"]
        agreed_on_h2(proxied, ca).close()
        assert (0, 0, 0) == proxied.settled()


def test_a_head_that_takes_too_long(ca: Path) -> None:
    """However often something of it comes, and whatever else is open in the connection."""
    with Proxied(listen=(), listeners=(listener(ca),), head_timeout_seconds=0.2) as proxied:
        with Target() as target, client_of(proxied, ca) as client:
            number = client.connect(target.authority)
            assert "200" == client.status(number)
            with target.accept() as far:
                late = client.http.get_next_available_stream_id()
                client.sock.sendall(b"\0\0\1\1\0" + late.to_bytes(4) + b"\x83")
                with contextlib.suppress(OSError):
                    while not select.select([client.sock], [], [], 0.05)[0]:
                        # Nothing that any header field could end with
                        client.sock.sendall(b"\0\0\0\x09\0" + late.to_bytes(4))
                assert 11 == client.wait(h2.events.ConnectionTerminated).error_code
                assert (b"", "RST") == read_all(far)
        assert (0, 0, 0) == proxied.settled()


def test_a_client_that_goes_away(over_http2: Proxied, ca: Path) -> None:
    """GOAWAY ends nothing that is open (RFC 9113 section 6.8); the connection ends with the last stream."""
    with Target() as target, client_of(over_http2, ca) as client:
        number = client.connect(target.authority)
        assert "200" == client.status(number)
        with target.accept() as far:
            client.sock.sendall(b"\0\0\x08\x07\0" + bytes(4) + bytes(8))
            assert 0 == client.wait(h2.events.ConnectionTerminated).error_code
            far.sendall(b"late")
            # h2 itself hears no more after GOAWAY
            assert any(b"late" in client.sock.recv(65_536) for _ in range(10))
            reset(far)
        while client.sock.recv(65_536):
            pass
    assert (0, 0, 0) == over_http2.settled()


async def test_a_change_before_anybody_waits_is_heard() -> None:
    """A task that waits for it may run later than the change comes."""

    class Never:
        """A Stream that nobody uses."""

    session = Http2Session(Never(), "peer", "")  # type: ignore[arg-type]
    waiting = asyncio.create_task(session.until_changed())
    session.wake()
    async with asyncio.timeout(SOON_SECONDS):
        await waiting
