"""The text to paste into a ticket, for whoever can mend it and was not there."""

from relay.diagnosis import Verdict
from relay.report import Told, facts_for_people, fill, report

SHOWN = (
    "resolve", "connect", "tunnel", "ping", "other-port", "closed-port", "fake-200", "direct", "hops",
    "sizes", "distance", "source-ports", "variant", "volume", "path-size", "listen", "tls-hello",
    "http-get", "issuer", "other-host", "by-address", "server-record", "idle", "idle-limit", "age",
    "load", "nameserver",
)  # fmt: skip
TRIVIAL = frozenset({("resolve", "literal"), ("listen", "quiet"), ("http-get", "quiet")})
"""What is as it should be, and tells a stranger nothing."""


@report("ticket")
def ticket(told: Told) -> str:
    """Who, where, when, what was seen, and what is asked for."""
    facts = facts_for_people(told)
    if told.diagnosis.verdict is Verdict.GOOD:
        return f"{told.headline} ({told.found.began}, {told.path})\n"
    cause = told.diagnosis.first
    lines = [f"To: {_reader(told)}", f"Subject: {told.headline}", ""]
    lines += [told.sentence or f"We cannot reach {told.found.target}.", ""]
    lines += [
        f"When (UTC):   {told.found.began}",
        f"From:         {facts['source']}, TCP port {facts['source_port']} (each connection has another one)",
    ]
    if told.found.hops:
        lines.append(f"Through:      {' -> '.join(told.found.hops)} (address {facts['address']})")
    lines.append(f"To:           {_destination(told, facts['address'])}")
    if told.found.hops:
        lines.append(f"Proxy said:   {facts['own_words']}")
    if cause is not None:
        lines.append(f"Asked for:    {fill(cause.hint, told)}")
    lines += ["", "Seen:", *_seen(told)]
    if cause is not None and len(told.diagnosis.causes) > 1:
        others = ", ".join(other.id for other in told.diagnosis.causes[1:])
        lines += ["", f"From our side this looks the same as: {others}."]
    if cause is not None and cause.teller:
        lines.append(f"What can tell: {cause.teller}")
    cause_id = cause.id if cause else "unknown"
    return "\n".join([*lines, "", f"(framework-relay, cause {cause_id})"]) + "\n"


def _reader(told: Told) -> str:
    """Whoever gets it: it is sent away, so "you" would be its reader there."""
    cause = told.diagnosis.first
    if cause is not None and cause.mender == "you":
        return "whoever looks after my machine"
    return told.mender or "the network team"


def _destination(told: Told, address: str) -> str:
    host = told.found.target.rpartition(":")[0].strip("[]")
    shown = "" if told.found.hops or address in (host, "") else f" (address {address})"
    return f"{told.found.target}, TCP{shown}"


def _seen(told: Told) -> list[str]:
    return [
        f"- {one.question}: {one.words}"
        for one in told.found.findings
        if one.is_answered and one.question in SHOWN and (one.question, one.outcome) not in TRIVIAL
    ]
