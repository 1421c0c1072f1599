"""Http2Door: answers the requests of HTTP/2 connections, many at once on each."""

import asyncio
import contextlib
from collections.abc import Callable

from protocol.errors import HeadMalformed
from relay.answering import Answering
from relay.client_request import ClientRequest
from relay.http2_side import Http2Request, Http2Session
from relay.refusal import malformed
from relay.refused import Refused
from relay.request_gate import RequestGate
from relay.stream import Stream


class Http2Door:
    """Args: new_gate: reads heads. limit_seconds: for each of them, and for a connection without any."""

    def __init__(
        self, answering: Answering, new_gate: Callable[[], RequestGate], limit_seconds: float
    ) -> None:
        self._answering = answering
        self._new_gate = new_gate
        self._limit_seconds = limit_seconds
        self._sessions: set[Http2Session] = set()

    def end_idle(self) -> None:
        """Say GOAWAY; a connection ends when its last request has."""
        for session in self._sessions:
            session.http.go_away()
            session.wake()

    async def serve(self, stream: Stream, peer: str, certificate: str) -> None:
        """Answer until the connection ends, which is closed then."""
        doorman = self._answering.doorman
        if (refusal := doorman.admit(peer)) is not None:
            doorman.turn_away(peer, refusal)
            stream.reset()
            return
        session = Http2Session(stream, peer, certificate)
        self._sessions.add(session)
        requests: set[asyncio.Task[None]] = set()
        try:
            await self._run(session, requests)
        except BaseException:  # cancelled as well: the socket is ours, and half a session is no clean end
            stream.reset()
            raise
        else:
            await stream.aclose()
        finally:
            self._sessions.discard(session)
            doorman.leave(peer)
            session.lose()
            for task in requests:
                task.cancel()
            await asyncio.gather(*requests, return_exceptions=True)

    async def _run(self, session: Http2Session, requests: set[asyncio.Task[None]]) -> None:
        reading: asyncio.Task[list[tuple[int, bytes]]] | None = None
        try:
            await session.flush()
            while not session.http.is_over:
                is_idle = not session.http.open_streams
                if is_idle and session.http.is_going_away:
                    break
                reading = reading or asyncio.create_task(session.receive())
                changed = asyncio.create_task(session.until_changed())
                limit = session.head_seconds_left(self._limit_seconds)
                if limit is None and is_idle:
                    limit = self._limit_seconds
                await asyncio.wait({reading, changed}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
                was_woken = changed.done()
                changed.cancel()
                if reading.done():
                    for number, head in reading.result():
                        task = asyncio.create_task(self._answer(session, number, head))
                        requests.add(task)
                        task.add_done_callback(requests.discard)
                    reading = None
                elif session.head_seconds_left(self._limit_seconds) == 0:
                    session.http.give_up()
                elif is_idle and not was_woken:
                    session.http.go_away()
                    break
                await session.flush()
            await session.flush()
        except (OSError, HeadMalformed):
            with contextlib.suppress(OSError):
                await session.flush()
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _answer(self, session: Http2Session, number: int, head: bytes) -> None:
        connection = Http2Request(session, number, self._new_gate())
        request = ClientRequest(connection, connection)
        watch: asyncio.Task[None] | None = None
        try:
            try:
                connection.receive(head)
            except Refused as error:
                await self._answering.refuse(request, error.refusal)
                return
            if not request.has_head:
                await self._answering.refuse(request, malformed("this is no well-formed request head"))
                return
            if request.head.line.method != "CONNECT":
                watch = asyncio.create_task(connection.tell_when_lost())
            await self._answering.answer(request)
        finally:
            if watch is not None:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)
            if not connection.is_taken:
                await connection.side.aclose()
