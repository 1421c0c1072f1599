"""The requests that real proxies were asked, each as one head, and possibly bytes behind it."""

import base64

from tests.path.persona_targets import Lab

PAYLOAD = bytes.fromhex("a55a000100000010") + b"LOGIN\0\0\0\0\0\0\0\x01\x02\x03"
"""A binary protocol's first bytes; the target echoes them."""

TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(range(32)) + b"\x20" + bytes(36)
NTLM_1 = "TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAAKAGFKAAAADw=="
SIZES = {"8k": 8200, "16k": 16_400, "32k": 32_800, "64k": 65_600, "128k": 131_200, "1m": 1 << 20}


def head(
    target: str, *fields: str, version: str = "1.1", host: str | None = "", eol: str = "\r\n",
    method: str = "CONNECT",
) -> bytes:  # fmt: skip
    """A request; `host` "" repeats the target, None leaves Host out."""
    hosts = [] if host is None else [f"Host: {host or target}"]
    return eol.join([f"{method} {target} HTTP/{version}", *hosts, *fields, "", ""]).encode("latin-1")


def basic(user: str, password: str) -> str:
    return "Proxy-Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def connects(lab: Lab) -> dict[str, bytes]:
    """Well-formed CONNECTs to all kinds of targets."""
    ok = f"127.0.0.1:{lab.echo}"
    return {
        "01_ok_http11": head(ok),
        "02_ok_name": head(f"{lab.name}:{lab.echo}"),
        "03_ok_http10": head(ok, version="1.0", host=None),
        "04_http11_no_host": head(ok, host=None),
        "05_host_mismatch": head(ok, host="denied.test:5000"),
        "10_port_denied": head(f"127.0.0.1:{lab.denied}"),
        "11_dest_denied": head(f"{lab.denied_name}:{lab.echo}"),
        "12_dns_nxdomain": head(f"{lab.missing}:{lab.echo}"),
        "13_dns_servfail": head(f"servfail.test:{lab.echo}"),
        "14_dns_silent": head(f"silent.test:{lab.echo}"),
        "15_refused": head(f"127.0.0.1:{lab.closed}"),
        "16_refused_name": head(f"{lab.name}:{lab.closed}"),
        "17_connect_timeout": head(f"blackhole.test:{lab.echo}"),
        "18_no_route": head(f"203.0.113.1:{lab.echo}"),
        "19_icmp_prohibited": head(f"198.51.100.67:{lab.echo}"),
        "20_icmp_host_unreach": head(f"198.51.100.68:{lab.echo}"),
        "21_target_closes_at_once": head(f"127.0.0.1:{lab.closes}"),
        "22_target_rst_at_once": head(f"127.0.0.1:{lab.resets}"),
        "23_server_first": head(f"127.0.0.1:{lab.banner}"),
    }


def plain(lab: Lab) -> dict[str, bytes]:
    """Requests other than CONNECT."""
    host = f"127.0.0.1:{lab.http}"

    def to(target: str, of: str, method: str = "GET", *fields: str) -> bytes:
        return head(target, *fields, host=of, method=method)

    return {
        "24_get_nxdomain": to(f"http://{lab.missing}/", lab.missing),
        "25_get_refused": to(f"http://127.0.0.1:{lab.closed}/", f"127.0.0.1:{lab.closed}"),
        "26_get_denied": to(f"http://{lab.denied_name}/", lab.denied_name),
        "27_get_timeout": to(f"http://blackhole.test:{lab.echo}/", f"blackhole.test:{lab.echo}"),
        "40_method_unknown": to(f"http://{host}/", host, "BREW"),
        "42_get_absolute": to(f"http://{host}/x", host),
        "43_get_origin": to("/", "proxy.test"),
        "44_options_star": to("*", "proxy.test", "OPTIONS"),
        "45_trace": to(f"http://{host}/", host, "TRACE", "Max-Forwards: 0"),
        "46_get_https_scheme": to(f"https://{host}/", host),
    }


def authorities(lab: Lab) -> dict[str, bytes]:
    """Targets that are none, or that somebody takes for one."""
    ok = f"127.0.0.1:{lab.echo}"
    return {
        "50_no_port": head("127.0.0.1"),
        "51_empty_port": head("127.0.0.1:"),
        "52_port_0": head("127.0.0.1:0"),
        "53_port_65536": head("127.0.0.1:65536"),
        "54_port_70536": head(f"127.0.0.1:{lab.echo + 65536}"),
        "55_port_alpha": head("127.0.0.1:abc"),
        "56_port_neg": head("127.0.0.1:-1"),
        "57_userinfo": head(f"user:pw@{ok}", host=ok),
        "58_ipv6_bracket": head(f"[::1]:{lab.echo}"),
        "59_ipv6_bare": head(f"::1:{lab.echo}"),
        "60_absolute_uri": head(f"http://{ok}/", host=ok),
        "61_path": head(f"{ok}/x", host=ok),
        "62_empty_target": b"CONNECT  HTTP/1.1\r\nHost: x\r\n\r\n",
        "71_trailing_dot": head(f"{lab.name}.:{lab.echo}"),
        "72_hex_ip": head(f"0x7f000001:{lab.echo}"),
        "73_short_ip": head(f"127.1:{lab.echo}"),
        "74_zero_ip": head(f"0.0.0.0:{lab.echo}"),
        "75_v4mapped": head(f"[::ffff:127.0.0.1]:{lab.echo}"),
        "77_v6only_name": head(f"v6only.test:{lab.echo}"),
        "83_long_target_9k": head("a" * 9000 + f".test:{lab.echo}", host="x"),
        "84_long_label": head("a" * 300 + f".test:{lab.echo}"),
    }


def heads(lab: Lab) -> dict[str, bytes]:
    """Heads that are malformed, large, or followed by bytes."""
    ok = f"127.0.0.1:{lab.echo}"
    sized = {f"80_header_{name}": head(ok, "X-Long: " + "a" * size) for name, size in SIZES.items()}
    return {
        **sized,
        "41_method_lower": head(ok, method="connect"),
        "63_bad_version": head(ok, version="9.9"),
        "64_no_version": f"CONNECT {ok}\r\n\r\n".encode(),
        "65_lf_only": head(ok, eol="\n"),
        "66_leading_crlf": b"\r\n" + head(ok),
        "67_space_before_colon": head(ok).replace(b"Host:", b"Host :"),
        "68_header_no_colon": head(ok, "garbage"),
        "69_nul_in_header": head(ok, "X: a\0b"),
        "70_two_hosts": head(ok, "Host: other:1"),
        "81_200_headers": head(ok, *(f"X-{n}: y" for n in range(200))),
        "82_2000_headers": head(ok, *(f"X-{n}: y" for n in range(2000))),
        "90_early_same_segment": head(ok) + b"EARLY",
        "94_content_length": head(ok, "Content-Length: 5") + b"EARLY",
        "95_chunked": head(ok, "Transfer-Encoding: chunked") + b"5\r\nEARLY\r\n0\r\n\r\n",
        "96_expect": head(ok, "Expect: 100-continue"),
        "97_upgrade": head(ok, "Upgrade: websocket", "Connection: upgrade"),
        "98_split_head": head(ok),
        "B0_binary_to_proxy": PAYLOAD,
        "B1_tls_to_proxy": TLS_HELLO,
        "B2_h2_preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0",
        "B3_proxy_protocol_v1": b"PROXY TCP4 10.1.2.3 10.0.0.1 1111 2222\r\n" + head(ok),
        "B4_socks5": b"\x05\x01\x00",
        "A7_incomplete_head": b"CONNECT 127.0.0.1:5000 HTTP/1.1\r\nHost: 127",
        "A8_silent_client": b"",
    }


def logins(lab: Lab) -> dict[str, bytes]:
    """CONNECTs to a proxy that wants Basic logins."""
    ok = f"127.0.0.1:{lab.echo}"
    right = basic(lab.user, lab.password)
    return {
        "30_auth_missing": head(ok),
        "31_auth_wrong": head(ok, basic(lab.user, lab.password + "x")),
        "32_auth_ok": head(ok, right),
        "33_auth_bad_scheme": head(ok, "Proxy-Authorization: Bearer x"),
        "34_auth_bad_b64": head(ok, "Proxy-Authorization: Basic !!!"),
        "35_auth_www_header": head(ok, right.removeprefix("Proxy-")),
        "37_auth_missing_port_denied": head(f"127.0.0.1:{lab.denied}"),
        "38_auth_ntlm_type1": head(
            ok, f"Proxy-Authorization: NTLM {NTLM_1}", "Proxy-Connection: Keep-Alive"
        ),
    }


def requests(lab: Lab) -> dict[str, bytes]:
    """All that are one request each, but for the logins."""
    return {**connects(lab), **plain(lab), **authorities(lab), **heads(lab)}
