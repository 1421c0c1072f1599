"""open_tunnel: walk a route with asyncio and return the open byte stream to its target."""

import asyncio
import errno
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from relay.asides import run_aside
from relay.dial import Address, new_socket
from relay.failure import Stage
from relay.lookups import look_up_async
from relay.moves import Call, Command, Connect, Drop, Receive, Resolve, Send, StartHttp2, StartTls, Unread
from relay.race import Outcome, Race
from relay.route import Hop, Route
from relay.stream import SocketStream, Stream, TlsStream
from relay.tls import client_context
from relay.trace import Trace
from relay.walk import walk


async def open_tunnel(
    route: Route,
    *,
    timeout_seconds: float = 30.0,
    stage_seconds: Mapping[Stage, float] | None = None,
    trace: Trace | None = None,
) -> Stream:
    """Walk every hop of `route` and return the open byte stream to its target.

    Args:    timeout_seconds: for the whole walk, all hops together. stage_seconds: limits of single
             stages. trace: where to keep the steps, instead of a new one.
    Raises:  ProxyRefused (a hop answered outside 2xx), DialFailed, TimedOut, PeerMisbehaved;
             `.failure` says where and what.
    Source:  RFC 9110 section 9.3.6: bytes after a 2xx head already belong to the tunnel; they are kept.
    """
    trace = trace or Trace(timeout_seconds, stage_seconds or {})
    driver = _Driver(trace)
    plan = walk(route, trace)
    try:
        command = next(plan)
        while True:
            try:
                outcome = await driver.carry_out(command)
            except OSError as error:
                command = plan.throw(error)
            else:
                command = plan.send(outcome)
    except StopIteration:
        return driver.take_stream()
    finally:
        plan.close()
        driver.discard()


class _Driver:
    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._stream: Stream | None = None

    def take_stream(self) -> Stream:
        stream, self._stream = self._stream, None
        assert stream is not None
        return stream

    def discard(self) -> None:
        if self._stream is not None:
            self._stream.fileno_socket().close()
            self._stream = None

    async def carry_out(self, command: Command) -> Any:
        remaining = self._trace.remaining_seconds()
        match command:
            case Resolve(endpoint):
                async with asyncio.timeout(remaining):
                    return await look_up_async(endpoint.host, endpoint.port)
            case Connect(addresses, limit_seconds, outcomes):
                self.discard()
                self._stream = await connect_first(addresses, min(remaining, limit_seconds), outcomes)
            case StartTls(hop):
                async with asyncio.timeout(remaining):
                    return await self._start_tls(hop)
            case StartHttp2(tunnel):
                from relay.http2_stream import Http2Stream

                self._stream = Http2Stream(self._open(), tunnel)
            case Drop():
                self.discard()
            case Send(data):
                async with asyncio.timeout(remaining):
                    await self._open().write(data)
            case Receive(grace_seconds):
                return await self._receive(remaining, grace_seconds)
            case Call(work):
                async with asyncio.timeout(remaining):
                    return await run_aside(work)
            case Unread(data):
                self._open().unread(data)
        return None

    async def _start_tls(self, hop: Hop) -> tuple[str | None, bytes | None]:
        name = hop.server_name or hop.endpoint.host
        self._stream = wrapped = TlsStream(self._open(), client_context(hop), name)
        await wrapped.handshake()
        return wrapped.alpn, wrapped.certificate

    async def _receive(self, remaining: float, grace_seconds: float | None) -> bytes | None:
        if grace_seconds is None:
            async with asyncio.timeout(remaining):
                return await self._open().read()
        try:
            async with asyncio.timeout(min(remaining, grace_seconds)):
                return await self._open().read()
        except TimeoutError:
            return None

    def _open(self) -> Stream:
        assert self._stream is not None
        return self._stream


async def connect_first(
    addresses: Sequence[Address], limit_seconds: float, outcomes: list[Outcome]
) -> SocketStream:
    """A stream to the first address that takes us (RFC 8305); `outcomes` is told of every one.

    Raises: OSError of the last when all have failed, TimeoutError after `limit_seconds`.
    """
    race = Race(addresses, outcomes)
    try:
        async with asyncio.timeout(limit_seconds):
            wait_seconds = race.advance()
            while race.winner is None:
                for sock in await _first_writable(race.pending, wait_seconds):
                    if race.winner is None:
                        race.settle(sock)
                wait_seconds = race.advance()
    except TimeoutError:
        race.close("timed out")
        raise
    finally:
        race.close()
    return SocketStream(race.winner)


async def _first_writable(
    pending: Sequence[socket.socket], limit_seconds: float | None
) -> Sequence[socket.socket]:
    """Those of `pending` that are writable, as soon as one is; () after `limit_seconds`.

    uvloop's sock_connect looks every address up in a thread; so connects are waited for here (connect(2)).
    """
    loop = asyncio.get_running_loop()
    first: asyncio.Future[None] = loop.create_future()
    writable: list[socket.socket] = []

    def tell(sock: socket.socket | None) -> None:
        if sock is not None:
            writable.append(sock)
        if not first.done():
            first.set_result(None)

    timer = None if limit_seconds is None else loop.call_later(limit_seconds, tell, None)
    for sock in pending:
        loop.add_writer(sock, tell, sock)
    try:
        await first
    finally:
        for sock in pending:
            loop.remove_writer(sock)
        if timer is not None:
            timer.cancel()
    return list(dict.fromkeys(writable))


async def connect(address: Address, limit_seconds: float) -> SocketStream:
    """A connected stream. Raises: OSError, TimeoutError after `limit_seconds`."""
    family, sockaddr = address
    sock = new_socket(family)
    try:
        code = sock.connect_ex(sockaddr)
        if code == errno.EINPROGRESS:
            async with asyncio.timeout(limit_seconds):
                await _writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        # Also cancelled: the caller has no socket yet that it could close
        sock.close()
        raise
    return SocketStream(sock)


async def _writable(sock: socket.socket) -> None:
    """Wait for a connect to end (connect(2)); uvloop's sock_connect looks every address up in a thread."""
    loop = asyncio.get_running_loop()
    is_writable = loop.create_future()

    def tell() -> None:
        if not is_writable.done():
            is_writable.set_result(None)

    loop.add_writer(sock, tell)
    try:
        await is_writable
    finally:
        loop.remove_writer(sock)
