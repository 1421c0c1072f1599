"""What the refusal of a proxy means, in our words, with its own words behind them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from relay.failure import Failure, ProxyRefused, Reason, Stage
from relay.hop_evidence import answered, redacted, without_secrets
from relay.route import Hop

if TYPE_CHECKING:
    from protocol.connect import ConnectHandshake, Reply

MAX_QUOTE_CHARACTERS = 320
# What servers take by default: 8 KiB of a field or a head (Apache, nginx). Below, it is not the size.
LARGE_HEAD_BYTES = 8_000
TURNED_AWAY = "turned away at its first message"
"""NTLM whose challenge did not come: each of its messages has met another connection, most often."""

_MEANINGS = {
    400: "it does not understand the request, as a web server does not",
    404: "it knows no such place: a web server, or a proxy that cannot resolve the name",
    413: "the request is too long for it",
    414: "the request is too long for it",
    431: "the head of the request is too long for it",
}


def refused(
    reply: "Reply", shake: "ConnectHandshake", hop: Hop, target: str, index: int, head_bytes: int
) -> ProxyRefused:
    """The error for a reply outside 2xx, without any secret that the proxy repeated.

    Args: head_bytes: of the request that was refused.
    """
    reply = without_secrets(reply, hop)
    failure = _failure(reply, shake, hop, target, index, head_bytes)
    failure = replace(failure, detail=redacted(failure.detail, hop), reply=answered(reply, hop))
    return ProxyRefused(failure, reply.status, reply.headers, reply.body)


def _failure(
    reply: "Reply", shake: "ConnectHandshake", hop: Hop, target: str, index: int, head_bytes: int
) -> Failure:
    stage, status = Stage.PROXY, reply.status
    if status == 407 or (status == 401 and shake.credentials_sent):
        stage = Stage.LOGIN
        if shake.refused_credentials:
            reason, words = Reason.LOGIN_REFUSED, _refused_words(shake)
        else:
            reason, words = Reason.LOGIN_REQUIRED, "it wants a login" + _offers(reply, hop)
        words += "".join(f"; {obstacle}" for obstacle in shake.login.obstacles)
    elif status in (400, 413, 431) and shake.credentials_sent and head_bytes > LARGE_HEAD_BYTES:
        stage, reason = Stage.LOGIN, Reason.DENIED
        words = f"it takes no head of {head_bytes} bytes, most of them the {shake.scheme_name} login"
    elif 300 <= status < 400:
        where = _clean(reply.header("location") or "nowhere")
        reason, words = Reason.REDIRECTED, f"it redirects to {where}, a login or consent page perhaps"
    elif status in (405, 501):
        reason, words = Reason.NO_CONNECT, "it does not do CONNECT: a web server, or CONNECT is off"
    elif status == 429:
        reason, words = Reason.DENIED, "it wants us to wait: too many requests, or failed logins"
    elif status == 511:  # RFC 6585 section 6
        reason, words = Reason.PORTAL, "this network wants a login first, on a page of its own"
    elif status >= 500:
        reason, words = Reason.GATEWAY, "it could not reach the target, or failed itself"
    else:
        reason, words = Reason.DENIED, _MEANINGS.get(status, "its policy does not allow it")
    evidence = _own_words(reply)
    detail = f"answered {status} {_clean(reply.reason)}".rstrip() + f" to CONNECT {target}: {words}"
    return Failure(stage, reason, str(hop), detail + (f" ({evidence})" if evidence else ""), index)


def _refused_words(shake: "ConnectHandshake") -> str:
    scheme = shake.login.scheme
    if shake.scheme_name == "Negotiate" and shake.login.mechanism == "kerberos":
        return "the Kerberos ticket was not accepted"
    if scheme is not None and scheme.connection_bound and not scheme.has_said_secret:
        return f"the {scheme.name} login was {TURNED_AWAY}, and the password was not looked at"
    return "user or password were not accepted"


def _offers(reply: "Reply", hop: Hop) -> str:
    offered = _offered(reply.all("proxy-authenticate"))
    if not offered:
        return " but offers no way to log in"
    words = f", offered: {', '.join(map(_clean, offered))}"
    if hop.password is not None and not {name.lower() for name in offered} & set(hop.login.schemes):
        words += f"; may be used (--proxy-auth): {', '.join(hop.login.schemes)}"
    return words


def _offered(fields: Sequence[str]) -> list[str]:
    """The names of the schemes, each once: a field may hold several challenges."""
    from protocol.errors import AuthMalformed
    from protocol.scheme import parse_challenges

    try:
        names = [one.scheme for one in parse_challenges(fields)]
    except AuthMalformed:
        names = [value.split(",")[0].split(" ")[0] for value in fields]
    return list(dict.fromkeys(names))


def _own_words(reply: "Reply") -> str:
    for name in ("Proxy-Status", "X-Squid-Error"):
        if value := reply.header(name):
            return f"{name}: {_clean(value)}"
    return ""


def _clean(text: str) -> str:
    """What a peer said, fit for a terminal: printable, one line, bounded."""
    kept = "".join(c if c.isprintable() else " " for c in text)
    return kept if len(kept) <= MAX_QUOTE_CHARACTERS else kept[: MAX_QUOTE_CHARACTERS - 3] + "..."
