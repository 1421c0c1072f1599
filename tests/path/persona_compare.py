"""Asks a proxy, or a persona of ours, all that the cases ask; many at a time."""

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from relay.access import Access
from relay.access_rule import Rule
from relay.dial import Address
from relay.login_gate import Login
from relay.lookups import Lookups
from relay.persona import Persona
from relay.stream import SocketStream
from relay.tunnel import connect
from relay.users import Users, hash_password
from tests.path.persona_cases import logins, requests
from tests.path.persona_seen import DIALOGUES, Client, Observed, observe
from tests.path.persona_targets import Lab, Targets
from tests.path.proxied import Proxied

AT_ONCE = 16
HEAD_SECONDS = 3.0
"""After so long a persona ends a silence, if it is one that does."""

PATIENCE_SECONDS = 40.0
"""For what comes; only a failure takes as long."""

STAYS_SECONDS = 6.0
"""Who has said nothing by then never does; a slow machine makes a wrong answer later, not right."""

LAB = Lab()
LOGIN_CASES = {*logins(LAB), "36_auth_retry_same_conn"}
CASES = (*requests(LAB), *logins(LAB), *DIALOGUES)

Seen = dict[str, dict[str, Any]]


@dataclass
class Addresses:
    """Where a proxy listens; with_login: where it wants one, None when it cannot."""

    plain: tuple[str, int]
    with_login: tuple[str, int] | None = None


def ask(
    where: Addresses, cases: Iterable[str], lab: Lab, targets: Targets, wanted: Mapping[str, Any],
    patience_seconds: float = PATIENCE_SECONDS,
) -> Seen:  # fmt: skip
    """What a client observes in each case. Args: wanted: says in which cases nothing is to be waited for."""
    single = {**requests(lab), **logins(lab)}

    def one(case: str) -> Observed:
        address = where.with_login if case in LOGIN_CASES else where.plain
        assert address is not None
        is_silent = wanted.get(case, {}).get("then") == "stays"
        seconds = STAYS_SECONDS if is_silent else patience_seconds
        # Who fails to log in has to wait, so each comes from an address of its own
        source = f"127.0.2.{CASES.index(case)}" if case in LOGIN_CASES else None
        with Client(address, seconds, source) as client:
            if case in DIALOGUES:
                return DIALOGUES[case](client, lab, targets)
            return observe(client, single[case], in_pieces=case == "98_split_head")

    cases = [case for case in cases if case not in LOGIN_CASES or where.with_login is not None]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {case: seen.as_dict() for case, seen in zip(cases, pool.map(one, cases), strict=True)}


@dataclass
class Policy:
    """What the original was told to refuse, and of whom it wants a login."""

    lab: Lab
    denies_ports: bool = True
    denies_host: bool = True
    denies_host_of_get: bool = True
    users: Users = field(default_factory=lambda: Users({}))

    @classmethod
    def of(cls, lab: Lab, wanted: Seen) -> "Policy":
        """As the answers of the original show."""

        def is_denied(case: str) -> bool:
            return case in wanted and wanted[case]["status_line"].split(" ")[1:2] in (["403"], ["418"])

        users = Users({lab.user: {"scrypt": hash_password(lab.password)}})
        return cls(
            lab, is_denied("10_port_denied"), is_denied("11_dest_denied"), is_denied("26_get_denied"), users
        )

    def access(self, *, by_user: bool = False) -> Access:
        """The rules. Args: by_user: the login comes behind them, for those who were not refused by then."""
        host = [self.lab.denied_name]
        rules = []
        if self.denies_host:
            rules.append(Rule.of({"method": ["CONNECT"], "host": host}, allows=False, words="the host"))
        if self.denies_host_of_get:
            rules.append(Rule.of({"method": ["GET"], "host": host}, allows=False, words="the host"))
        ports = Rule.of({"method": ["CONNECT"], "port": list(self.lab.ports)}, allows=True, words="")
        others = Rule.of({"method": ["CONNECT"]}, allows=False, words="port is not allowed")
        known = Rule.of({"user": [self.lab.user]}, allows=True, words="")
        if by_user:
            denied = [port for port in (self.lab.denied,) if self.denies_ports]
            refused = Rule.of({"port": denied}, allows=False, words="port is not allowed")
            return Access(rules=(*rules, *([refused] if denied else []), known), allow_others=False)
        return Access(rules=(*rules, *((ports, others) if self.denies_ports else ())))


@contextmanager
def personated(persona: Persona, policy: Policy) -> Iterator[Addresses]:
    """A proxy of ours with that persona, and one that wants a login."""
    login = Login(policy.users, before_access=persona.login_first)
    options = {"persona": persona, "head_timeout_seconds": HEAD_SECONDS}
    with ExitStack() as stack:
        plain = stack.enter_context(Proxied(access=policy.access(), **options))
        access = policy.access(by_user=not persona.login_first)
        known = stack.enter_context(Proxied(access=access, login=login, **options))
        yield Addresses(("127.0.0.1", plain.port), ("127.0.0.1", known.port))


NAMES = {
    "echo.test": "127.0.0.1", "echo.test.": "127.0.0.1", "denied.test": "127.0.0.1", "v6only.test": "::1",
    "blackhole.test": "198.51.100.66",
}  # fmt: skip
UNREACHABLE = {
    "198.51.100.66": errno.ETIMEDOUT,
    "203.0.113.1": errno.ENETUNREACH,
    "198.51.100.67": errno.EHOSTUNREACH,
    "198.51.100.68": errno.EHOSTUNREACH,
}


def as_in_the_lab(monkeypatch: pytest.MonkeyPatch, targets: Targets) -> None:
    """Give the proxies of this process the names and ports of the place where the originals were recorded."""
    ports = {getattr(LAB, name): port for name, port in targets.ports.items()}
    ports |= {443: targets.ports["echo"], LAB.denied: targets.ports["banner"]}

    async def look_up(lookups: Lookups, host: str, port: int) -> list[Address]:
        if host not in NAMES:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        family = socket.AF_INET6 if ":" in NAMES[host] else socket.AF_INET
        return [(family, (NAMES[host], port))]

    async def connect_there(address: Address, limit_seconds: float) -> SocketStream:
        family, (host, port, *rest) = address
        if number := UNREACHABLE.get(str(host)):
            raise OSError(number, os.strerror(number))
        return await connect((family, (host, ports.get(port, port), *rest)), limit_seconds)

    monkeypatch.setattr(Lookups, "look_up", look_up)
    monkeypatch.setattr("relay.dialler.connect", connect_there)


def differing(wanted: Seen, got: Seen) -> dict[str, tuple[Any, Any]]:
    """The cases in which they differ: wanted and got."""
    return {case: (seen, got.get(case)) for case, seen in wanted.items() if got.get(case) != seen}


