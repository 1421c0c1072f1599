"""The tables of rfc_targets, rfc_framing and rfc_forwarded, sent to a real proxy on real sockets."""

import re
from collections.abc import Iterator

import pytest

from tests.path.proxied import (
    Proxied,
    Target,
    connect_head,
    fields_of,
    get_head,
    read_all,
    read_exactly,
    read_head,
    settled,
    status_of,
)
from tests.path.rfc_case import ForwardedCase, RefusedCase
from tests.path.rfc_forwarded import FORWARDED
from tests.path.rfc_framing import FRAMING
from tests.path.rfc_targets import TARGETS

PROXY_STATUS = re.compile(r'framework-relay; error=[a-z_]+; details="([ !#-\[\]-~]|\\["\\])*"\Z')
ANSWER = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def proxied() -> Iterator[Proxied]:
    with settled() as running:
        yield running


def written(raw: bytes, target: Target) -> bytes:
    return raw.replace(b"{H}", b"Host: {A}\r\n").replace(b"{A}", target.authority.encode())


@pytest.mark.parametrize("case", [*TARGETS, *FRAMING], ids=lambda case: case.name)
def test_refused(proxied: Proxied, case: RefusedCase) -> None:
    """One reply with the right status, a good Proxy-Status and a date; then the end. Nobody was called."""
    with Target() as target:
        with proxied.client(written(case.raw, target)) as near:
            reply, end = read_all(near)
        assert (case.status, "FIN", 1) == (status_of(reply), end, len(re.findall(rb"(?m)^HTTP/1", reply)))
        fields = fields_of(reply)
        assert PROXY_STATUS.match(fields["proxy-status"][0])
        assert (["close"], 1) == (fields["connection"], len(fields["date"]))
        assert len(reply.partition(b"\r\n\r\n")[2]) == int(fields["content-length"][0])
        assert ("allow" in fields) or case.status != 405
        assert (case.status, "refused") == ((entry := proxied.entry())["status"], entry["ended"])
        assert not target.was_called()


@pytest.mark.parametrize("case", FORWARDED, ids=lambda case: case.name)
def test_forwarded(proxied: Proxied, case: ForwardedCase) -> None:
    """The origin gets exactly these bytes, and the client its reply."""
    with Target() as target:
        expected = written(case.at_origin, target).replace(b"{V}", proxied.proxy.via.encode())
        with proxied.client(written(case.raw, target)) as near:
            with target.accept() as origin:
                assert expected == read_exactly(origin, len(expected))
                origin.sendall(ANSWER)
            assert 200 == status_of(read_head(near))
            assert b"ok" == read_exactly(near, 2)
        assert "complete" == proxied.entry()["ended"]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        ["Content-Length: 0"],
        ["Expect: 100-continue"],
        ["Connection: close"],
        ["Connection: upgrade", "Upgrade: websocket"],
        ["Proxy-Connection: keep-alive", "Proxy-Authorization: Basic eDp5"],
        ["X-Obs: \xe9"],
        ["User-Agent: a", "User-Agent: b"],
        [f"X: {'a' * 65_000}"],
    ],
    ids=lambda fields: ", ".join(fields)[:40],
)
def test_fields_that_a_connect_may_have(proxied: Proxied, fields: list[str]) -> None:
    """None of them changes what CONNECT does."""
    with Target() as target, proxied.client(connect_head(target.authority, *fields) + b"x") as near:
        with target.accept() as far:
            assert b"HTTP/1.1 200 Connection established\r\n\r\n" == read_head(near)
            assert b"x" == far.recv(10)
    proxied.entry()


@pytest.mark.parametrize("host", ["Host: other.example:1", "Host:", "Host: localhost"])
def test_the_target_of_a_connect_is_what_counts(proxied: Proxied, host: str) -> None:
    """A Host that names another is ignored: target and policy come from the request line."""
    with Target() as target:
        with proxied.client(f"CONNECT {target.authority} HTTP/1.1\r\n{host}\r\n\r\n".encode()) as near:
            with target.accept():
                assert 200 == status_of(read_head(near))
    assert target.authority == proxied.entry()["target"]


@pytest.mark.parametrize("zeros", ["", "0", "000000000000000000"])
def test_a_port_may_have_zeros_before_it(proxied: Proxied, zeros: str) -> None:
    """port = *DIGIT (RFC 3986 section 3.2.3)."""
    with Target() as target:
        with proxied.client(connect_head(f"127.0.0.1:{zeros}{target.port}")) as near, target.accept():
            assert 200 == status_of(read_head(near))
    proxied.entry()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_refusal_of_head_has_no_body(proxied: Proxied, method: str) -> None:
    """The body's length is told, the body left out (RFC 9110 section 9.3.2)."""
    with proxied.client(f"{method} /here HTTP/1.1\r\nHost: a\r\n\r\n".encode()) as near:
        head, _, body = read_all(near)[0].partition(b"\r\n\r\n")
    length = int(fields_of(head + b"\r\n\r\n")["content-length"][0])
    assert length == (len(body) if method == "GET" else length)
    assert (method == "HEAD") == (body == b"")
    assert (method, "/here") == ((entry := proxied.entry())["method"], entry["target"])


def test_nothing_of_the_request_comes_back(proxied: Proxied) -> None:
    """A refusal quotes no byte of what was malformed: it cannot be made to carry somebody's script."""
    for raw in (b"MARKER http://a/ HTTP/1.1\r\n\r\n", b"GET /MARKER HTTP/1.1\r\nHost: MARKER\r\n\r\n",
                b"GET MARKER\r\n\r\n", b"CONNECT MARKER@MARKER HTTP/1.1\r\nHost: a\r\n\r\n",
                b"GET http://a/ HTTP/1.1\r\nHost: a\r\nMARKER\r\n\r\n"):  # fmt: skip
        with proxied.client(raw) as near:
            assert b"MARKER" not in read_all(near)[0]
        proxied.entry()


def test_what_is_bad_behind_what_is_good(proxied: Proxied) -> None:
    """A good request and garbage in one segment: the answer to the first, then the refusal of the second."""
    with Target() as target, proxied.client(get_head(target.authority) + b"\x16\x03\x01 garbage") as near:
        with target.accept() as origin:
            read_head(origin)
            origin.sendall(ANSWER)
        reply, end = read_all(near)
        assert [b"200", b"400"] == re.findall(rb"HTTP/1\.1 (\d+)", reply)
        assert "FIN" == end
    assert ["complete", "refused"] == [proxied.entry()["ended"] for _ in range(2)]


def test_options_of_the_proxy_itself(proxied: Proxied) -> None:
    """OPTIONS * is answered here, with what is allowed; the connection goes on."""
    with proxied.client(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" * 2) as near:
        for _ in range(2):
            fields = fields_of(reply := read_head(near))
            assert (200, ["0"]) == (status_of(reply), fields["content-length"])
            assert {"CONNECT", "GET", "OPTIONS"} < set(fields["allow"][0].split(", "))
    proxied.entry()


def test_trace_that_goes_no_further(proxied: Proxied) -> None:
    """Max-Forwards 0: the request comes back, but for its secrets (RFC 9110 section 9.3.8)."""
    raw = b"TRACE http://a.invalid/x HTTP/1.1\r\nHost: a.invalid\r\nMax-Forwards: 0\r\nX: 1\r\n"
    secrets = b"Cookie: s=1\r\nAuthorization: Basic s\r\nProxy-Authorization: Basic s\r\n"
    with proxied.client(raw + secrets + b"\r\n") as near:
        head = read_head(near)
        body = read_exactly(near, int(fields_of(head)["content-length"][0]))
    assert (200, ["message/http"]) == (status_of(head), fields_of(head)["content-type"])
    assert raw + b"\r\n" == body
    proxied.entry()


def test_options_that_goes_no_further(proxied: Proxied) -> None:
    """Max-Forwards 0 of OPTIONS is answered here as well."""
    with Target() as target:
        with proxied.client(get_head(target.authority, "Max-Forwards: 0", method="OPTIONS")) as near:
            assert "allow" in fields_of(read_head(near))
        assert not target.was_called()
    proxied.entry()
