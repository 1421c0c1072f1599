"""Options of `relay check` for what is only asked on request, and what the settings have said."""

import argparse
from datetime import UTC, datetime
from typing import Any

from relay.check import Extras
from relay.commands.options import count, decided, file_name, is_sourced, seconds
from relay.dial import literal_addresses
from relay.failure import SettingsError
from relay.finding import Finding, Findings
from relay.given import given
from relay.proxy_source import Decision
from relay.route import MAX_PORT, Endpoint

HTTPS_PORT = 443


_TIMES = {
    "--idle": "leave connections alone for so long, then use them: finds idle timeouts",
    "--age": "use two connections steadily for so long: finds a longest life",
    "--load": "fill the line for so long: rate, losses, delay under load",
    "--watch": "check again each so many seconds until ended; judge all runs together",
}
_OTHERS = {
    "--control": ("HOST[:PORT]", "a host that is certainly allowed (port 443): is it this one, or all?"),
    "--address": ("ADDRESS", "the server's address as its administrator knows it"),
    "--source": ("ADDRESS", "the address that traffic should leave from"),
    "--resolver": ("ADDRESS", "another name server to compare with"),
    "--elsewhere": ("FILE", "a JSON report of another machine for this target"),
    "--journal": ("FILE|URL", "the journal of relay server: what has arrived? also with --from"),
}
_FLAGS = {
    "--try-proxy-header": "try a PROXY header before the packet; for your own server only",
    "--client-fails": "another client fails on this path: tell what only clients trip over",
}


def add_extras(parser: argparse.ArgumentParser) -> None:
    """What is asked beyond the usual questions."""
    more = parser.add_argument_group("on request")
    for name, words in _TIMES.items():
        more.add_argument(name, type=seconds, metavar="SECONDS", help=words)
    more.add_argument("--count", type=count, metavar="N", help="with --watch: end after N runs")
    for name, (metavar, words) in _OTHERS.items():
        more.add_argument(name, type=file_name if "FILE" in metavar else str, metavar=metavar, help=words)
    for name, words in _FLAGS.items():
        more.add_argument(name, action="store_true", help=words)


def extras_of(options: Any) -> Extras:
    """What was asked for. Raises: SettingsError."""
    return Extras(
        idle_seconds=options.idle or 0.0,
        age_seconds=options.age or 0.0,
        load_seconds=options.load or 0.0,
        control=_control(options.control),
        given_address=_literal(options.address, "--address"),
        source=_literal(options.source, "--source"),
        resolver=_literal(options.resolver, "--resolver"),
        proxy_header=options.try_proxy_header,
    )


def _control(text: str | None) -> Endpoint | None:
    if text is None:
        return None
    control = Endpoint.parse(text, "--control", HTTPS_PORT)
    if control.port == 0:
        raise SettingsError(f"--control: port 0 in {text[:80]!a}; expected 1 to {MAX_PORT}")
    return control


def _literal(text: str | None, what: str) -> str:
    if text is not None and literal_addresses(text, 0) is None:
        raise SettingsError(f"{what}: {text[:80]!a}; expected an IPv4 or IPv6 address")
    return text or ""


def decision_of(options: Any, target: Endpoint) -> tuple[Decision | None, Finding | None]:
    """What the environment or a PAC file says of this target, where -x asks it; and that as a finding.

    What it says may be no proxy at all: that is a fault of this machine to be told, and no wrong usage.
    """
    if not is_sourced(options):
        return None, None
    try:
        decision = decided(options, target)
    except SettingsError as error:
        return None, given("settings", "proxy-invalid", str(error))
    if decision.ways[0]:
        word = "pac" if decision.source == "pac" else "environment"
    elif decision.source == "pac":
        word = "pac-direct"
    else:
        word = "no-proxy-match" if decision.notes and " has " in decision.rule else "no-proxy"
    return decision, given("settings", word, decision.rule)


def alone(target: Endpoint, settings: Finding) -> Findings:
    """The record of a run that had to end before anything was sent."""
    began = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Findings(str(target), (), began, 0.0, 0, (settings,))
