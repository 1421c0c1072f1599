"""Load: a user of Locust's that pings and moves packets through a route (docs/load.md; extra `load`).

Locust makes sockets and threads cooperative when it is imported, so this module is for locustfiles, and not
for programs that have an event loop. BlockingFrameworkClient knows nothing of it.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import gevent
from gevent import GreenletExit
from locust import User, events

from protocol.packet import Packet, source_bytes
from protocol.sealing import PING_BYTES
from relay.blocking_framework_client import BlockingFrameworkClient, Connecting
from relay.credentials import Sources, completed
from relay.failure import Failure, PeerMisbehaved, Reason, RelayError, SettingsError, Stage
from relay.keys import load_key
from relay.reconnection import ONCE, what_ended
from relay.route import FRAMEWORK_PORT, Endpoint, Hop, Route

CONNECT, RECONNECT = "connect", "reconnect"
EXIT_USAGE = 2
_log = logging.getLogger(__name__)
TYPE = "framework"
"""The type of every request in Locust's reports."""


class Failed(Exception):
    """A request that failed, as Locust's reports count it: by a cause of a closed list, without addresses."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(cause_of(failure))
        self.failure = failure

    def __repr__(self) -> str:
        return str(self)  # what Locust writes into its reports


def cause_of(failure: Failure) -> str:
    """`STAGE:REASON`, the words of relay.failure: "connect:refused"."""
    return f"{failure.stage}:{failure.reason}"


class FrameworkUser(User):
    """One client with one connection. Subclass it and write tasks that call `ping`, `echo`, `fetch`.

    Where the server is comes from Locust's --host, HOST:PORT or HOST. The proxies before it: `proxies` of the
    class, else --relay-proxy, nearest first; a user without a password has RELAY_PROXY_PASSWORD.

    Each call is one line of the reports; so is making a connection: `connect` is the first one of a user,
    `reconnect` each later one, so that their number is the number of reconnects. Failures are counted by
    cause, `STAGE:REASON`, and do not raise: the calls return False then.
    """

    abstract = True

    proxies: ClassVar[Sequence[str] | None] = None
    timeout_seconds: ClassVar[float] = 30.0

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        try:
            route, key = self._route(), load_key(None)
        except SettingsError as error:
            _end(environment, str(error))
            raise GreenletExit from None  # ends the spawning of users, and has no traceback
        # What died is counted, so nothing is repeated behind the report's back
        self.client = BlockingFrameworkClient(
            route, key, timeout_seconds=self.timeout_seconds, backoff=ONCE, on_connect=self._connected,
        )  # fmt: skip

    def on_stop(self) -> None:
        """Close the connection; a subclass that has its own calls this one."""
        self.client.close()

    def ping(self, name: str = "ping") -> bool:
        """Send an empty packet and wait for its answer; whether it came."""
        return self._timed(name, self._pinged)

    def echo(self, size_bytes: int, name: str = "") -> bool:
        """Send so many bytes, which do not compress, and get them back; whether they came back the same."""
        body = os.urandom(size_bytes)
        return self._timed(name or f"echo {size_bytes} bytes", lambda: self._moved(Packet.echo(body), body))

    def fetch(self, size_bytes: int, name: str = "") -> bool:
        """Get so many bytes from the server; whether they came."""
        return self._timed(
            name or f"fetch {size_bytes} bytes",
            lambda: self._moved(Packet.source(size_bytes), source_bytes(size_bytes, 0)),
        )

    def _pinged(self) -> int:
        self.client.ping()
        return PING_BYTES

    def _moved(self, packet: Packet, expected: bytes) -> int:
        reply = self.client.request(packet)
        if reply.argument != expected:
            target, detail = str(self.client.route.target), "answered with other bytes than those expected"
            raise PeerMisbehaved(Failure(Stage.FRAMEWORK, Reason.MALFORMED, target, detail))
        return len(expected)

    def _timed(self, name: str, work: Callable[[], int]) -> bool:
        try:
            self.client.connect()
        except RelayError:
            return False  # told by `_connected`: a request that was never sent has no latency
        began = time.perf_counter()
        size_bytes, failed = 0, None
        try:
            size_bytes = work()
        except RelayError as error:
            failed = Failed(what_ended(error))
        self._tell(name, time.perf_counter() - began, size_bytes, failed)
        return failed is None

    def _connected(self, made: Connecting) -> None:
        name = CONNECT if made.number == 1 else RECONNECT
        self._tell(name, made.seconds, 0, Failed(made.failure) if made.failure is not None else None)

    def _tell(self, name: str, seconds: float, size_bytes: int, failed: Failed | None) -> None:
        self.environment.events.request.fire(
            request_type=TYPE, name=name, response_time=seconds * 1000, response_length=size_bytes,
            exception=failed, context=self.context(), start_time=time.time() - seconds,
        )  # fmt: skip

    def _route(self) -> Route:
        if not self.host:
            raise SettingsError("--host: expected HOST:PORT of the Framework Server")
        target = Endpoint.parse(self.host, "--host", FRAMEWORK_PORT)
        urls = self.proxies
        if urls is None:
            urls = getattr(self.environment.parsed_options, "relay_proxy", None) or ()
        hops = [Hop.parse(url, "--relay-proxy") for url in urls]
        return Route(target, tuple(
            completed(hop, Sources(os.environ, is_nearest=at == 0)) for at, hop in enumerate(hops)
        ))  # fmt: skip


def _end(environment: Any, words: str) -> None:
    """No user can be made with these settings: end the run, with status 2; the web page may begin another."""
    _log.error("%s", words)
    environment.process_exit_code = EXIT_USAGE
    runner = environment.runner
    if runner is not None:
        # Beside us: both end the greenlet that they are called from
        gevent.spawn(runner.quit if environment.web_ui is None else runner.stop)


def _add_options(parser: Any) -> None:
    parser.add_argument(
        "--relay-proxy", action="append", metavar="URL", include_in_web_ui=False, is_secret=True,
        help="go through this proxy; repeat for a chain, nearest first",
    )  # fmt: skip


events.init_command_line_parser.add_listener(_add_options)
