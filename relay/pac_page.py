"""The PAC file that a proxy serves about itself: what its policy lets through goes to it, the rest does not.

Where a rule asks for what a browser cannot know (a user, the time, the address of a name), the proxy decides:
the browser is sent to it.
"""

import ipaddress
import json
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from http import HTTPStatus

from relay.access import Access
from relay.access_ports import parse_ports
from relay.access_request import Asked
from relay.access_rule import Rule
from relay.client_request import ClientRequest
from relay.limits import host_of
from relay.refusal import Refusal
from relay.route import Endpoint, checked_host

PATHS = ("/proxy.pac", "/wpad.dat")
CONTENT_TYPE = "application/x-ns-proxy-autoconfig"
# A browser asks again after so long.
MAX_AGE_SECONDS = 300
_ANYWHERE = Endpoint("any.invalid", 1)
_BEGIN = """\
function FindProxyForURL(url, host) {
  host = host.toLowerCase().replace(/^\\[|\\]$/g, "").replace(/\\.$/, "");
  var secure = /^(https|wss):/i.test(url);
  var given = /^[a-z]+:\\/\\/(?:[^\\/@]*@)?(?:\\[[^\\]]*\\]|[^\\/:?#]*):(\\d+)/i.exec(url);
  var port = given ? parseInt(given[1], 10) : secure ? 443 : /^ftp:/i.test(url) ? 21 : 80;
  var ipv4 = /^\\d+\\.\\d+\\.\\d+\\.\\d+$/.test(host), literal = ipv4 || host.indexOf(":") >= 0;
"""
_LOCAL = '(ipv4 && isInNet(host, "127.0.0.0", "255.0.0.0")) || host == "::1" || host == "localhost"'

Values = Sequence[str | int]


def page_for(request: ClientRequest, refusal: Refusal, access: Access) -> bytes | None:
    """The whole reply to a request that asks the proxy itself for its PAC file; None to any other.

    The proxy is named there as this client has named it, in Host; who asks needs no login.
    """
    line, own = request.line, request.host_field
    if refusal.status != HTTPStatus.METHOD_NOT_ALLOWED or line is None or not own:
        return None
    # RFC 9110 section 9.1: what has GET has HEAD
    if line.method not in ("GET", "HEAD") or line.target.partition("?")[0] not in PATHS:
        return None
    authority = own if _has_port(own) else f"{own}:{443 if request.in_tls else 80}"
    way = f"{'HTTPS' if request.in_tls else 'PROXY'} {authority}"
    script = pac_script(access, way, host_of(request.peer)).encode("ascii")
    fields = {
        "Date": formatdate(usegmt=True), "Content-Type": CONTENT_TYPE, "Content-Length": str(len(script)),
        "Cache-Control": f"private, max-age={MAX_AGE_SECONDS}", "Connection": "close",
    }  # fmt: skip
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    head = f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode("ascii")
    return head if line.method == "HEAD" else head + script


def pac_script(access: Access, way: str, client: str) -> str:
    """The script. Args: way: to the proxy, as PAC has it: "PROXY host:port"."""
    through, past = f"return {json.dumps(way)};", 'return "DIRECT";'
    lines = []
    if not access.allow_local:
        lines.append(f"if ({_LOCAL}) {past}")
    if access.allow_ports:
        lines.append(f"if (!({_ports(access.allow_ports)})) {past}")
    for rule in access.rules:
        test = _test(rule, client)
        if test is not None:
            lines.append(f"if ({test}) {through if rule.allows else past}")
    lines.append(through if access.allow_others else past)
    return _BEGIN + "".join(f"  {line}\n" for line in lines) + "}\n"


def _has_port(authority: str) -> bool:
    return authority.rpartition("]")[2].count(":") == 1


def _test(rule: Rule, client: str) -> str | None:
    """What a rule asks, as a script does; None when it is not for browsers, or for others to know."""
    if rule.told is None:
        return "true" if rule.allows else None
    tests = []
    for name, values in rule.told:
        if name == "client":
            asker = Rule.of({name: values}, allows=rule.allows, words="")
            if asker.fits(Asked("GET", _ANYWHERE, client), None) is not True:
                return None
        elif (test := _condition(name, values, allows=rule.allows)) is not None:
            tests.append(f"({test})")
        elif not rule.allows:
            return None
    return " && ".join(tests) or "true"


def _condition(name: str, values: Values, *, allows: bool) -> str | None:
    """One condition; None when only the proxy can tell."""
    texts = [str(value).lower() for value in values]
    match name:
        case "method":
            kinds = {"secure" if text == "connect" else "!secure" for text in texts}
            return " || ".join(sorted(kinds))
        case "port":
            return _ports(parse_ports(texts, name))
        case "host":
            return " || ".join(f"host == {json.dumps(_name(text))}" for text in texts)
        case "suffix":
            return " || ".join(map(_suffix, texts))
        case "glob" if not any("[" in text for text in texts):
            return " || ".join(f"shExpMatch(host, {json.dumps(text)})" for text in texts)
        case "target":
            return " || ".join("literal" if text == "literal" else "!literal" for text in texts)
        case "network":
            return _networks(texts, allows=allows)
    return None


def _ports(ranges: Iterable[range]) -> str:
    return " || ".join(f"(port >= {one.start} && port <= {one.stop - 1})" for one in ranges)


def _name(text: str) -> str:
    """As a browser has it: names as A-labels, addresses in their usual spelling."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return checked_host(text).lower().removesuffix(".")


def _suffix(text: str) -> str:
    name = _name(text.removeprefix("."))
    return f"host == {json.dumps(name)} || dnsDomainIs(host, {json.dumps('.' + name)})"


def _networks(texts: Sequence[str], *, allows: bool) -> str:
    """Of addresses that are named. A name is not looked up: what it leads to is for the proxy to see."""
    tests = ["!ipv4"] if allows else []
    for text in texts:
        network = ipaddress.ip_network(text)
        if network.version == 4:
            tests.append(f'(ipv4 && isInNet(host, "{network.network_address}", "{network.netmask}"))')
    return " || ".join(tests) or "false"
