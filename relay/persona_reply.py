"""What a persona says: a reply for each reason, and the head of what it forwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate

from relay.persona_words import GET, WIDER
from relay.refusal import LoginRefused, Refusal

_BY_ERROR = {
    "dns_error": "dns", "dns_timeout": "dns", "connection_refused": "refused",
    "connection_timeout": "timeout", "connection_terminated": "target-reset",
    "destination_ip_unroutable": "unroutable",
    "destination_ip_prohibited": "target-denied", "proxy_loop_detected": "loop",
}  # fmt: skip
# In the words of a failure, where the network is there and the host is not.
_NO_HOST = "(EHOSTUNREACH)"
_BY_STATUS = {407: "login", 408: "slow", 414: "too-long", 431: "too-large", 501: "method", 505: "version"}


@dataclass(frozen=True)
class PersonaRefusal(Refusal):
    """A refusal that knows its reason; "silence" and "close" have no reply.

    request: the head that was sent, for the reply to TRACE.
    """

    reason: str = ""
    request: str = ""


@dataclass(frozen=True)
class Reply:
    """What is sent for some reasons. An empty `status_line` sends nothing: the connection just ends.

    headers: `{date}`, `{length}`, and `{challenges}` for the fields of the login, are filled in.
    body: `{words}` are ours, `{request}` is the head of a TRACE. keeps: the connection goes on after it.
    """

    status_line: str
    headers: tuple[str, ...] = ()
    body: str = ""
    keeps: bool = False

    def wire(self, refusal: Refusal, *, with_body: bool = True) -> bytes:
        """The bytes."""
        if not self.status_line:
            return b""
        request = refusal.request if isinstance(refusal, PersonaRefusal) else ""
        text = self.body.format(words=_text(refusal.told or refusal.words), request=request)
        body = text.encode("latin-1", "replace")
        lines = [self.status_line]
        for header in self.headers:
            if header == "{challenges}":
                lines += [f"{name}: {value}" for name, value in refusal.fields]
            else:
                lines.append(header.format(date=formatdate(usegmt=True), length=len(body)))
        if "Transfer-Encoding: chunked" in self.headers:
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body if with_body else b"")


@dataclass(frozen=True)
class Forwarding:
    """The head of a reply that is passed on: `headers` are added, Date and Server where the origin has none.

    keeps: the client's connection goes on after it, where the request lets it.
    """

    headers: tuple[str, ...] = ()
    keeps: bool = True

    def added(self, present: set[bytes]) -> list[tuple[bytes, bytes]]:
        """The fields that it adds. Args: present: names that the origin sent, in lower case."""
        fields = []
        for header in self.headers:
            name, _, value = header.format(date=formatdate(usegmt=True)).encode("latin-1").partition(b": ")
            if name.lower() not in (b"date", b"server") or name.lower() not in present:
                fields.append((name, value))
        return fields


def reply_for(replies: Mapping[str, Reply], refusal: Refusal, *, is_connect: bool) -> Reply:
    """The reply for a refusal: that of its reason, or of the next wider one."""
    reason: str | None = reason_of(refusal)
    if reason == "close":
        return Reply("")
    reasons = []
    while reason is not None:
        reasons.append(reason)
        reason = WIDER.get(reason)
    wanted = reasons if is_connect else [*(GET + each for each in reasons), *reasons]
    return next((replies[each] for each in wanted if each in replies), replies["other"])


def reason_of(refusal: Refusal) -> str:
    """Why, in the words of a persona."""
    if isinstance(refusal, PersonaRefusal):
        return refusal.reason
    if refusal.error == "destination_ip_unroutable" and _NO_HOST in refusal.words:
        return "host-unreachable"
    if refusal.error in _BY_ERROR:
        return _BY_ERROR[refusal.error]
    if isinstance(refusal, LoginRefused):
        return "login-wrong" if refusal.was_wrong else "login"
    if refusal.error == "http_request_denied":
        return "port-denied" if refusal.words.startswith("port ") else "target-denied"
    return _BY_STATUS.get(refusal.status, "malformed" if refusal.status < 500 else "unreachable")


def _text(words: str) -> str:
    """Words of ours within HTML."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
