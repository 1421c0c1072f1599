"""Report: a diagnosis told in one form; and the words that all forms share."""

import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from relay import __version__
from relay.catalogue import MENDERS
from relay.cause import Cause
from relay.diagnosis import Diagnosis, Verdict, as_dict
from relay.finding import Finding, Findings

_ONE_OF: Final = "one of the proxies"

SCHEMA_VERSION: Final = 1
"""Of the JSON report (docs/check.schema.json)."""


@dataclass(frozen=True)
class Told:
    """One checked path and what it means: what every report is made from."""

    found: Findings
    diagnosis: Diagnosis

    @property
    def path(self) -> str:
        """The way, for people."""
        return " -> ".join(["this machine", *self.found.hops, self.found.target])

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        if self.diagnosis.verdict is Verdict.GOOD:
            return f"Framework packets get through to {self.found.target}."
        if self.diagnosis.verdict is Verdict.UNTESTED:
            return f"Nothing can be said about {self.found.target}: {self._last_words()}"
        if self.diagnosis.first is not None:
            return fill(self.diagnosis.first.title, self)
        return f"The path to {self.found.target} is broken; no known cause fits: {self._last_words()}"

    def _last_words(self) -> str:
        finding = self.diagnosis.unexplained or (self.found.findings[-1] if self.found.findings else None)
        return finding.words if finding else "no check could be made"

    @property
    def broken_at(self) -> str:
        """The part of the path that is marked: "client", "dns", "way", "proxy", "server", or ""."""
        cause = self.diagnosis.first
        if self.diagnosis.verdict is not Verdict.BROKEN:
            return ""
        if cause is None:
            return "way"
        parts = {"you": "client", "dns": "dns", "proxy": "proxy", "server": "server"}
        return parts.get(cause.mender, "way")

    @property
    def suspects(self) -> tuple[int, ...]:
        """Which proxies of a chain it may be about, counted from 0: the one that has refused, or all that
        carry the tunnel once it is open: nobody can tell from outside which of them does what is seen.
        """
        hops, tunnel = range(len(self.found.hops)), self.found.of("tunnel")
        for finding in (self.found.of("ping"), tunnel):
            hop = finding.evidence.get("hop") if finding is not None else None
            if isinstance(hop, int) and hop in hops:
                return (hop,)
        return tuple(hops if tunnel is not None and tunnel.outcome == "opened" else hops[:1])

    @property
    def sentence(self) -> str:
        """What to send to whoever can mend it, ready to paste; "" when nothing is broken."""
        cause = self.diagnosis.first
        return fill(cause.sentence, self) if cause is not None else ""

    @property
    def mender(self) -> str:
        """Who can mend it."""
        return MENDERS[self.diagnosis.first.mender] if self.diagnosis.first is not None else ""


Write = Callable[[Told], str]
REPORTS: dict[str, Write] = {}
"""Every form of report by its name; filled when relay.reports is imported."""


def report(name: str) -> Callable[[Write], Write]:
    """Enter a form of report into the catalogue."""

    def enter(write: Write) -> Write:
        REPORTS[name] = write
        return write

    return enter


def facts_for_people(told: Told) -> dict[str, str]:
    """The fields that the sentences of the catalogue may use."""
    found = told.found
    host, _, port = found.target.rpartition(":")
    seen = {finding.question: finding for finding in found.findings if finding.is_answered}
    connect, tunnel, ping = seen.get("connect"), seen.get("tunnel"), seen.get("ping")
    last = told.suspects[-1] if told.suspects else 0
    source = _evidence(connect, "local") or "this machine"
    return {
        "target": found.target,
        "host": host.strip("[]"),
        "port": port,
        "proxy": _proxy(told),
        "next_proxy": found.hops[last + 1] if last + 1 < len(found.hops) else "the next proxy",
        "way": " and ".join(found.hops) or "the proxy",
        "first": found.hops[0] if found.hops else found.target,
        "source": source,
        "address": _evidence(connect, "address") or host.strip("[]"),
        "sender": _evidence(connect, "sender_address") or "unknown",
        "time": found.began,
        "says_that": _says_that(tunnel),
        "own_words": _own_words(tunnel) or "no words of its own",
        "refusal": _evidence(ping, "refusal") or "no words of its own",
        "location": _evidence(tunnel, "location") or "a page that it did not name",
        "schemes": _listed(tunnel, "schemes") or "none",
        "looks_like": _evidence(ping, "looks_like") or "something else",
        "tunnel_detail": _evidence(tunnel, "detail") or "no words of its own",
        "http_words": seen["http-get"].words if "http-get" in seen else "something else",
        "first_bytes": _evidence(ping, "first_bytes") or "nothing",
        "last_router": _evidence(seen.get("hops"), "last_address") or "unknown",
        "passed_bytes": _passed(seen.get("sizes")),
        "idle_seconds": _idle_seconds(seen),
        "source_port": _evidence(connect, "local_port") or "chosen by the system",
        "distance": seen["distance"].words if "distance" in seen else "Its distance is not known",
        "name": _evidence(seen.get("resolve"), "host") or host,
        "resolved": _listed(seen["resolve"], "addresses") if "resolve" in seen else "unknown",
    }


def fill(template: str, told: Told) -> str:
    """Put what was seen into the {fields} of a text of the catalogue. Raises: KeyError for another field."""
    facts = facts_for_people(told)
    filled = re.sub(r"\{([a-z_]+)\}", lambda match: facts[match[1]], template)
    # A proxy's URL is not to be changed
    return f"O{filled[1:]}" if filled.startswith(_ONE_OF) else filled


def _proxy(told: Told) -> str:
    names = [told.found.hops[index] for index in told.suspects]
    return f"{_ONE_OF} {', '.join(names)}" if len(names) > 1 else names[0] if names else "the proxy"


def _says_that(tunnel: Finding | None) -> str:
    """What is only possible has not been said."""
    is_open = tunnel is not None and tunnel.outcome in ("gateway-failed", "cannot-forward")
    return "cannot connect, perhaps because" if is_open else "reports that"


def _listed(finding: Finding | None, key: str) -> str:
    return ", ".join(finding.evidence.get(key) or []) if finding is not None else ""


def _evidence(finding: Finding | None, key: str) -> str:
    value = finding.evidence.get(key) if finding is not None else None
    return "" if value is None else str(value)


def _own_words(tunnel: Finding | None) -> str:
    status, words = _evidence(tunnel, "status"), _evidence(tunnel, "own_words")
    return ", ".join(part for part in (f"status {status}" if status else "", words) if part)


def _idle_seconds(seen: Mapping[str, Finding]) -> str:
    """How long a rest may be: as long as it was until the end came, or as bisection has found."""
    idle, limit = seen.get("idle"), seen.get("idle-limit")
    value = limit.evidence.get("most_seconds") if limit is not None else None
    if idle is not None and (idle.outcome == "closed" or value is None):
        value = idle.evidence.get("lasted_seconds")
    return f"{value:.3g}" if isinstance(value, int | float) else "some"


def _passed(sizes: Finding | None) -> str:
    if sizes is None:
        return "unknown"
    stalled = sizes.outcome.removesuffix("-stalls")
    ways = [sizes.evidence.get(way) for way in ((stalled,) if stalled in ("up", "down") else ("up", "down"))]
    known = [int(way.get("passed_bytes", 0)) for way in ways if isinstance(way, Mapping)]
    return str(min(known, default=0))


def document(told: Told) -> dict[str, Any]:
    """All of it for machines (docs/check.schema.json)."""
    judged = as_dict(told.diagnosis)
    for row in (*judged["causes"], *judged["notices"]):
        row |= {key: fill(row[key], told) for key in ("title", "hint")}
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": f"framework-relay {__version__}",
        "system": f"{platform.system()} {platform.release()}",
        "record": told.found.as_dict(),
        "diagnosis": {
            **judged,
            "headline": told.headline,
            "mender": told.mender,
            "sentence": told.sentence,
        },
    }


def cause_lines(cause: Cause, told: Told) -> list[str]:
    """A cause for people: what, who, how."""
    return [
        f"{cause.id}: {fill(cause.title, told)}",
        f"who: {MENDERS[cause.mender]}",
        f"do: {fill(cause.hint, told)}",
    ]
