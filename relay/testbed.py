"""Testbed: a Framework Server, bad proxies and broken networks on loopback, to test a client against.

All of it runs in a thread of its own, so that a test may block, or run an event loop itself.
"""

import inspect
import queue
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from relay.access import parse_ports
from relay.emulator import EmulatedServer
from relay.failure import Failure, SettingsError
from relay.fault_plan import FaultPlan
from relay.fault_rule import FaultRule, rule_from_text
from relay.forward import Carried, Forwarder
from relay.greeter import Greeter
from relay.journal import Record
from relay.login_gate import Login
from relay.own_loop import OwnLoop
from relay.persona import load
from relay.places import FarServer, LocalPort, StandInProxy
from relay.plain_port import PlainPort
from relay.profile import Profile, read_profile
from relay.proxy import ConnectProxy
from relay.route import Endpoint, Hop, Route
from relay.users import SCRYPT, Users, hash_password

FREE = Endpoint("127.0.0.1", 0)

Via = Hop | StandInProxy | LocalPort | str
Faults = str | Sequence[str]


class Testbed:
    """Use it as a context manager; all that it has started ends with it.

    Wherever faults are named they are written as in docs/faults.md: "latency:seconds=0.2". The same
    `fault_seed` makes the same faults again.
    """

    # pytest takes every class whose name begins so for tests
    __test__ = False

    def __init__(self) -> None:
        self._loop = OwnLoop()
        self._server: FarServer | None = None

    def __enter__(self) -> Self:
        self._loop.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.__exit__(kind, error, trace)

    @property
    def framework_server(self) -> FarServer:
        """The emulated Framework Server, with the public key; it is started when first asked for."""
        if self._server is None:
            ended: queue.SimpleQueue[Record] = queue.SimpleQueue()
            server = self._loop.enter(EmulatedServer((FREE,), on_end=ended.put))
            self._server = FarServer(*_at(server.endpoint), self._loop, server, ended)
        return self._server

    def connect_proxy(
        self,
        *,
        profile: str | Path | None = None,
        persona: str | None = None,
        faults: Faults = (),
        allow_ports: str | None = None,
        login: str | None = None,
        fault_seed: int = 0,
    ) -> StandInProxy:
        """Start a CONNECT proxy.

        Args:   profile: a file (docs/proxy.md); where it listens and logs is not heeded. persona: whom it
                stands in for (docs/personas.md). allow_ports: the only ones, as in "443,5000-5010".
                login: USER:PASSWORD, which it then insists on.
        Raises: SettingsError.
        """
        _check_text(profile=profile, persona=persona, allow_ports=allow_ports, login=login)
        known = _overridden(profile, persona, allow_ports, login)
        rules = (*known.faults, *_rules(faults, "faults"))
        entries: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        proxy = ConnectProxy(
            (FREE,),
            access=known.access,
            limits=known.limits,
            login=known.login,
            faults=FaultPlan(rules, fault_seed) if rules else None,
            persona=known.persona,
            via=known.listen.via,
            log=entries.put,
        )
        self._loop.enter(proxy)
        user, _, password = (login or "").partition(":")
        return StandInProxy(*_at(proxy.endpoint), user, password, entries)

    def greeting_server(self, words: bytes) -> LocalPort:
        """Start a server that says `words` to whoever connects, and then echoes. Raises: SettingsError."""
        if not isinstance(words, bytes):
            raise SettingsError(f"words: {words!r:.60}; expected bytes, such as b\"hello\"")
        return LocalPort(*_at(self._loop.enter(Greeter(words, FREE)).endpoint))

    def broken_network(
        self,
        fault: Faults,
        *,
        target: "Endpoint | FarServer | StandInProxy | LocalPort | str | None" = None,
        fault_seed: int = 0,
    ) -> LocalPort:
        """Open a port that leads to `target`, by default the Framework Server, through a fault or more.

        There is no proxy in it: it is the network between the client and whatever it connects to.

        Raises: SettingsError, also for faults that change a proxy's answer.
        """
        rules = _rules(fault, "fault")
        for rule in rules:
            if rule.fault.at_connect:
                raise SettingsError(
                    f"fault: {rule.fault.name} changes a proxy's answer; expected connect_proxy(faults=...)"
                )
        upstream = self._endpoint_of(target)
        port = self._loop.enter(PlainPort(FREE, upstream, FaultPlan(rules, fault_seed)))
        return LocalPort(*_at(port.endpoint))

    def tunnel(self, *route: Route | Via) -> LocalPort:
        """Open a port that leads through proxies, for clients that know of none, as `relay tunnel` does.

        Args: route: a Route, or proxies on the way to the Framework Server, nearest first.
        Where a tunnel cannot be opened its client sees a reset; `failure()` of the port says why.
        """
        way = route[0] if len(route) == 1 and isinstance(route[0], Route) else self.route(*route)
        failures: queue.SimpleQueue[Failure] = queue.SimpleQueue()

        def ended(carried: Carried) -> None:
            if carried.failure is not None:
                failures.put(carried.failure)

        forwarder = self._loop.enter(Forwarder((FREE,), way, on_end=ended))
        return LocalPort(*_at(forwarder.endpoints[0]), failures)

    def route(self, *via: Route | Via, target: Endpoint | str | None = None) -> Route:
        """The way through proxies, nearest first, to `target`, by default the Framework Server.

        Raises: SettingsError.
        """
        return Route(self._endpoint_of(target), tuple(_hop(one) for one in via))

    def _endpoint_of(self, target: Any) -> Endpoint:
        if target is None:
            return self.framework_server.endpoint
        if isinstance(target, Endpoint):
            return target
        if isinstance(target, str):
            return Endpoint.parse(target, "target")
        if isinstance(target, FarServer | StandInProxy | LocalPort):
            return target.endpoint
        raise SettingsError(f"target: {type(target).__name__}; expected HOST:PORT, or what a fixture gave")


def _at(endpoint: Endpoint) -> tuple[str, int]:
    return endpoint.host, endpoint.port


def _hop(via: Route | Via) -> Hop:
    if isinstance(via, Hop):
        return via
    if isinstance(via, str):
        return Hop.parse(via, "route")
    if isinstance(via, StandInProxy):
        return via.hop
    if isinstance(via, LocalPort):
        return Hop(via.endpoint)
    raise SettingsError(f"route: {type(via).__name__}; expected one Route alone, or proxies and their URLs")


def _rules(faults: Faults, what: str) -> tuple[FaultRule, ...]:
    """Raises: SettingsError."""
    texts = [faults] if isinstance(faults, str) else faults
    # They come from tests, which nobody type-checks
    given: Any = texts
    if not (isinstance(given, list | tuple) and all(isinstance(text, str) for text in given)):
        raise SettingsError(f"{what}: {faults!r:.60}; expected text such as \"reset\", or a list of such")
    return tuple(rule_from_text(text, what) for text in texts)


def _check_text(**options: Any) -> None:
    """These come from tests, which nobody type-checks. Raises: SettingsError, which quotes no login."""
    for name, value in options.items():
        if value is None or isinstance(value, str) or (name == "profile" and isinstance(value, Path)):
            continue
        shown = type(value).__name__ if name == "login" else f"{value!r:.60}"
        expected = {"login": "USER:PASSWORD", "allow_ports": 'text such as "443,5000-5010"'}
        raise SettingsError(f"{name}: {shown}; expected {expected.get(name, 'text')}")


def _overridden(
    profile: str | Path | None, persona: str | None, allow_ports: str | None, login: str | None
) -> Profile:
    """The profile, with the other options in place of what it says. Raises: SettingsError."""
    known = read_profile(Path(profile)) if profile is not None else Profile()
    access = known.access
    if allow_ports is not None:
        access = replace(access, allow_ports=parse_ports([allow_ports], "allow_ports"))
    user, colon, password = (login or "").partition(":")
    if login is not None and not (user and colon):
        raise SettingsError("login: expected USER:PASSWORD")
    if login is not None:
        known = replace(known, login=Login(Users({user: {SCRYPT: hash_password(password)}})))
    if persona is not None:
        known = replace(known, persona=load(persona, "persona"))
    return replace(known, access=access)


PROXY_OPTIONS = tuple(inspect.signature(Testbed.connect_proxy).parameters)[1:]
"""Names of connect_proxy's options."""
