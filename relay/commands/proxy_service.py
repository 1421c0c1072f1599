"""ProxyService: the proxy of one process, with its admin listener and log; it reads the profile again."""

import asyncio
import contextlib
import mmap
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self, TextIO

from relay.admin import Admin, Subject
from relay.commands.access_log import LogWriter
from relay.commands.running import say
from relay.failure import SettingsError
from relay.fault_plan import FaultPlan
from relay.listener import Bound
from relay.log_format import WITH_DETAILS
from relay.metrics import Metrics
from relay.outbound import Ways
from relay.profile import Profile
from relay.proxy import DRAIN_LOOK_SECONDS, ConnectProxy
from relay.proxy_answers import answers_of
from relay.route import Endpoint
from relay.siblings import Siblings, answer_siblings


@dataclass(frozen=True)
class Ties:
    """What one process gets from the parent.

    sockets, more: listeners, None to bind them here. admin: the admin listener, where this process has it.
    siblings: to the other workers, of the process that has it. sibling: to that one, of the others.
    is_told: 1 in its only byte when the parent has said already that the profile is broken.
    """

    sockets: Sequence[socket.socket] | None = None
    more: Sequence[Bound] | None = None
    admin: socket.socket | None = None
    siblings: Sequence[socket.socket] = field(default=())
    sibling: socket.socket | None = None
    is_told: bytes | mmap.mmap = b"\0"


def reloaded(begun: Profile, now: Profile) -> str:
    """What is said after a reload."""
    is_all = begun.listen == now.listen and begun.log == now.log and begun.listeners == now.listeners
    is_all = is_all and begun.faults == now.faults and begun.persona == now.persona
    is_all = is_all and begun.limits.head_timeout_seconds == now.limits.head_timeout_seconds
    words = "; new values of [listen], [[listener]], [log], [[fault]], persona and the head timeout need a "
    words += "restart"
    return "reloaded" + ("" if is_all else words)


class ProxyService:
    """Args: read_again: gives the profile as it is now; raises SettingsError. faults: of all its tunnels."""

    def __init__(
        self, program: str, profile: Profile, ties: Ties, log_file: TextIO | None, own: Sequence[Endpoint],
        read_again: Callable[[], Profile], faults: FaultPlan | None = None,
    ) -> None:  # fmt: skip
        self._program = program
        self._profile = profile
        self._ties = ties
        self._read_again = read_again
        self._metrics = Metrics() if own else None
        self._log = LogWriter(log_file, profile.log, program) if log_file is not None else None
        self._admin: Admin | None = None
        self._siblings: Siblings | None = None
        self._answers: asyncio.Task[None] | None = None
        self.proxy = ConnectProxy(
            profile.plain,
            access=profile.access,
            limits=profile.limits,
            login=profile.login,
            faults=faults,
            persona=profile.persona,
            via=profile.listen.via,
            log=self._log.write if self._log is not None else None,
            log_details=profile.log.format in WITH_DETAILS,
            json_log=self._log.write_line if self._log is not None and profile.log.format == "json" else None,
            metrics=self._metrics,
            own=own,
            sockets=ties.sockets,
            listeners=profile.listeners,
            bound=ties.more,
            ways=Ways(profile.upstreams, profile.headers),
            pac=profile.listen.pac,
        )

    @property
    def endpoints(self) -> list[str]:
        """Where the proxy listens."""
        return self.proxy.places

    async def __aenter__(self) -> Self:
        await self.proxy.start()
        ties = self._ties
        if ties.admin is not None:
            self._siblings = Siblings(ties.siblings) if ties.siblings else None
            self._admin = Admin(self._subject(), ties.admin, self._siblings)
            await self._admin.start()
        if ties.sibling is not None:
            self._answers = asyncio.create_task(
                answer_siblings(ties.sibling, partial(answers_of, self.proxy))
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.proxy.aclose()
        if self._admin is not None:
            await self._admin.aclose()
        if self._answers is not None:
            self._answers.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._answers

    def _subject(self) -> Subject:
        from relay.exposition import exposition

        return Subject(partial(answers_of, self.proxy), exposition, "tunnels")

    def close_log(self) -> None:
        """Give a slow reader of the log a moment."""
        if self._log is not None:
            self._log.close()

    async def drain(self, at_once: asyncio.Event) -> None:
        """What SIGTERM does before the end."""
        grace_seconds = self._profile.listen.grace_seconds
        if not grace_seconds:
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_seconds
        await self.proxy.drain(grace_seconds, at_once)
        # Whoever asks how the others are getting on asks this process
        while self._siblings is not None and not self._siblings.have_ended:
            if loop.time() >= end or at_once.is_set():
                return
            await asyncio.sleep(DRAIN_LOOK_SECONDS)

    async def reload(self) -> None:
        """What SIGHUP does: read the profile and its lists again; a broken one is told, the old one kept."""
        if self._log is not None:
            self._log.open_again()
        try:
            profile = await asyncio.to_thread(self._read_again)
            self.proxy.renew(profile.listeners)
        except SettingsError as error:
            self._count("failed")
            if not self._ties.is_told[0]:
                say(self._program, f"not reloaded, all stays as it was: {error}")
            return
        ways = Ways(profile.upstreams, profile.headers)
        await self.proxy.change(profile.access, profile.limits, profile.login, ways)
        self._count("done")
        if self._ties.sockets is None:
            say(self._program, reloaded(self._profile, profile))

    def _count(self, outcome: str) -> None:
        if self._metrics is not None:
            self._metrics.reloads[outcome] += 1
