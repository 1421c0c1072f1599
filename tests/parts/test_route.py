"""Routes as people write them: what is read, what is refused, and that no password is ever quoted."""

import ipaddress
import string
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.failure import SettingsError
from relay.route import MAX_PORT, Endpoint, Hop, Route, checked_host

PROXY = Endpoint("proxy.example", 3128)
T = TypeVar("T")


def read(parse: Callable[[], T]) -> T | None:
    """What is read; None when it is refused, in words fit for a terminal."""
    try:
        return parse()
    except SettingsError as error:
        said = str(error)
    assert said.isprintable()
    return None


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("fw.example:5000", "fw.example", 5000),
        ("fw:0", "fw", 0),
        ("FW.Example.:65535", "FW.Example.", 65535),
        ("192.0.2.1:5000", "192.0.2.1", 5000),
        ("[::1]:5000", "::1", 5000),
        ("[2001:db8::192.0.2.1]:1", "2001:db8::192.0.2.1", 1),
        ("my_host-1:80", "my_host-1", 80),
        ("münchen.example:5000", "xn--mnchen-3ya.example", 5000),
        ("faß.example:5000", "xn--fa-hia.example", 5000),
        ("xn--mnchen-3ya.example:1", "xn--mnchen-3ya.example", 1),
        (f"{'a' * 63}.example:1", f"{'a' * 63}.example", 1),
    ],
)
def test_endpoints_that_are_read(text: str, host: str, port: int) -> None:
    """A name or literal with a port; names that are not ASCII become A-labels."""
    endpoint = Endpoint.parse(text)
    assert Endpoint(host, port) == endpoint
    assert endpoint == Endpoint.parse(str(endpoint))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("fw", "fw", 5000), ("::1", "::1", 5000), ("[::1]", "::1", 5000), ("fw:1", "fw", 1)],
)
def test_a_default_port(text: str, host: str, port: int) -> None:
    """Where a default is given, the port may be left out, and an IPv6 literal needs no brackets."""
    assert Endpoint(host, port) == Endpoint.parse(text, default_port=5000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' has no port; expected HOST:PORT"),
        ("fw", "'fw' has no port; expected HOST:PORT"),
        ("::1", "'::1' has no port; expected HOST:PORT"),
        (":5000", "'' is no host name and no address"),
        ("fw:", "port '' in 'fw:'; expected 0 to 65535"),
        ("fw:65536", "port '65536' in"),
        ("fw:-1", "port '-1' in"),
        ("fw:+1", "port '+1' in"),
        ("fw: 1", "port ' 1' in"),
        ("fw:٣", r"port '\u0663' in"),
        ("fw:" + "9" * 100, "port '999"),
        ("user@fw:5000", "'...@fw' is no host name"),
        ("http://fw:5000", "'http://fw:5000'; expected HOST:PORT or [IPV6]:PORT"),
        ("fw/x:5000", "'fw/x' is no host name"),
        ("fw fw:5000", "'fw fw' is no host name"),
        ("fw\r\nX: y:5000", r"'fw\r\nX: y:5000'; expected HOST:PORT"),
        ("fw\x00:5000", r"'fw\x00' is no host name"),
        ("-fw:1", "'-fw' is no host name"),
        ("fw-:1", "'fw-' is no host name"),
        ("a..b:1", "'a..b' is no host name"),
        (".:1", "'.' is no host name"),
        (f"{'a' * 64}.example:1", f"'{'a' * 64}.example' is no host name"),
        (("a" * 50 + ".") * 6 + "x:1", "is no host name"),
        ("127.1:1", "'127.1' looks like an IPv4 address and is none"),
        ("0x7f000001:1", "'0x7f000001' looks like an IPv4 address and is none"),
        ("2130706433:1", "looks like an IPv4 address and is none"),
        ("256.1.1.1:1", "looks like an IPv4 address and is none"),
        ("１２７.0.0.1:1", "looks like an IPv4 address and is none"),  # noqa: RUF001 - full-width digits
        ("[::1:5000", "'[::1:5000'; expected [IPV6]:PORT"),
        ("[::1]5000", "'[::1]5000'; expected [IPV6]:PORT"),
        ("[127.0.0.1]:5000", "'127.0.0.1' in brackets is no IPv6 address"),
        ("[fe80::1%eth0]:5000", "'fe80::1%eth0' in brackets is no IPv6 address"),
        ("\udcff.example:1", r"'\udcff.example' is no host name"),
        ("ü" * 80 + ":1", "is no host name"),
    ],
)
def test_endpoints_that_are_refused(text: str, words: str) -> None:
    """One sentence that begins with what was asked for, quotes what was given, and is printable."""
    with pytest.raises(SettingsError) as caught:
        Endpoint.parse(text, "--what")
    said = str(caught.value)
    assert said.startswith("--what: ")
    assert words in said
    assert said.isprintable()
    assert len(said) < 400


@given(st.text(max_size=80) | st.text(alphabet="[]:.%@/0123456789abxX-_ \r\n\x00é", max_size=30))
def test_anything_is_read_or_refused(text: str) -> None:
    """No text at all makes another exception; what is read is safe in a request and reads back the same."""
    for default_port in (None, 5000):
        endpoint = read(lambda: Endpoint.parse(text, default_port=default_port))  # noqa: B023
        if endpoint is not None:
            assert set(str(endpoint)) <= set(string.ascii_letters + string.digits + ".:-_[]")
            assert 0 <= endpoint.port <= MAX_PORT
            assert endpoint == Endpoint.parse(str(endpoint))


@given(st.ip_addresses(), st.integers(0, MAX_PORT))
def test_every_address_reads_back(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    """Any address with any port survives being written and read; only IPv6 is in brackets."""
    if getattr(address, "scope_id", None):
        return
    endpoint = Endpoint(str(address), port)
    assert endpoint == Endpoint.parse(str(endpoint))
    assert endpoint.is_literal
    assert (address.version == 6) is str(endpoint).startswith("[")


@given(st.text(max_size=40))
def test_a_checked_host_stays_as_it_is(text: str) -> None:
    """Checking a host twice changes nothing the second time."""
    try:
        host = checked_host(text)
    except SettingsError:
        return
    assert host == checked_host(host)
    assert host.isascii()


# Hops


@pytest.mark.parametrize(
    ("url", "hop"),
    [
        ("proxy.example:3128", Hop(PROXY)),
        ("http://proxy.example:3128", Hop(PROXY)),
        ("HTTP://proxy.example:3128/", Hop(PROXY)),
        ("https://proxy.example:3128", Hop(PROXY, tls=True)),
        ("https://proxy.example", Hop(Endpoint("proxy.example", 443), tls=True)),
        ("http://[::1]:3128", Hop(Endpoint("::1", 3128))),
        ("http://u@proxy.example:3128", Hop(PROXY, user="u")),
        ("http://u:@proxy.example:3128", Hop(PROXY, user="u", password="")),
        ("u:p@proxy.example:3128", Hop(PROXY, user="u", password="p")),
        ("http://u:p%40s%3As@proxy.example:3128", Hop(PROXY, user="u", password="p@s:s")),
        ("http://u:p@s#/?%s:@proxy.example:3128", Hop(PROXY, user="u", password="p@s#/?%s:")),
        ("u:p://s@proxy.example:3128", Hop(PROXY, user="u", password="p://s")),
        ("http://u:p%C3%A4ss@proxy.example:3128", Hop(PROXY, user="u", password="päss")),
        ("http://u:päss@proxy.example:3128", Hop(PROXY, user="u", password="päss")),
        ("http://:p@proxy.example:3128", Hop(PROXY, user="", password="p")),
    ],
)
def test_hops_that_are_read(url: str, hop: Hop) -> None:
    """Scheme, login and endpoint; a login ends at the last @ and is percent-decoded once."""
    assert hop == Hop.parse(url)


def test_a_password_from_elsewhere() -> None:
    """A password that is given apart is used where the URL has none, and only with a user."""
    assert "p" == Hop.parse("http://u@proxy.example:3128", password="p").password
    assert "own" == Hop.parse("http://u:own@proxy.example:3128", password="p").password


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "'' has no port"),
        ("http://", "'' has no port"),
        ("http://proxy.example", "'proxy.example' has no port"),
        ("socks6://proxy.example:1080", "scheme 'socks6'; expected one of http://, https://, socks5://"),
        ("http://proxy.example:0", "port 0 in 'proxy.example:0'; expected 1 to 65535"),
        ("http://proxy.example:3128/path", "port '3128/path' in"),
        ("http://u:p@", "'' has no port"),
        ("http://a%3Ab:secret@proxy.example:3128", "the user name has a colon in it"),
        ("http://u:secret%0D%0A@proxy.example:3128", "the password has the control character U+000D in it"),
        ("http://u:secret%FF@proxy.example:3128", "user or password is not UTF-8"),
        ("http://u:secret\udcff@proxy.example:3128", "user or password is not UTF-8"),
        ("u:secret://more@proxy.example", "'proxy.example' has no port"),
        ("u:secret://more@proxy.example:x", "port 'x' in 'proxy.example:x'"),
        ("ftp://u:secret@proxy.example:3128", "scheme 'ftp'; expected"),
    ],
)
def test_hops_that_are_refused(url: str, words: str) -> None:
    """What is wrong is named; of the login nothing is quoted."""
    with pytest.raises(SettingsError) as caught:
        Hop.parse(url)
    said = str(caught.value)
    assert said.startswith("--proxy: ")
    assert words in said
    assert said.isprintable()
    assert "secret" not in said
    assert "more" not in said


LOGIN = st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=20)


@given(user=LOGIN.filter(lambda user: ":" not in user), password=LOGIN, tls=st.booleans())
def test_any_login_can_be_written_in_a_url(user: str, password: str, tls: bool) -> None:
    """What is percent-encoded comes back as it was, and shows in no repr or str of hop or route."""
    from urllib.parse import quote

    scheme = "https" if tls else "http"
    hop = Hop.parse(f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@proxy.example:3128")
    assert (user, password, tls) == (hop.user, hop.password, hop.tls)
    bare = Hop.parse(f"{scheme}://proxy.example:3128")
    assert (repr(bare), str(bare)) == (repr(hop), str(hop))
    route, bare_route = Route(PROXY, (hop,)), Route(PROXY, (bare,))
    assert (repr(bare_route), str(bare_route), bare_route.via) == (repr(route), str(route), route.via)


@given(
    st.text(max_size=60)
    | st.builds(
        "{}://{}:{}@{}".format, st.sampled_from(["http", "https", "x"]), st.text(), st.text(), st.text()
    )
)
def test_any_url_is_read_or_refused(url: str) -> None:
    """No text makes another exception than SettingsError."""
    hop = read(lambda: Hop.parse(url))
    if hop is not None:
        assert 0 < hop.endpoint.port <= MAX_PORT
        assert hop.endpoint == Hop.parse(str(hop)).endpoint


def test_a_route_tells_its_way() -> None:
    """For people: the hops, nearest first, and the target; via leaves the target out."""
    route = Route(Endpoint("::1", 5000), (Hop(PROXY), Hop(Endpoint("b", 443), tls=True)))
    assert "http://proxy.example:3128 -> https://b:443 -> [::1]:5000" == str(route)
    assert "http://proxy.example:3128 -> https://b:443" == route.via
    assert ("fw:5000", "") == (str(Route(Endpoint("fw", 5000))), Route(Endpoint("fw", 5000)).via)
