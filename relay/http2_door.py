"""Http2Door: answers the requests of HTTP/2 connections, many at once on each."""

import asyncio
import contextlib
from collections.abc import Callable

from protocol.errors import HeadMalformed
from relay.answering import Answering
from relay.client_request import ClientRequest
from relay.http2_side import Http2Request, Http2Session
from relay.refusal import malformed, not_implemented
from relay.refused import Refused
from relay.request_gate import RequestGate
from relay.stream import Stream


class Http2Door:
    """Args: new_gate: reads heads. idle_seconds: a connection without a request is closed then."""

    def __init__(
        self, answering: Answering, new_gate: Callable[[], RequestGate], idle_seconds: float
    ) -> None:
        self._answering = answering
        self._new_gate = new_gate
        self._idle_seconds = idle_seconds
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
                reading = reading or asyncio.create_task(session.receive())
                changed = asyncio.create_task(session.until_changed())
                is_idle = not session.http.open_streams
                limit = self._idle_seconds if is_idle else None
                await asyncio.wait({reading, changed}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
                was_woken = changed.done()
                changed.cancel()
                if reading.done():
                    for number, head in reading.result():
                        task = asyncio.create_task(self._answer(session, number, head))
                        requests.add(task)
                        task.add_done_callback(requests.discard)
                    reading = None
                elif is_idle and (session.http.is_going_away or not was_woken):
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
        try:
            if not head:
                words = "over HTTP/2 only CONNECT is done here"
                await self._answering.refuse(request, not_implemented(words))
                return
            try:
                connection.gate.receive(head)
            except Refused as error:
                await self._answering.refuse(request, error.refusal)
                return
            connection.say_version()
            if not request.has_head:
                await self._answering.refuse(request, malformed("this is no well-formed request head"))
                return
            await self._answering.answer(request)
        finally:
            if not connection.is_taken:
                await connection.side.aclose()
