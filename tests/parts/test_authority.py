"""Targets and Host fields, read without a socket; more of them go through a real proxy in tests/path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.authority import AbsoluteTarget, TargetMalformed, read_absolute, read_authority, read_host_field
from relay.route import Endpoint


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("a:1", "a", 1),
        ("host.example:443", "host.example", 443),
        ("HOST.Example:443", "HOST.Example", 443),
        ("under_score.example:65535", "under_score.example", 65535),
        ("xn--bcher-kva.example:80", "xn--bcher-kva.example", 80),
        ("rooted.example.:80", "rooted.example.", 80),
        ("1e100.example:80", "1e100.example", 80),
        ("127.0.0.1:5000", "127.0.0.1", 5000),
        ("255.255.255.255:1", "255.255.255.255", 1),
        ("[::1]:5000", "::1", 5000),
        ("[2001:DB8::1]:5000", "2001:DB8::1", 5000),
        ("[::ffff:127.0.0.1]:5000", "::ffff:127.0.0.1", 5000),
        ("a:0080", "a", 80),
        ("a" * 63 + ".example:80", "a" * 63 + ".example", 80),
        ("a." * 126 + "a:80", "a." * 126 + "a", 80),
        ("a." * 126 + "a.:80", "a." * 126 + "a.", 80),
    ],
)
def test_what_may_be_connected_to(text: str, host: str, port: int) -> None:
    """Names, addresses and ports as they stand, nothing rewritten."""
    assert Endpoint(host, port) == read_authority(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no host"),
        (":80", "no host"),
        ("a", "no port"),
        ("a:", "no port"),
        ("a:0", "port 0"),
        ("a:65536", "beyond 65535"),
        ("a:" + "9" * 5000, "beyond 65535"),
        ("u@a:80", "user information"),
        ("a b:80", "characters"),
        ("a\n:80", "characters"),
        ("a:80\n", "characters"),
        ("::1:80", "brackets"),
        ("[127.0.0.1]:80", "brackets"),
        ("[::1%25lo]:80", "host:port"),
        ("127.1:80", "no name and no address"),
        ("a." * 127 + "a:80", "253 characters"),
        ("a" * 64 + ":80", "no name and no address"),
    ],
)
def test_what_may_not(text: str, word: str) -> None:
    """Each is refused with words of its own, which do not quote the text."""
    with pytest.raises(TargetMalformed, match=word) as caught:
        read_authority(text)
    assert text not in str(caught.value) or len(text) < 3


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text raises anything else, and what is read says the same when written again."""
    try:
        endpoint = read_authority(text)
    except TargetMalformed:
        return
    assert endpoint == read_authority(str(endpoint))
    assert text.isascii()
    assert text.partition(":")[0]


@pytest.mark.parametrize(
    "text", ["", "a", "a:", "a:80", "a:00080", "[::1]", "[::1]:80", "a_b~c", "%41", "1.2.3.4", "a;b"]
)
def test_host_fields_that_are_legal(text: str) -> None:
    """The grammar of RFC 3986 holds, an empty one included (RFC 9112 section 3.2)."""
    read_host_field(text)


@pytest.mark.parametrize(
    "text",
    [
        "a b",
        "a,b",
        "a/b",
        "a?b",
        "a#b",
        "u@a",
        "::1",
        "[::1",
        "[a]",
        "[::1]x",
        "a:b",
        "a:65536",
        "a:1:2",
        "a%4",
        "\xe9",
        "a\n",
    ],
)
def test_host_fields_that_are_not(text: str) -> None:
    """They make the request a bad one, although the proxy has no use for the field."""
    with pytest.raises(TargetMalformed):
        read_host_field(text)


@pytest.mark.parametrize(
    ("text", "endpoint", "authority", "origin_form"),
    [
        ("http://a", Endpoint("a", 80), "a", ""),
        ("http://a/", Endpoint("a", 80), "a", "/"),
        ("http://A:8080/b?c=d", Endpoint("A", 8080), "A:8080", "/b?c=d"),
        ("http://a:80/", Endpoint("a", 80), "a:80", "/"),
        ("http://a:/b", Endpoint("a", 80), "a", "/b"),
        ("http://a?b", Endpoint("a", 80), "a", "/?b"),
        ("http://[::1]:81/b", Endpoint("::1", 81), "[::1]:81", "/b"),
        ("http://a//b/../c;d=%zz", Endpoint("a", 80), "a", "//b/../c;d=%zz"),
        ("http://a/http://b@c/", Endpoint("a", 80), "a", "/http://b@c/"),
    ],
)
def test_absolute_uris(text: str, endpoint: Endpoint, authority: str, origin_form: str) -> None:
    """The authority goes into Host, the rest to the origin, untouched."""
    assert AbsoluteTarget(endpoint, authority, origin_form) == read_absolute(text)


@pytest.mark.parametrize(
    "text", ["http://", "http:///b", "http://:80/", "http://u@a/", "http://a/#b", "http://a#b", "http://a/ b"]
)
def test_absolute_uris_that_are_none(text: str) -> None:
    """No host, user information, a fragment, white space."""
    with pytest.raises(TargetMalformed):
        read_absolute(text)
