"""Persona: how another proxy talks, as data (relay/profiles/NAME.toml, docs/personas.md)."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from importlib.resources import files
from typing import Any

from relay.failure import SettingsError
from relay.fault_rule import FaultRule, rule_from_table
from relay.persona_reply import Forwarding, Reply, reason_of, reply_for
from relay.persona_words import DEFAULT_HABITS, GET, LIMITS, ODDITIES, REASONS, RESET, VERDICTS
from relay.refusal import Refusal

_FOLDER = files("relay") / "profiles"
_REPLY_KEYS = {"reasons", "status_line", "headers", "body", "keeps"}
_FORWARDED_KEYS = {"headers", "keeps"}
_KEYS = {"summary", "source", "established", "forwarded", "limits", "habits", "reply", "fault", "notes",
         "login_first"}  # fmt: skip


@dataclass(frozen=True)
class Persona:
    """One proxy. habits: oddity of a request -> one of VERDICTS. forwarded: None passes replies on as we do.

    login_first: it asks for a login before it looks at the target.
    """

    name: str
    summary: str
    source: str
    established: str
    habits: Mapping[str, str]
    replies: Mapping[str, Reply]
    faults: tuple[FaultRule, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    follows_version: bool = False
    forwarded: Forwarding | None = None
    login_first: bool = True

    def established_for(self, version: tuple[int, int]) -> bytes:
        """The reply to a CONNECT of that version, when the target is reached."""
        text = self.established.format(date=formatdate(usegmt=True))
        if self.follows_version:
            text = f"HTTP/{version[0]}.{version[1]}{text[len('HTTP/1.1') :]}"
        return text.encode("latin-1")

    def reply(self, refusal: Refusal, *, is_connect: bool = True) -> Reply:
        """The reply for a refusal; a target that resets at once was reached, as most see it."""
        if is_connect and reason_of(refusal) == RESET and RESET not in self.replies:
            status_line, *headers = self.established.split("\r\n")[:-2]
            return Reply(status_line, tuple(headers))
        return reply_for(self.replies, refusal, is_connect=is_connect)


def names() -> list[str]:
    """All personas."""
    found = (path.name for path in _FOLDER.iterdir())
    return sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml"))


def load(name: str, where: str = "--persona") -> Persona:
    """The persona of that name. Raises: SettingsError."""
    if name not in names():
        raise SettingsError(f"{where}: there is no {name[:80]!r}; expected one of {', '.join(names())}")
    text = (_FOLDER / f"{name}.toml").read_text("utf-8")
    return parse(text, name)


def parse(text: str, name: str) -> Persona:
    """Read a persona. Raises: SettingsError that names file, key, and what was expected."""
    where = f"persona {name}"
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where}: {error}") from None
    for key in table.keys() - _KEYS:
        raise SettingsError(f"{where}: unknown key {key!r}; expected {', '.join(sorted(_KEYS))}")
    replies = {}
    for number, entry in enumerate(table.get("reply", ()), 1):
        reply = _reply(entry, f"{where}: reply {number}")
        for reason in entry["reasons"]:
            if reason.removeprefix(GET) not in REASONS:
                known = ", ".join(sorted(REASONS))
                raise SettingsError(f"{where}: {reason!r}; expected one of {known}, or get- and one")
            replies[reason] = reply
    if "other" not in replies:
        raise SettingsError(f"{where}: no reply has the reason 'other', which every persona needs")
    return Persona(
        name, table.get("summary", ""), table.get("source", ""), _established(table.get("established", {})),
        _habits(table.get("habits", {}), where), replies,
        tuple(rule_from_table(entry, f"{where}: fault") for entry in table.get("fault", ())),
        _limits(table.get("limits", {}), where), bool(table.get("established", {}).get("follows_version")),
        _forwarded(table["forwarded"], f"{where}: forwarded") if "forwarded" in table else None,
        bool(table.get("login_first", True)),
    )  # fmt: skip


def _reply(entry: Mapping[str, Any], where: str) -> Reply:
    for key in entry.keys() - _REPLY_KEYS:
        raise SettingsError(f"{where}: unknown key {key!r}; expected {', '.join(sorted(_REPLY_KEYS))}")
    if not entry.get("reasons"):
        raise SettingsError(f"{where}: reasons is missing")
    status_line, *headers = _lines([entry.get("status_line", ""), *entry.get("headers", ())], where)
    return Reply(status_line, tuple(headers), entry.get("body", ""), bool(entry.get("keeps", False)))


def _forwarded(entry: Mapping[str, Any], where: str) -> Forwarding:
    for key in entry.keys() - _FORWARDED_KEYS:
        raise SettingsError(f"{where}: unknown key {key!r}; expected {', '.join(sorted(_FORWARDED_KEYS))}")
    return Forwarding(tuple(_lines(entry.get("headers", ()), where)), bool(entry.get("keeps", True)))


def _lines(lines: Sequence[Any], where: str) -> list[str]:
    if any(not isinstance(line, str) or not line.isprintable() for line in lines):
        raise SettingsError(f"{where}: expected lines of printable text")
    return list(lines)


def _limits(table: Mapping[str, Any], where: str) -> dict[str, int]:
    for name, value in table.items():
        if name not in LIMITS or type(value) is not int or value < 1:
            raise SettingsError(f"{where}: limits.{name} = {value!r}; expected {', '.join(LIMITS)}, from 1")
    return dict(table)


def _established(entry: Mapping[str, Any]) -> str:
    line = entry.get("status_line", "HTTP/1.1 200 Connection established")
    return "\r\n".join([line, *entry.get("headers", ()), "", ""])


def _habits(table: Mapping[str, str], where: str) -> dict[str, str]:
    for oddity, verdict in table.items():
        if oddity not in ODDITIES or verdict not in VERDICTS:
            raise SettingsError(f"{where}: habits.{oddity} = {verdict!r} is not known (docs/personas.md)")
    return {**DEFAULT_HABITS, **table}
