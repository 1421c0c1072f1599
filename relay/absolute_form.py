"""Forward absolute-form requests (`GET http://host/path`), as a proxy that understands HTTP must.

curl, apt and pip send these for http URLs. One connection to the origin per request; h11 speaks there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import h11
from aiohttp import web

from relay.access import Access
from relay.authority import AbsoluteTarget, TargetMalformed, read_absolute
from relay.failure import RelayError
from relay.fields import forwarded_fields, max_forwards_reply, names_us
from relay.refusal import Refusal, denied, malformed, unreachable
from relay.refused import Refused
from relay.route import Endpoint
from relay.stream import SocketStream
from relay.takeover import abort, write_raw

# Origins think before they answer; squid waits 15 minutes, most clients give up after one.
HEAD_SECONDS = 60.0
BODY_IDLE_SECONDS = 300.0
MAX_ORIGIN_HEAD_BYTES = 131_072
ALLOWED = ("Allow", "CONNECT, GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE")

Dial = Callable[[Endpoint], Awaitable[SocketStream]]


@dataclass
class Forwarded:
    """How a forwarded request ended."""

    status: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    ended: str = "complete"
    keep_alive: bool = False


class _ClientGone(Exception):
    """The client no longer takes the reply."""


async def forward(request: web.BaseRequest, dial: Dial, access: Access, via: str) -> Forwarded:
    """Forward one request and its reply; the reply is written as it comes.

    Raises: Refused while nothing of a reply has been written.
    Source: RFC 9112 section 3.2.2, RFC 9110 section 7.6.
    """
    target = _target(request)
    if reason := access.refuses(target.endpoint):
        raise Refused(denied(reason))
    if names_us(request.raw_headers, via):
        raise Refused(Refusal(502, "proxy_loop_detected", "the request has passed through this proxy before"))
    local = max_forwards_reply(request)
    if local is not None:
        await write_raw(request, local)
        return Forwarded(200, bytes_down=len(local), keep_alive=request.keep_alive)
    try:
        origin = await dial(target.endpoint)
    except RelayError as error:
        raise Refused(unreachable(error)) from error
    exchange = _Exchange(request, origin, target, via)
    try:
        return await exchange.run()
    finally:
        await origin.aclose()


def _target(request: web.BaseRequest) -> AbsoluteTarget:
    text = request.raw_path
    scheme, separator, _ = text.partition("://")
    if not separator or not scheme.isalpha():
        words = "this is a proxy: send CONNECT host:port, or a request with an absolute http:// URI"
        raise Refused(Refusal(405, "http_request_error", words, (ALLOWED,)))
    if scheme.lower() != "http":
        raise Refused(Refusal(501, "http_request_error", "only http:// URIs are forwarded; use CONNECT for others"))
    try:
        return read_absolute(text)
    except TargetMalformed as error:
        raise Refused(malformed(str(error))) from None


class _Exchange:
    """One request and its reply, while both may still be under way."""

    def __init__(
        self, request: web.BaseRequest, origin: SocketStream, target: AbsoluteTarget, via: str
    ) -> None:
        self._request = request
        self._origin = origin
        self._target = target
        self._via = via
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_ORIGIN_HEAD_BYTES)
        self._done = Forwarded()
        self._chunked = False
        self._head_sent = False

    async def run(self) -> Forwarded:
        """Send the request, relay the reply."""
        upload = asyncio.create_task(self._upload(self._request_head()))
        try:
            await self._relay_reply()
        except _ClientGone:
            self._done.ended = "client-reset"
            abort(self._request)
        except (OSError, h11.ProtocolError, TimeoutError) as error:
            await self._reply_broke(error)
        finally:
            whole = upload.done() and not upload.cancelled() and upload.exception() is None
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)
        if not whole:
            self._done.keep_alive = False
        return self._done

    def _request_head(self) -> bytes:
        request = self._request
        method, path = request.method, self._target.origin_form
        if not path:
            # RFC 9112 section 3.2.4: an OPTIONS without a path is about the whole server
            path = "*" if method == "OPTIONS" else "/"
        fields = forwarded_fields(request.raw_headers, f"1.{request.version[1]} {self._via}", request.method)
        fields = [("Host", self._target.authority), *fields, ("Connection", "close")]
        if request.headers.get("Transfer-Encoding"):
            fields.append(("Transfer-Encoding", "chunked"))
        event = h11.Request(method=method, target=path, headers=_encoded(fields))
        try:
            head = self._http.send(event)
        except h11.LocalProtocolError as error:
            raise Refused(malformed(f"a header field cannot be forwarded: {error}")) from None
        assert head is not None
        return head

    async def _upload(self, head: bytes) -> None:
        await self._origin.write(head)
        async for data in self._request.content.iter_any():
            if wire := self._http.send(h11.Data(data=data)):
                await self._origin.write(wire)
                self._done.bytes_up += len(data)
        if wire := self._http.send(h11.EndOfMessage()):
            await self._origin.write(wire)

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            limit = BODY_IDLE_SECONDS if self._head_sent else HEAD_SECONDS
            async with asyncio.timeout(limit):
                self._http.receive_data(await self._origin.read())
        return event

    async def _relay_reply(self) -> None:
        while True:
            event = await self._next_event()
            match event:
                case h11.InformationalResponse():
                    # 101 cannot be: Upgrade is hop-by-hop and was removed; HTTP/1.0 knows no 1xx
                    if self._request.version >= (1, 1) and event.status_code != 101:
                        await self._write(_status_line(event) + _lines(_kept(event)) + b"\r\n")
                case h11.Response():
                    await self._write(self._reply_head(event))
                    self._head_sent = True
                case h11.Data():
                    await self._write(self._framed(bytes(event.data)))
                    self._done.bytes_down += len(event.data)
                case h11.EndOfMessage():
                    if self._chunked:
                        await self._write(b"0\r\n\r\n")
                    return
                case _:
                    raise h11.RemoteProtocolError("the origin closed before its reply was whole")

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def _reply_head(self, event: h11.Response) -> bytes:
        request, status = self._request, event.status_code
        fields = [(name, value) for name, value in _kept(event)]
        names = {name.lower() for name, _ in event.headers.raw_items()}
        bodiless = request.method == "HEAD" or status in (204, 304)
        if b"transfer-encoding" in names or status == 204:
            fields = [(name, value) for name, value in fields if name.lower() != b"content-length"]
        sized = bodiless or any(name.lower() == b"content-length" for name, _ in fields)
        modern = request.version >= (1, 1)
        self._chunked = not sized and modern
        self._done.status = status
        self._done.keep_alive = request.keep_alive and (sized or self._chunked)
        if self._chunked:
            fields.append((b"Transfer-Encoding", b"chunked"))
        fields.append((b"Via", b"%b %b" % (event.http_version, self._via.encode())))
        if not self._done.keep_alive:
            fields.append((b"Connection", b"close"))
        elif not modern:
            fields.append((b"Connection", b"keep-alive"))
        return _status_line(event) + _lines(fields) + b"\r\n"

    async def _write(self, data: bytes) -> None:
        try:
            await write_raw(self._request, data)
        except ConnectionError as error:
            raise _ClientGone from error

    async def _reply_broke(self, error: Exception) -> None:
        """Before the head: a 502 or 504. Behind it: cut the client off, who must see that it is not whole."""
        if self._head_sent:
            self._done.ended, self._done.keep_alive = "origin-broke", False
            abort(self._request)
            return
        if isinstance(error, TimeoutError):
            words = f"the origin did not answer within {HEAD_SECONDS:g} s"
            raise Refused(Refusal(504, "http_response_timeout", words)) from error
        kind = "http_protocol_error" if isinstance(error, h11.ProtocolError) else "connection_terminated"
        raise Refused(Refusal(502, kind, f"the origin's reply cannot be used: {error}")) from error


def _kept(event: h11.Response | h11.InformationalResponse) -> list[tuple[bytes, bytes]]:
    """The reply's fields without the hop-by-hop ones, in their order and spelling."""
    pairs = [(bytes(name), bytes(value)) for name, value in event.headers.raw_items()]
    return [(n.encode("latin-1"), v.encode("latin-1")) for n, v in forwarded_fields(pairs, None)]


def _status_line(event: h11.Response | h11.InformationalResponse) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (event.status_code, event.reason)


def _lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % field for field in fields)


def _encoded(fields: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
