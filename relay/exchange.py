"""Exchange: one forwarded request and its reply, while both may still be under way."""

import asyncio
import contextlib
import socket
from dataclasses import dataclass, replace

import h11

from relay.authority import AbsoluteTarget
from relay.client_request import ClientRequest
from relay.fields import forwarded_fields
from relay.origin import Origin, ReplyBroken
from relay.outbound import Reached
from relay.persona_reply import Forwarding
from relay.refusal import Refusal, malformed, too_slow
from relay.refused import Refused
from relay.reply_head import interim_head, reply_head

# A reply whose body stops for so long is given up.
BODY_IDLE_SECONDS = 300.0


@dataclass
class Forwarded:
    """How a forwarded request ended; `status` 0 means that no reply came to the client."""

    status: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    ended: str = "stopped"
    keep_alive: bool = False


class _ClientGone(Exception):
    """The client no longer takes the reply."""


class Exchange:
    """Args:
    answer_seconds: how long the origin may take to answer, counted from the last byte of the request.
    done: told how far it has come, all the while. added: the head of the reply as a persona has it.
    """

    def __init__(
        self,
        request: ClientRequest,
        way: Reached,
        target: AbsoluteTarget,
        via: str,
        answer_seconds: float,
        done: Forwarded,
        added: Forwarding | None = None,
    ) -> None:
        self.done = done
        self._added = added
        self._request = request
        self._way = way
        self._stream = way.stream
        self._origin = Origin(way.stream)
        self._target = target
        self._via = via
        self._limit_seconds = answer_seconds
        self._limit: asyncio.Timeout | None = None
        self._awaits_client = False
        self._is_chunked = False
        self._upload_error: BaseException | None = None

    async def run(self) -> None:
        """Send the request and relay the reply as it comes.

        Raises: Refused while nothing of a final reply has been written.
        """
        self._request.on_lost(self._give_up)
        upload = asyncio.create_task(self._upload())
        upload.add_done_callback(self._upload_ended)
        try:
            await self._relay_reply()
        except (_ClientGone, ReplyBroken, OSError) as error:
            self._reply_broke(error)
        finally:
            self._request.on_lost(None)
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)

    def _upload_ended(self, upload: asyncio.Task[None]) -> None:
        error = None if upload.cancelled() else upload.exception()
        if isinstance(error, OSError):
            # The origin takes no more, or the client has gone. A reply may still come, and says why
            return
        if isinstance(error, h11.LocalProtocolError):
            error = Refused(malformed("the body is not as long as Content-Length says"))
        if error is not None:
            self._upload_error = error
            self._give_up()

    async def _upload(self) -> None:
        line = self._request.head.line
        path = self._target.origin_form
        if self._way.is_absolute:
            # RFC 9110 section 9.3.7: there `*` has no path
            path = f"http://{self._target.authority}" + (path or ("" if line.method == "OPTIONS" else "/"))
        elif not path:
            # RFC 9112 section 3.2.4: an OPTIONS without a path is about the whole server
            path = "*" if line.method == "OPTIONS" else "/"
        fields = forwarded_fields(self._request.head, self._target.authority, self._via)
        fields += self._way.fields
        await self._origin.send(h11.Request(method=line.method, target=path, headers=fields))
        self._awaits_client = True
        async for data in self._request.body():
            self._awaits_client = False
            await self._origin.send(h11.Data(data=data))
            self.done.bytes_up += len(data)
            self._extend()
            self._awaits_client = True
        self._awaits_client = False
        await self._origin.send(h11.EndOfMessage())
        self._extend()

    def _give_up(self) -> None:
        """Nobody wants the reply any more: wake whoever waits for it."""
        with contextlib.suppress(OSError):
            self._stream.fileno_socket().shutdown(socket.SHUT_RD)

    def _extend(self) -> None:
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._limit_seconds)

    async def _next_event(self) -> h11.Event:
        async with asyncio.timeout(self._limit_seconds) as limit:
            self._limit = limit
            try:
                return await self._origin.next_event()
            finally:
                self._limit = None

    async def _relay_reply(self) -> None:
        while True:
            event = await self._next_event()
            if self._upload_error is not None or self._request.is_lost:
                raise _ClientGone
            match event:
                case h11.InformationalResponse():
                    if self._request.head.knows_interim:
                        await self._write(interim_head(event, self._via), is_interim=True)
                case h11.Response():
                    await self._begin_reply(event)
                case h11.Data():
                    data = bytes(event.data)
                    await self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)
                    self.done.bytes_down += len(data)
                case h11.EndOfMessage():
                    if self._is_chunked:
                        await self._write(b"0\r\n\r\n")
                    self.done.ended = "complete"
                    return

    async def _begin_reply(self, event: h11.Response) -> None:
        if self._way.is_absolute and event.status_code == 407:
            # It is ours to answer: the client must not say its own password to a proxy it does not know
            words = "the next proxy does not take our login"
            raise ReplyBroken("proxy_configuration_error", words, event.status_code)
        can_go_on = self._request.body_is_whole
        head = reply_head(self._request.head, event, self._via, can_go_on=can_go_on, added=self._added)
        self._is_chunked = head.is_chunked
        self._limit_seconds = BODY_IDLE_SECONDS
        self.done.status = event.status_code
        self.done.keep_alive = head.keeps_alive
        await self._write(head.wire)

    async def _write(self, data: bytes, *, is_interim: bool = False) -> None:
        try:
            await self._request.write(data, is_interim=is_interim)
        except ConnectionError as error:
            raise _ClientGone from error

    def _reply_broke(self, error: Exception) -> None:
        """Before the final head: refuse. Behind it: cut the client off, who must see that it is not whole."""
        self.done.keep_alive = False
        if self._request.is_lost or (isinstance(error, _ClientGone) and self._upload_error is None):
            self.done.ended = "client-reset"
            self._request.abort()
        elif self.done.status:
            self.done.ended = "client-broke" if self._upload_error is not None else "origin-broke"
            self._request.abort()
        else:
            raise self._upload_error or Refused(replace(self._refusal(error), next_hop=self._way.parent))

    def _refusal(self, error: Exception) -> Refusal:
        if isinstance(error, ReplyBroken):
            return error.refusal
        if not isinstance(error, TimeoutError):
            return Refusal(502, "connection_terminated", "the origin reset the connection without an answer")
        if self._awaits_client:
            return too_slow(f"nothing of the request's body came for {self._limit_seconds:g} s")
        words = f"the origin did not answer within {self._limit_seconds:g} s"
        return Refusal(504, "http_response_timeout", words)
