"""One HTTP CONNECT exchange, with a login where the proxy asks for one (RFC 9110 section 9.3.6)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from typing import Final

from protocol.errors import HeadMalformed, LocalWireError, StreamTruncated, WireError
from protocol.login import MAX_LOGIN_STEPS, Login
from protocol.reply import MAX_FIELDS, MAX_HEAD_BYTES, HeadCutter, Reply, parse_head
from protocol.reply_body import BodyReader, connection_options, keeps_connection
from protocol.request import checked_headers, checked_target, connect_request
from protocol.resemblance import excerpt
from protocol.scheme import Scheme

__all__ = [
    "MAX_BODY_BYTES", "MAX_DRAIN_BYTES", "MAX_FIELDS", "MAX_HEAD_BYTES", "MAX_INTERIM", "MAX_LOGIN_STEPS",
    "ConnectHandshake", "Reply",
]  # fmt: skip

MAX_INTERIM: Final = 16
"""1xx replies in one handshake. A proxy may keep a client patient with them; this many say nothing new."""

MAX_BODY_BYTES: Final = 65_536
"""Kept of a refusal's body: a whole block page of the usual size, as evidence."""

MAX_DRAIN_BYTES: Final = 1_048_576
"""Read of one body, framing included, to use the connection again; a new connection is cheaper than more."""


class _State(Enum):
    HEAD = "the request may be sent, its reply is awaited"
    LOGIN = "a refusal asks for a login, whose answer is still to be made"
    BODY = "a refusal's body is being read"
    READY = "a refusal is answered on the same connection; the answer is not sent yet"
    REDIAL = "a refusal is answered; the answer needs a new connection"
    DONE = "the last reply is known"


class ConnectHandshake:
    """Ask one proxy for a tunnel to `target`.

    It never sends: its driver sends what `data_to_send` gives and feeds what it reads:

        while not handshake.done:
            if handshake.must_redial:  # close, dial again
                handshake.redialled()
            write(handshake.data_to_send())
            handshake.receive_data(read())
        if handshake.reply.is_success: ...  # the tunnel begins with handshake.leftover

    A login is tried only where a 407 asks for it, with the first of `schemes` that it offers;
    `protocol.login` says when another follows. Redirects are never followed.

    Args:
        target: authority-form as sent: "host:5000", "[::1]:5000".
        schemes: logins for this proxy and this tunnel, strongest first.
        headers: own headers behind Host, in order.
        user_agent: none is sent when None.
        keep_alive: send `Proxy-Connection: Keep-Alive` with a login that is bound to its connection; old
            proxies close without it, though RFC 9112 appendix C.2.2 would rather not have it.
        defers_logins: the driver calls `answer` for each 407, because a scheme may have to wait for tickets.
        old_form: HTTP/1.0 without Host (RFC 1945), for proxies that stumble over it.
    Raises: LocalWireError for anything that cannot be sent as it is; it quotes no header value.

    Attributes:
        interim_replies: 1xx replies skipped.
        login: how far the login has come.
        credentials_sent: requests with credentials given out by `data_to_send`.
    """

    def __init__(
        self,
        target: str,
        *,
        schemes: Sequence[Scheme] = (),
        headers: Sequence[tuple[str, str]] = (),
        user_agent: str | None = None,
        keep_alive: bool = True,
        defers_logins: bool = False,
        old_form: bool = False,
    ) -> None:
        self._target = checked_target(target)
        self._headers = checked_headers(headers, user_agent)
        self._keep_alive = keep_alive
        self._defers_logins = defers_logins
        self._old_form = old_form
        self.login = Login(schemes)
        self._authorization: str | None = None  # of the attempt under way, or of the next one
        self._outgoing = b""
        self._state = _State.HEAD
        self._reply: Reply | None = None
        self._body = bytearray()
        self._remarks: list[str] = []
        self._leftover = bytearray()
        self._error: WireError | None = None
        self.interim_replies = 0
        self.credentials_sent = 0
        self._begin(_State.HEAD)

    @property
    def done(self) -> bool:
        """Whether the last reply is known and, unless it is a 2xx, its body read to its end or to a limit."""
        return self._state is _State.DONE

    @property
    def must_redial(self) -> bool:
        """Whether the answer to a 407 is ready, but needs a new connection: dial, then call `redialled`."""
        return self._state is _State.REDIAL

    @property
    def must_answer(self) -> bool:
        """Whether a 407 is to be answered now: call `answer`. Only with `defers_logins`."""
        return self._state is _State.LOGIN

    @property
    def awaits_body(self) -> bool:
        """Whether only the body of a refusal is still to come: worth a short wait, no more."""
        return self._state is _State.BODY

    @property
    def reply(self) -> Reply | None:
        """The last reply that is not 1xx, from the moment its head is whole; its body grows until `done`."""
        if self._reply is None:
            return None
        return replace(
            self._reply, body=bytes(self._body), leniencies=(*self._reply.leniencies, *self._remarks)
        )

    @property
    def leftover(self) -> bytes:
        """The bytes that came behind a 2xx head: they are the tunnel's first."""
        return bytes(self._leftover)

    @property
    def scheme_name(self) -> str | None:
        """The login scheme in use, None before a 407 was answered."""
        return None if self.login.scheme is None else self.login.scheme.name

    @property
    def refused_credentials(self) -> bool:
        """Whether the proxy asked again (407, or 401 as tinyproxy does) after it had ours."""
        return self.login.is_refused

    def data_to_send(self) -> bytes:
        """Return one whole request head, to be sent in one write; b"" when there is nothing to send now."""
        if self._state not in (_State.HEAD, _State.READY):
            return b""
        data, self._outgoing = self._outgoing, b""
        self._state = _State.HEAD
        if data and self._authorization is not None:
            self.credentials_sent += 1
        return data

    def redialled(self) -> None:
        """Say that there is a new connection; `data_to_send` has the request for it.

        Besides a dial that was asked for, a tunnel that was open may be asked for again, with the credentials
        that opened it: in a chain, a later proxy's login can need every connection anew.

        Raises: LocalWireError when a new connection is of no use now, or the login cannot be said again.
        """
        was_open = self._state is _State.DONE and self._reply is not None and self._reply.is_success
        if self._state is not _State.REDIAL and not was_open:
            raise LocalWireError("a new connection was not asked for (must_redial is False)")
        if was_open:
            self._authorization = self.login.again()
        self._leftover.clear()
        self._begin(_State.HEAD)

    def answer(self) -> None:
        """Let the login scheme make its answer, which may take as long as a ticket takes.

        Raises: as `receive_data`; LocalWireError when there is nothing to answer.
        """
        if self._state is not _State.LOGIN:
            raise LocalWireError("there is no 407 to answer (must_answer is False)")
        self._guarded(self._answer)

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes from the proxy, split anywhere; b"" says that the connection ended.

        Raises:
            HeadMalformed: this is no HTTP reply, or over a limit; as soon as the bytes show it.
            StreamTruncated: the connection ended before the blank line, whatever the status line said.
            AuthMalformed: a login challenge cannot be read, or the connection of a bound login was given up.
            LocalWireError: a login scheme gave what cannot be sent.
            The same error is raised by every later call.
        """
        self._guarded(self._receive, data)

    def _guarded(self, work: Callable[..., None], *arguments: bytes) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)  # else each raise would lengthen the same traceback
        try:
            work(*arguments)
        except WireError as error:
            self._error = error
            raise

    def _begin(self, state: _State) -> None:
        headers, scheme = self._headers, self.login.scheme
        if self._authorization is not None:
            if self._keep_alive and scheme is not None and scheme.connection_bound:
                headers = [*headers, ("Proxy-Connection", "Keep-Alive")]
            headers = [*headers, ("Proxy-Authorization", self._authorization)]
        self._connection, self._outgoing = connect_request(self._target, headers, self._old_form)
        self._heads = HeadCutter()
        self._state = state

    def _receive(self, data: bytes) -> None:
        if self._state is _State.HEAD:
            self._receive_head(data)
        elif self._state is _State.BODY:
            if data:
                self._receive_body(data)
            else:
                self._end_body()
        elif self._state is _State.LOGIN:
            raise LocalWireError("the login is to be answered first (must_answer is True)")
        elif self._state is _State.READY:
            self._redial()  # bytes nobody asked for, or the end: the next reply could not be told from them
        elif self._reply is not None and self._reply.is_success:
            self._leftover += data

    def _receive_head(self, data: bytes) -> None:
        if not data:
            held = self._heads.unread
            begun = f": {excerpt(held)}" if held else ""
            raise StreamTruncated(f"the connection ended after {len(held)} bytes of the reply head{begun}")
        self._heads.receive_data(data)
        while (raw_head := self._heads.next_head()) is not None:
            reply = parse_head(raw_head, self._connection)
            if reply.status >= 200:
                self._receive_final(reply)
                return
            self.interim_replies += 1
            if self.interim_replies > MAX_INTERIM:
                raise HeadMalformed(f"more than {MAX_INTERIM} interim (1xx) replies")

    def _receive_final(self, reply: Reply) -> None:
        rest = self._heads.unread
        self._heads = HeadCutter()
        self._reply = reply
        self._body.clear()
        if reply.is_success:
            self.login.accepted(reply)
            self._leftover += rest
            self._state = _State.DONE
            return
        self._held = rest
        if self._defers_logins and self.login.may_answer(reply):
            self._state = _State.LOGIN
        else:
            self._answer()

    def _answer(self) -> None:
        reply, rest = self._reply, self._held
        assert reply is not None
        self._authorization = self.login.answer(reply)
        is_used_up = self.login.needs_redial or "close" in connection_options(self._headers)
        if self._authorization is not None and (is_used_up or not keeps_connection(reply)):
            self._redial()
            return
        self._reader = BodyReader(reply)
        self._drained_bytes = 0
        self._state = _State.BODY
        self._receive_body(rest)

    def _receive_body(self, data: bytes) -> None:
        allowed = data[: MAX_DRAIN_BYTES - self._drained_bytes]
        self._drained_bytes += len(allowed)
        content = self._reader.receive_data(allowed)
        self._body += content[: MAX_BODY_BYTES - len(self._body)]
        is_over = self._drained_bytes >= MAX_DRAIN_BYTES
        is_ended = self._reader.is_complete or self._reader.is_broken or is_over
        if self._authorization is None:
            if len(self._body) >= MAX_BODY_BYTES or is_ended:
                if self._reader.is_broken and len(self._body) < MAX_BODY_BYTES:
                    self._remarks.append("broken chunks in the body")
                self._state = _State.DONE
        elif self._reader.is_complete and not self._reader.unread and len(allowed) == len(data):
            self._begin(_State.READY)
        elif is_ended:
            self._redial()

    def _end_body(self) -> None:
        if self._authorization is not None:
            self._redial()
            return
        self._reader.receive_eof()
        if not self._reader.is_complete:
            self._remarks.append("body cut short by the end of the connection")
        self._state = _State.DONE

    def _redial(self) -> None:
        self.login.check_redial()
        self._state = _State.REDIAL
