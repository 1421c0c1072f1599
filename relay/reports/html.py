"""One self-contained HTML file: no script, no font, no picture is fetched from anywhere."""

import json
from dataclasses import dataclass

from relay.catalogue import MENDERS
from relay.diagnosis import Verdict
from relay.finding import Finding
from relay.report import Told, document, facts_for_people, fill, report

NAME_CHARACTERS = 34
"""Of a box in the drawing; the whole name stands in its title."""

BOX_PITCH = 92
"""From the top of one box to the top of the next, in units of the drawing."""

BADGES = {Verdict.GOOD: "good", Verdict.BROKEN: "broken", Verdict.UNTESTED: "unknown"}
_PASSING = frozenset(
    ("literal", "found", "open", "opened", "answered", "all", "kept", "clean", "same", "quiet", "alive",
     "fine", "right", "works", "soon")
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One box of the path, and the line below it."""

    kind: str
    name: str
    title: str
    top: int
    is_broken: bool
    is_cut_after: bool
    is_reached: bool
    is_last: bool


@dataclass(frozen=True)
class Bar:
    """One question in the plot of times: offset and width in hundredths of the plot."""

    finding: Finding
    offset: float
    width: float
    look: str


@report("html")
def html(told: Told) -> str:
    """The page of relay/reports/page.html.j2; everything in it is escaped by the template engine."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("relay", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        told=told,
        badge=BADGES[told.diagnosis.verdict],
        parts=parts_of(told),
        pitch=BOX_PITCH,
        facts=facts_for_people(told),
        causes=[(cause, fill(cause.title, told), fill(cause.hint, told)) for cause in told.diagnosis.causes],
        menders=MENDERS,
        notices=[fill(cause.title, told) for cause in told.diagnosis.notices],
        bars=bars_of(told),
        evidence=[
            (one, json.dumps(dict(one.evidence), indent=2, ensure_ascii=False)) for one in told.found.findings
        ],
        raw=json.dumps(document(told), indent=2, ensure_ascii=False),
    )


def bars_of(told: Told) -> list[Bar]:
    """When each question was put, and for how long: what waits for what can be seen."""
    whole = max((one.began_seconds + one.seconds for one in told.found.findings), default=0.0) or 1.0
    return [
        Bar(one, 100 * one.began_seconds / whole, max(0.6, 100 * one.seconds / whole), look_of(one))
        for one in told.found.findings
        if one.question != "route"
    ]


def look_of(finding: Finding) -> str:
    """How an answer is coloured: "good", "told", or "not-asked"."""
    if not finding.is_answered:
        return "not-asked"
    return "good" if finding.outcome in _PASSING else "told"


def parts_of(told: Told) -> list[Part]:
    """The boxes of the drawing: where each stands, and which of them, or which line, is the broken one."""
    names = [
        ("client", "this machine"),
        *(("proxy", hop) for hop in told.found.hops),
        ("server", told.found.target),
    ]
    at = "client" if told.broken_at == "dns" else told.broken_at
    cause = told.diagnosis.first
    is_early = cause is None or cause.stage in ("local", "resolve", "connect", "tls")
    link = 0 if is_early else len(names) - 2
    made: list[Part] = []
    is_reached = True
    for index, (kind, name) in enumerate(names):
        is_broken = kind == at and (kind != "proxy" or index - 1 in told.suspects)
        is_cut = at == "way" and index == link
        is_long = len(name) > NAME_CHARACTERS
        shown = name[: NAME_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}" if is_long else name
        last = index == len(names) - 1
        made.append(Part(kind, shown, name, 8 + BOX_PITCH * index, is_broken, is_cut, is_reached, last))
        is_last_suspect = kind != "proxy" or index - 1 == told.suspects[-1]
        is_reached = is_reached and not (is_broken and is_last_suspect) and not is_cut
    return made
