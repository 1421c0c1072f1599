"""What first bytes look like."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.framing import MAX_FRAME_BYTES
from protocol.resemblance import MAX_LOOK_BYTES, excerpt, resembles
from protocol.sealing import Direction, Key, seal
from tests.outcome import TARGET

# First bytes as programs send them.
CLIENT_HELLO = bytes.fromhex("16030100f1010000ed0303") + bytes(range(32)) + b"\x20"
SERVER_HELLO = bytes.fromhex("160303007a0200007603 03") + bytes(32)
SETTINGS = bytes.fromhex("000012040000000000 000300000064 000400010000 000600002000")
MYSQL = bytes.fromhex("4a0000000a") + b"8.0.36\x00" + bytes(40)
MYSQL_ERROR = b"\x45\x00\x00\x00\xff\x6a\x04Host '10.0.0.1' is not allowed to connect to this MySQL server"
RDP_REQUEST = bytes.fromhex("0300002b26e00000000000") + b"Cookie: mstshash=user\r\n"
RDP_CONFIRM = bytes.fromhex("030000130ed000001234000209080002000000")
POSTGRES = struct.pack(">IHH", 41, 3, 0) + b"user\x00postgres\x00database\x00postgres\x00\x00"
SMB = bytes.fromhex("00000053ff534d4272000000001853c8 0000 f1e2d3c4b5a69788 0000 ffff fffe 0000 4000 00 6200")
SMB += b"\x02PC NETWORK PROGRAM 1.0\x00\x02NT LM 0.12\x00"
DNS = bytes.fromhex("001d abcd 0100 0001 0000 0000 0000") + b"\x04dest\x07example\x00\x00\x01\x00\x01"
DNS_REPLY = bytes.fromhex("002dabcd81800001") + bytes(range(0x80, 0xA7))
FRAME = seal(Key.public(), b"", direction=Direction.CLIENT, number=0, nonce=bytes(12))

KNOWN = [
    ("a TLS ClientHello", CLIENT_HELLO),
    ("a TLS ServerHello", SERVER_HELLO),
    ("a TLS alert", bytes.fromhex("15030100020246")),
    ("a TLS alert", bytes.fromhex("15030300020228")),
    ("a TLS record", bytes.fromhex("170303002a") + b"\xaa" * 42),
    ("a TLS record", bytes.fromhex("140303000101")),
    ("a TLS record", bytes.fromhex("1603030010") + b"\x0b" * 16),
    ("an HTTP request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an HTTP request", b"POST http://a.example/b HTTP/1.0\r\n"),
    ("an HTTP request", b"CONNECT dest.example:5000 HTTP/1.1\r\n"),
    ("an HTTP request", b"PROPFIND /dav HTTP/1.1\r\n"),
    ("an HTTP request", b"OPTIONS * HT"),
    ("an HTTP reply", b"HTTP/1.1 200 OK\r\n\r\n"),
    ("an HTTP reply", b"HTTP/1.0 403 Forbidden\r\n"),
    ("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("an HTTP/2 SETTINGS frame", SETTINGS),
    ("an HTTP/2 SETTINGS frame", bytes.fromhex("000000040000000000")),
    ("an HTML page", b"<!DOCTYPE html>\n<html>"),
    ("an HTML page", b"\r\n\t  <!doctype HTML PUBLIC '-//W3C//DTD HTML 4.01//EN'>"),
    ("an HTML page", b"<HTML><HEAD>"),
    ("an HTML page", b"\xef\xbb\xbf<html lang='en'>"),
    ("an HTML page", b'<?xml version="1.0" ?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN">'),
    ("an HTML page", b"<head><meta http-equiv='refresh'"),
    ("an HTML page", b"<script>location='http://portal.example/'</script>"),
    ("an XML document", b'<?xml version="1.0"?><error/>'),
    ("an SSH banner", b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"),
    ("an SSH banner", b"SSH-1.99-Cisco-1.25\n"),
    ("an SMTP greeting", b"220 mail.example ESMTP Postfix\r\n"),
    ("an FTP greeting", b"220 (vsFTPd 3.0.3)\r\n"),
    ("an FTP greeting", b"220-Welcome to the FTP server\r\n"),
    ("an SMTP or FTP greeting", b"220 ready\r\n"),
    ("a POP3 greeting", b"+OK Dovecot ready.\r\n"),
    ("a POP3 or Redis error", b"-ERR wrong number of arguments\r\n"),
    ("an IMAP greeting", b"* OK [CAPABILITY IMAP4rev1] Dovecot ready.\r\n"),
    ("an IMAP greeting", b"* BYE too many connections\r\n"),
    ("a VNC greeting", b"RFB 003.008\n"),
    ("an AMQP header", b"AMQP\x00\x00\x09\x01"),
    ("a SOCKS4 request", bytes.fromhex("04011388c0000201") + b"user\x00"),
    ("a SOCKS4 request", bytes.fromhex("04010050c000020100")),
    ("a SOCKS4 request", bytes.fromhex("0401138800000001") + b"\x00dest.example\x00"),
    ("a SOCKS4 reply", bytes.fromhex("005a000000000000")),
    ("a SOCKS4 reply", bytes.fromhex("005b1388c0000201")),
    ("a SOCKS5 greeting", bytes.fromhex("050100")),
    ("a SOCKS5 greeting", bytes.fromhex("05020002")),
    ("a SOCKS5 reply", bytes.fromhex("0500")),
    ("a SOCKS5 reply", bytes.fromhex("05ff")),
    ("a SOCKS5 reply", bytes.fromhex("05000001000000000000")),
    ("a SOCKS5 reply", bytes.fromhex("05050004") + bytes(18)),
    ("a SOCKS5 request or reply", b"\x05\x01\x00\x03\x0cdest.example\x13\x88"),
    ("a SOCKS5 request or reply", bytes.fromhex("05010001c00002011388")),
    ("an RDP (TPKT) packet", RDP_REQUEST),
    ("an RDP (TPKT) packet", RDP_CONFIRM),
    ("a MySQL greeting", MYSQL),
    ("a MySQL greeting", bytes.fromhex("000100000a") + b"11.4.2-MariaDB\x00"),
    ("a MySQL greeting", MYSQL_ERROR),
    ("a PostgreSQL startup", POSTGRES),
    ("a PostgreSQL startup", bytes.fromhex("0000000804d2162f")),
    ("an SMB message", SMB),
    ("telnet negotiation", bytes.fromhex("fffd18fffd20")),
    ("telnet negotiation", bytes.fromhex("fffb01")),
    ("a Framework frame", FRAME),
]  # fmt: skip


@pytest.mark.parametrize(("words", "data"), KNOWN, ids=lambda value: value if isinstance(value, str) else "")
def test_known_protocols_are_named(words: str, data: bytes) -> None:
    """The first bytes of each protocol are named as that protocol."""
    assert words == resembles(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"H",
        b"HTTP",
        b"BANNER\r\n",
        b"hello\n",
        b"GET",
        b"GETTING / HTTP",
        b"PRI",
        b"220",
        b"2201 not a greeting\r\n",
        b"<p>",
        b"< html>",
        b"<htmlx>",
        b"SSH",
        b"SSH is a protocol",
        b"+OK",
        b"+OK\r\n",
        b"* ",
        bytes(64),
        bytes.fromhex("16"),
        bytes.fromhex("160301"),
        bytes.fromhex("1603050010") + bytes(16),  # no version of TLS
        bytes.fromhex("16030148010100"),  # longer than a record may be
        bytes.fromhex("15030100000000"),  # empty alert
        bytes.fromhex("000000040000000001"),  # SETTINGS on a stream
        bytes.fromhex("0510"),
        bytes.fromhex("05010001c0000201138800"),  # one byte too many
        bytes.fromhex("04010000c000020100"),  # port 0
        bytes.fromhex("005a00000000000000"),
        bytes.fromhex("0300002b26"),
        bytes.fromhex("0400002b26e000"),
        bytes.fromhex("ff"),
        bytes.fromhex("fffe"),  # the byte order mark of UTF-16
        bytes.fromhex("4a0000000a00"),
        DNS,
        DNS_REPLY,
        b'\x00\x00\x00\x48{"jsonrpc": "2.0", "method": "hello", "params": ["framework", 1, 2, 3]}',
        (35).to_bytes(4) + FRAME[4:],  # shorter than a frame can be
        (2**24).to_bytes(4) + FRAME[4:],  # longer than a frame can be
        (40).to_bytes(4) + bytes(40),  # not random
        (b"\x00\x00\x00\x28" + bytes(range(0x80, 0x90)))[:15],
    ],
)
def test_what_is_not_sure_is_not_named(data: bytes) -> None:
    """Too few bytes, near misses and other protocols give no name."""
    assert resembles(data) is None


@pytest.mark.parametrize("size", [0, 1, 10, 100, 10_000, 1_000_000])
def test_frames_of_every_size_are_named(size: int) -> None:
    """Real frames are recognised, by their first 64 bytes as well; also where a nonce is random."""
    noise = random.Random(size)
    for number in range(50):
        body = noise.randbytes(size)
        frame = seal(Key.public(), body, direction=Direction.SERVER, number=number, nonce=noise.randbytes(12))
        assert ("a Framework frame", "a Framework frame") == (resembles(frame), resembles(frame[:64]))
        if size > 100:
            break


def test_random_bytes_are_hardly_ever_named() -> None:
    """Encrypted or compressed streams are hardly ever taken for something else than a frame of ours."""
    noise = random.Random(5000)
    named = [words for words in (resembles(noise.randbytes(64)) for _ in range(20_000)) if words]
    others = [words for words in named if words != "a Framework frame"]
    assert len(others) < 200
    assert len(named) < 400


def test_the_longest_frame_is_still_one() -> None:
    """The prefix may say MAX_FRAME_BYTES."""
    assert "a Framework frame" == resembles(MAX_FRAME_BYTES.to_bytes(4) + FRAME[4:])


@given(
    st.binary(max_size=80) | st.builds(lambda pair, tail: pair[1] + tail, st.sampled_from(KNOWN), st.binary())
)
def test_any_bytes_are_looked_at_without_error(data: bytes) -> None:
    """Whatever comes, the answer is words or None, and depends on the first MAX_LOOK_BYTES only."""
    words = resembles(data)
    assert words is None or words.startswith(("a ", "an ", "telnet"))
    if len(data) >= MAX_LOOK_BYTES:
        assert words == resembles(data + b"more")


def test_white_space_before_a_page_is_looked_over_up_to_a_limit() -> None:
    """A page may begin after MAX_LOOK_BYTES of white space less its own mark, not later."""
    space = MAX_LOOK_BYTES - len(b"<html>")
    assert "an HTML page" == resembles(b" " * space + b"<html><body>")
    assert resembles(b" " * (space + 1) + b"<html><body>") is None


@pytest.mark.parametrize(
    ("data", "quoted"),
    [
        (b"", "''"),
        (b"plain", "'plain'"),
        (b"it's\r\n\x00\x1b\xff", '"it\'s\\r\\n\\x00\\x1b\\xff"'),
        (b"x" * 64, "'" + "x" * 64 + "'"),
        (b"x" * 65, "'" + "x" * 64 + "' and 1 bytes more"),
    ],
)
def test_an_excerpt_is_short_and_safe_to_print(data: bytes, quoted: str) -> None:
    """An excerpt is visible ASCII, however long or odd the data."""
    assert quoted == excerpt(data)
    assert excerpt(data).isascii()
    assert excerpt(data).isprintable()


def test_our_own_request_is_named() -> None:
    """A peer that sends our request back is an echo, not a proxy; the words say what came."""
    assert "an HTTP request" == resembles(f"CONNECT {TARGET} HTTP/1.1\r\nHost: {TARGET}\r\n\r\n".encode())
