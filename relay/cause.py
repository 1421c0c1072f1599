"""Cause: one row of the fault catalogue, as data. Reading the catalogue itself: relay.catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

Words = Mapping[str, frozenset[str]]
"""Which answers to a question: "connect" -> {"timed-out"}; "connect.sender" looks into its evidence."""

STAGES: Final = (
    "local", "resolve", "connect", "tls", "login", "proxy", "tunnel", "framework", "size", "time",
)  # fmt: skip
"""Where on the way, in the order in which one fault hides the next."""


class Severity(StrEnum):
    """FAULT breaks the path; NOTICE is worth knowing on a path that works."""

    FAULT = "fault"
    NOTICE = "notice"


class Distinguishable(StrEnum):
    """Who can tell this cause from those that look alike."""

    HERE = "here"
    PARTLY = "partly"
    ROOT = "with-root"
    SERVER = "at-the-server"
    FIREWALL = "firewall-log"
    PROXY = "proxy-log"
    OVER_TIME = "over-time"


@dataclass(frozen=True)
class Cause:
    """One thing that can be wrong.

    Attributes:
        shows: what must have been seen for this cause to be named; the first question is its symptom.
        predicts: what it also makes us see: another answer excludes it, no answer does not.
        contradicted_by: answers that cannot be, if this is the cause.
        mender: who can mend it. hint: what that person does. sentence: what to send, with {fields}.
        common: 1 rare to 3 frequent; only decides the order of causes that the evidence cannot tell apart.
        alike: ids that look the same from here. teller: who can tell them apart, and by what.
    """

    id: str
    title: str
    stage: str
    mender: str
    hint: str
    sentence: str
    severity: Severity = Severity.FAULT
    distinguishable: Distinguishable = Distinguishable.HERE
    shows: Words = field(default_factory=dict)
    predicts: Words = field(default_factory=dict)
    contradicted_by: Words = field(default_factory=dict)
    common: int = 1
    alike: tuple[str, ...] = ()
    teller: str = ""
    sources: tuple[str, ...] = ()

    @property
    def symptom(self) -> str | None:
        """The question whose answer brings this cause into play."""
        return next((key for key in self.shows if key != "route"), None)

    def allowed(self, question: str) -> frozenset[str] | None:
        """The answers that agree with this cause; None when it says nothing about the question."""
        found = [table[question] for table in (self.shows, self.predicts) if question in table]
        return frozenset.intersection(*found) if found else None
