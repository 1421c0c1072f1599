"""The text to paste into a ticket, for whoever can mend it and was not there."""

from relay.diagnosis import Verdict
from relay.report import Told, facts_for_people, report

SHOWN = (
    "resolve",
    "connect",
    "tunnel",
    "ping",
    "other-port",
    "closed-port",
    "fake-200",
    "direct",
    "hops",
    "sizes",
)


@report("ticket")
def ticket(told: Told) -> str:
    """Who, where, when, what was seen, and what is asked for."""
    facts = facts_for_people(told)
    if told.diagnosis.verdict is Verdict.GOOD:
        return f"{told.headline} ({told.found.began}, {told.path})\n"
    cause = told.diagnosis.first
    lines = [f"To: {told.mender or 'the network team'}", f"Subject: {told.headline}", ""]
    lines += [told.sentence or f"We cannot reach {told.found.target}.", ""]
    via = f", through {' -> '.join(told.found.hops)}" if told.found.hops else ""
    lines += [
        f"When (UTC):   {told.found.began}",
        f"From:         {facts['source']}, a source port chosen by the system",
        f"To:           {told.found.target}, TCP{via}",
    ]
    if told.found.hops:
        lines.append(f"Proxy said:   {facts['own_words']}")
    lines += ["", "Seen:"]
    lines += [f"- {one.words}" for one in told.found.findings if one.is_answered and one.question in SHOWN]
    if cause is not None and len(told.diagnosis.causes) > 1:
        others = ", ".join(other.id for other in told.diagnosis.causes[1:])
        lines += ["", f"From our side this looks the same as: {others}."]
    if cause is not None and cause.teller:
        lines.append(f"What can tell: {cause.teller}")
    cause_id = cause.id if cause else "unknown"
    return "\n".join([*lines, "", f"(framework-relay, cause {cause_id})"]) + "\n"
