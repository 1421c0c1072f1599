"""The PAC file that the proxy serves: a PAC evaluator says of each target what the policy says."""

import re
import ssl
from pathlib import Path

import pytest

from relay.access import Need
from relay.access_request import Asked
from relay.listener import Listener
from relay.pac import evaluate
from relay.pac_page import pac_script
from relay.profile import read_profile
from relay.route import Endpoint
from relay.tls_listen import TlsListen
from tests.path.proxied import Proxied, fields_of, read_all, status_of

POLICY = """
[access]
default = "deny"
allow_local = true
[[access.rule]]
action = "deny"
network = ["10.0.0.0/8", "fc00::/7"]
[[access.rule]]
action = "deny"
suffix = ".intern.example"
[[access.rule]]
action = "deny"
client = "192.0.2.0/24"
host = "far.example"
[[access.rule]]
action = "allow"
glob = "*.cdn.*"
[[access.rule]]
action = "allow"
suffix = ["example", "b\u00fccher.test"]
port = ["443,5000-5010"]
[[access.rule]]
action = "allow"
target = "literal"
method = "CONNECT"
port = 22
"""
TARGETS = (
    "far.example:5000", "far.example:5011", "a.intern.example:443", "xintern.example:443", "10.1.2.3:443",
    "192.0.2.1:22", "192.0.2.1:443", "[::1]:22", "x.cdn.net:1", "cdn.net:1", "FAR.Example:443",
    "xn--bcher-kva.test:443",
)  # fmt: skip


def policy(folder: Path, text: str = POLICY) -> Path:
    (folder / "p.toml").write_text(text)
    return folder / "p.toml"


def test_the_file_says_what_the_policy_says(tmp_path: Path) -> None:
    """PROXY for what a rule allows, DIRECT for the rest; `relay -x pac+file` would go the same way."""
    access = read_profile(policy(tmp_path)).access
    script = pac_script(access, "PROXY proxy.example:3128", "127.0.0.1")
    for text in TARGETS:
        target = Endpoint.parse(text)
        asked = Asked("CONNECT", target, "127.0.0.1")
        answer = access.decide(asked)
        if answer is Need.ADDRESS:
            # A name that leads outside
            answer = access.refuses_at(asked, "203.0.113.1")
        expected = "PROXY proxy.example:3128" if answer is None else "DIRECT"
        assert (text, expected) == (text, evaluate(script, target, "test"))
    for_others = pac_script(access, "PROXY proxy.example:3128", "192.0.2.7")
    assert "DIRECT" == evaluate(for_others, Endpoint("far.example", 443), "test")


def test_what_only_the_proxy_can_tell_goes_to_the_proxy(tmp_path: Path) -> None:
    """Users, times, and the addresses of names: the proxy decides when it is asked."""
    text = '[access]\ndefault = "deny"\nallow_local = true\n'
    text += '[[access.rule]]\naction = "deny"\ntime = "00:00-24:00"\n'
    text += '[[access.rule]]\naction = "allow"\nnetwork = "192.0.2.0/24"\nuser_agent = "*"\n'
    access = read_profile(policy(tmp_path, text)).access
    script = pac_script(access, "PROXY p:1", "127.0.0.1")
    targets = ("a.example:1", "192.0.2.1:1", "192.0.3.1:1")
    found = [evaluate(script, Endpoint.parse(text), "test") for text in targets]
    assert ["PROXY p:1", "PROXY p:1", "DIRECT"] == found


@pytest.mark.parametrize("path", ["/proxy.pac", "/wpad.dat?x=1"])
def test_it_is_served_to_who_asks_the_proxy(path: str, tmp_path: Path) -> None:
    """With its media type, and the proxy's address as the client has named it; not unless it is opted for."""
    access = read_profile(policy(tmp_path)).access
    request = f"GET {path} HTTP/1.1\r\nHost: proxy.example:8080\r\n\r\n".encode()
    with Proxied(pac=True, access=access) as proxied:
        with proxied.client(request) as near:
            reply = read_all(near)[0]
        assert 200 == status_of(reply)
        assert ["application/x-ns-proxy-autoconfig"] == fields_of(reply)["content-type"]
        assert b'return "PROXY proxy.example:8080";' in reply
        assert (200, "complete") == tuple(map(proxied.entry().get, ("status", "ended")))
        with proxied.client(request.replace(b"GET", b"HEAD")) as near:
            head = read_all(near)[0]
        # Nothing but the time and the body may be another (RFC 9110 section 9.3.2)
        same, date = reply.partition(b"\r\n\r\n")[0], re.compile(rb"Date: .*")
        assert date.sub(b"", same) + b"\r\n\r\n" == date.sub(b"", head)
        proxied.entry()
        with proxied.client(request.replace(b"GET", b"POST")) as near:
            assert 405 == status_of(read_all(near)[0])
    with Proxied(access=access) as proxied, proxied.client(request) as near:
        assert 405 == status_of(read_all(near)[0])


def test_over_tls_it_names_an_https_proxy(tmp_path: Path) -> None:
    """Who asks the TLS listener is told to go on in TLS."""
    listeners = (Listener(Endpoint("127.0.0.1", 0), TlsListen(new_ca=str(tmp_path / "ca.pem"))),)
    with Proxied(listen=(), listeners=listeners, pac=True) as proxied:
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        with context.wrap_socket(proxied.client(), server_hostname="localhost") as near:
            near.sendall(b"GET /proxy.pac HTTP/1.1\r\nHost: proxy.example\r\n\r\n")
            assert b'return "HTTPS proxy.example:443";' in read_all(near)[0]
