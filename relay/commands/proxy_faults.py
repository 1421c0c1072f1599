"""Options of `relay proxy` for faults."""

import argparse
import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from relay.commands.running import say
from relay.failure import SettingsError
from relay.fault_plan import FaultPlan
from relay.fault_rule import FaultRule, rule_from_text
from relay.faults import FAULTS
from relay.listening import is_public
from relay.route import Endpoint

if TYPE_CHECKING:
    from relay.commands.proxy_service import ProxyService

DEFAULT_API = "127.0.0.1:8474"
MAX_SEED = 2**63 - 1


def add_fault_options(parser: argparse.ArgumentParser) -> None:
    """--fault, --fault-seed, --toxiproxy-api."""
    group = parser.add_argument_group("faults", "what a bad network does to tunnels (docs/faults.md)")
    group.add_argument(
        "--fault", action="append", default=[], metavar="NAME:KEY=VALUE,...",
        help="a fault for every tunnel, or those that target=, user=, client=, nth= choose, as in "
        f"latency:seconds=0.2; repeat for more. Names: {', '.join(FAULTS)}",
    )  # fmt: skip
    group.add_argument(
        "--fault-seed", metavar="NUMBER",
        help="the same number makes the same faults again (default: a random one, which is told)",
    )  # fmt: skip
    group.add_argument(
        "--toxiproxy-api", nargs="?", const=DEFAULT_API, metavar="HOST:PORT",
        help=f"be driven by toxiproxy's clients, through its HTTP API there (default {DEFAULT_API})",
    )  # fmt: skip


def rules_of(options: argparse.Namespace) -> tuple[FaultRule, ...]:
    """The rules of --fault. Raises: SettingsError."""
    return tuple(rule_from_text(text) for text in options.fault)


def plan_of(rules: Sequence[FaultRule], options: argparse.Namespace, program: str) -> FaultPlan | None:
    """The plan of a proxy with these rules; None where there can be no faults. Raises: SettingsError."""
    _check_api(options)
    plan = FaultPlan(rules, _seed(options.fault_seed))
    if not rules:
        # The API may bring some while the proxy runs
        return plan if options.toxiproxy_api is not None else None
    say(program, f"faults: {', '.join(rule.fault.name for rule in rules)} (--fault-seed {plan.seed})")
    return plan


class Controlled:
    """The CONNECT proxy together with the API that changes it while it runs."""

    def __init__(self, service: "ProxyService", listen: Endpoint, program: str) -> None:
        self._service = service
        self._listen = listen
        self._program = program
        self._stack = contextlib.AsyncExitStack()

    @property
    def endpoints(self) -> list[str]:
        """Where the proxy listens."""
        return self._service.endpoints

    async def __aenter__(self) -> Self:
        from relay.toxiproxy_api import ToxiproxyApi

        async with contextlib.AsyncExitStack() as stack:
            service = await stack.enter_async_context(self._service)
            try:
                api = await stack.enter_async_context(ToxiproxyApi(service.proxy, self._listen))
            except OSError as error:
                raise SettingsError(f"--toxiproxy-api: {error.strerror or error}") from None
            say(self._program, f"toxiproxy API on http://{api.endpoint}")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


def controlled(
    service: "ProxyService", options: argparse.Namespace, program: str
) -> "ProxyService | Controlled":
    """The service, with the API of --toxiproxy-api if there is to be one. Raises: SettingsError."""
    if options.toxiproxy_api is None:
        return service
    listen = Endpoint.parse(options.toxiproxy_api, "--toxiproxy-api")
    if is_public(listen):
        say(program, f"warning: whoever reaches {listen} can change this proxy and listen on this machine")
    return Controlled(service, listen, program)


def _check_api(options: argparse.Namespace) -> None:
    """Before anything listens. Raises: SettingsError."""
    if options.toxiproxy_api is None:
        return
    Endpoint.parse(options.toxiproxy_api, "--toxiproxy-api")
    if options.workers > 1:
        raise SettingsError("--toxiproxy-api: one API cannot change several workers; expected --workers 1")


def _seed(text: str | None) -> int | None:
    if text is None:
        return None
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_SEED))
    if not is_number or int(text) > MAX_SEED:
        raise SettingsError(f"--fault-seed: {text[:40]!r}; expected a whole number from 0 to {MAX_SEED}")
    return int(text)
