"""open_tunnel: walk a route with asyncio and return the open byte stream to its target."""

import asyncio
import errno
import os
import socket
from collections.abc import Mapping
from typing import Any

from relay.asides import run_aside
from relay.dial import Address, new_socket
from relay.failure import Stage
from relay.lookups import look_up_async
from relay.route import Route
from relay.stream import SocketStream, Stream, TlsStream
from relay.tls import client_context
from relay.trace import Trace
from relay.walk import Call, Command, Connect, Receive, Resolve, Send, StartTls, Unread, walk


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
            case Connect(address, limit_seconds):
                self.discard()
                self._stream = await connect(address, min(remaining, limit_seconds))
            case StartTls(hop):
                context = client_context(hop.ca_file, hop.verify)
                self._stream = wrapped = TlsStream(self._open(), context, hop.endpoint.host)
                async with asyncio.timeout(remaining):
                    await wrapped.handshake()
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
