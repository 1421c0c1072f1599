"""Persona: how another proxy talks, as data (relay/profiles/NAME.toml, docs/personas.md)."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from importlib.resources import files
from typing import Any

from relay.failure import SettingsError
from relay.fault_rule import FaultRule, rule_from_table
from relay.refusal import LoginRefused, Refusal

_FOLDER = files("relay") / "profiles"
# Whoever has no reply for a reason answers with that of the next wider one.
WIDER = {
    "port-denied": "denied", "target-denied": "denied", "loop": "denied",
    "dns": "unreachable", "refused": "unreachable", "timeout": "unreachable", "unroutable": "unreachable",
    "login-wrong": "login", "invalid-target": "malformed", "not-http": "malformed", "too-large": "malformed",
    "too-long": "malformed", "version": "malformed", "method": "malformed", "slow": "malformed",
    "denied": "other", "unreachable": "other", "login": "other", "malformed": "other",
}  # fmt: skip
_BY_ERROR = {
    "dns_error": "dns", "dns_timeout": "dns", "connection_refused": "refused",
    "connection_timeout": "timeout", "destination_ip_unroutable": "unroutable",
    "destination_ip_prohibited": "target-denied", "proxy_loop_detected": "loop",
}  # fmt: skip
_BY_STATUS = {407: "login", 408: "slow", 414: "too-long", 431: "too-large", 501: "method", 505: "version"}
_REPLY_KEYS = {"reasons", "status_line", "headers", "body", "keeps"}
_KEYS = {"summary", "source", "established", "limits", "habits", "reply", "fault", "notes"}


@dataclass(frozen=True)
class PersonaRefusal(Refusal):
    """A refusal that knows its reason; "silence" and "close" have no reply."""

    reason: str = ""


@dataclass(frozen=True)
class Reply:
    """What is sent for some reasons. An empty `status_line` sends nothing: the connection just ends.

    headers: `{date}`, `{length}`, and `{challenges}` for the fields of the login, are filled in.
    keeps: the connection goes on after it.
    """

    status_line: str
    headers: tuple[str, ...] = ()
    body: str = ""
    keeps: bool = False

    def wire(self, refusal: Refusal, *, with_body: bool = True) -> bytes:
        """The bytes."""
        if not self.status_line:
            return b""
        body = self.body.format(words=_text(refusal.told or refusal.words)).encode()
        lines = [self.status_line]
        for header in self.headers:
            if header == "{challenges}":
                lines += [f"{name}: {value}" for name, value in refusal.fields]
            else:
                lines.append(header.format(date=formatdate(usegmt=True), length=len(body)))
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body if with_body else b"")


@dataclass(frozen=True)
class Persona:
    """One proxy. habits: oddity of a request -> accept, silence, close, 443, wrap, or a reason to refuse."""

    name: str
    summary: str
    source: str
    established: str
    habits: Mapping[str, str]
    replies: Mapping[str, Reply]
    faults: tuple[FaultRule, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    follows_version: bool = False

    def established_for(self, version: tuple[int, int]) -> bytes:
        """The reply to a CONNECT of that version, when the target is reached."""
        text = self.established.format(date=formatdate(usegmt=True))
        if self.follows_version:
            text = f"HTTP/{version[0]}.{version[1]}{text[len('HTTP/1.1') :]}"
        return text.encode("latin-1")

    def reply(self, refusal: Refusal) -> Reply:
        """The reply for a refusal."""
        reason: str | None = reason_of(refusal)
        if reason == "close":
            return Reply("")
        while reason is not None and reason not in self.replies:
            reason = WIDER.get(reason)
        return self.replies[reason or "other"]


def reason_of(refusal: Refusal) -> str:
    """Why, in the words of a persona."""
    if isinstance(refusal, PersonaRefusal):
        return refusal.reason
    if refusal.error in _BY_ERROR:
        return _BY_ERROR[refusal.error]
    if isinstance(refusal, LoginRefused):
        return "login-wrong" if refusal.was_wrong else "login"
    if refusal.error == "http_request_denied":
        return "port-denied" if refusal.words.startswith("port ") else "target-denied"
    return _BY_STATUS.get(refusal.status, "malformed" if refusal.status < 500 else "unreachable")


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
            if reason != "other" and reason not in WIDER:
                raise SettingsError(f"{where}: {reason!r}; expected other, {', '.join(WIDER)}")
            replies[reason] = reply
    if "other" not in replies:
        raise SettingsError(f"{where}: no reply has the reason 'other', which every persona needs")
    return Persona(
        name, table.get("summary", ""), table.get("source", ""), _established(table.get("established", {})),
        _habits(table.get("habits", {}), where), replies,
        tuple(rule_from_table(entry, f"{where}: fault") for entry in table.get("fault", ())),
        _limits(table.get("limits", {}), where), bool(table.get("established", {}).get("follows_version")),
    )  # fmt: skip


def _reply(entry: Mapping[str, Any], where: str) -> Reply:
    for key in entry.keys() - _REPLY_KEYS:
        raise SettingsError(f"{where}: unknown key {key!r}; expected {', '.join(sorted(_REPLY_KEYS))}")
    if not entry.get("reasons"):
        raise SettingsError(f"{where}: reasons is missing")
    lines = [entry.get("status_line", ""), *entry.get("headers", ())]
    if any(not isinstance(line, str) or not line.isprintable() for line in lines):
        raise SettingsError(f"{where}: expected lines of printable text")
    return Reply(lines[0], tuple(lines[1:]), entry.get("body", ""), bool(entry.get("keeps", False)))


def _limits(table: Mapping[str, Any], where: str) -> dict[str, int]:
    for name, value in table.items():
        if name not in LIMITS or type(value) is not int or value < 1:
            raise SettingsError(f"{where}: limits.{name} = {value!r}; expected {', '.join(LIMITS)}, from 1")
    return dict(table)


def _established(entry: Mapping[str, Any]) -> str:
    line = entry.get("status_line", "HTTP/1.1 200 Connection established")
    return "\r\n".join([line, *entry.get("headers", ()), "", ""])


def _habits(table: Mapping[str, str], where: str) -> dict[str, str]:
    verdicts = {"accept", "silence", "close", "443", "wrap", *WIDER}
    for oddity, verdict in table.items():
        if oddity not in ODDITIES or verdict not in verdicts:
            raise SettingsError(f"{where}: habits.{oddity} = {verdict!r} is not known (docs/personas.md)")
    return {**DEFAULT_HABITS, **table}


def _text(words: str) -> str:
    """Words of ours within HTML."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


LIMITS = ("head_bytes", "field_bytes", "fields", "target_bytes")
ODDITIES = {
    "absolute_uri": "CONNECT http://host:port/",
    "bad_version": "HTTP/9.9",
    "bad_name": "a name that no resolver can look up",
    "bare_ipv6": "CONNECT ::1:5000, without brackets",
    "binary": "the first bytes are no HTTP",
    "body": "CONNECT with Content-Length or Transfer-Encoding",
    "early_data": "bytes in the same segment as the head",
    "empty_port": "CONNECT host:",
    "empty_target": "CONNECT HTTP/1.1, with two spaces",
    "h2_preface": "the preface of HTTP/2",
    "leading_crlf": "an empty line before the request line",
    "lf_only": "lines that end with LF alone",
    "long_target": "a target beyond limits.target_bytes",
    "lower_method": "connect in lower case",
    "many_fields": "more fields than limits.fields",
    "no_colon": "a header line without a colon",
    "no_host": "HTTP/1.1 without Host",
    "no_port": "CONNECT host",
    "no_version": "CONNECT host:port, without a version",
    "nul": "a NUL in a header value",
    "odd_address": "0x7f000001",
    "path": "CONNECT host:port/path",
    "port_0": "port 0",
    "port_negative": "port -1",
    "port_over": "a port beyond 65535",
    "port_word": "port abc",
    "proxy_protocol": "a line of the PROXY protocol before the request",
    "short_address": "127.1",
    "space_before_colon": "Host : x",
    "tls": "a TLS ClientHello",
    "two_hosts": "more than one Host",
    "unknown_method": "a method that is not known",
    "userinfo": "CONNECT user:password@host:port",
}  # fmt: skip
DEFAULT_HABITS = {
    **dict.fromkeys(ODDITIES, "malformed"),
    **dict.fromkeys(("early_data", "two_hosts", "body", "odd_address", "no_host", "short_address"), "accept"),
    "bad_name": "dns", "bad_version": "version", "unknown_method": "method", "long_target": "too-long",
    "many_fields": "too-large", "tls": "not-http", "binary": "not-http",
}  # fmt: skip
