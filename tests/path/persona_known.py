"""In which cases a persona differs from its original, and why; docs/personas.md has it as a table."""

from collections.abc import Mapping

from tests.path.persona_compare import CASES, LOGIN_CASES, Seen

LEAST_AGREEMENT = 0.95
NEEDED = ("squid-5", "tinyproxy", "privoxy", "apache", "mitmproxy", "proxy.py")
"""Whose agreement must be that; of the others it is told."""

NOT_COMPARED = {
    "28_connect_timeout_hold": "as 17, watched for longer",
    "76_self": "whatever the persona is, a proxy here does not connect to itself",
    "A5_idle_timeout, A6_oneway_timeout": "what was configured: use the fault `idle_timeout`",
    "C0_bulk": "a measurement of time",
    "D0 to D6": "about a proxy before the proxy: docs/proxy.md, upstream",
    "E0_conn_limit": "what was configured: use `[limits]`",
}
LAB_ONLY = (
    "13_dns_servfail", "14_dns_silent", "17_connect_timeout", "18_no_route", "19_icmp_prohibited",
    "20_icmp_host_unreach", "27_get_timeout", "59_ipv6_bare", "71_trailing_dot", "77_v6only_name",
)  # fmt: skip
"""They need a network and a resolver of their own, as the recordings had: not side by side."""

LIVE_CASES = tuple(case for case in CASES if case not in LAB_ONLY)

_V6 = "its machine had no IPv6 but loopback, so names gave no such addresses there"
_LATER = "bytes that follow the head closely come with it, or later: here they are lost, or not"
_CONTENT = "it looks at the bytes in the tunnel"

RECORDED_DIFFERS: Mapping[str, Mapping[str, str]] = {
    "3proxy": {
        "71_trailing_dot": "it does not look up names with a dot at their end",
        "77_v6only_name": _V6,
        "80_header_1m": "its limit lies between 128 KiB and 1 MiB",
        "96_expect": "it sends 100 Continue before the 200",
        "A7_incomplete_head": "it opens the tunnel when half a head has stopped",
    },
    "apache": {"77_v6only_name": _V6},
    "ats": {
        "03_ok_http10": "it answers HTTP/1.0 in its own version",
        "12_dns_nxdomain": "it looks names up before its early 200, and connects after it",
        "13_dns_servfail": "as 12",
        "14_dns_silent": "as 12",
        "17_connect_timeout": "the early 200 is followed by its end sooner here",
        "18_no_route": "it knows its routes before its early 200",
        "44_options_star": "it answers in HTTP/1.0",
        "45_trace": "it closes behind it",
        "51_empty_port": "it answers in HTTP/1.0",
        "82_2000_headers": "it never answers",
        "84_long_label": "it never answers",
    },
    "mitmproxy": {
        "A2_half_close_before_200": "it forgets a client that ends before it has its answer",
        "F0_tunnel_http_like": _CONTENT,
        "F1_tunnel_tls_like": _CONTENT,
    },
    "privoxy": {"58_ipv6_bracket": _V6, "77_v6only_name": _V6},
    "proxy.py": {
        "41_method_lower": "it forwards the method that it does not know to the target",
        "C1_bulk_halfclose": "it loses bytes when it is told the end",
    },
    "tinyproxy": {"60_absolute_uri": "it forwards the CONNECT to the target"},
}
LIVE_DIFFERS: Mapping[str, Mapping[str, str]] = {
    "mitmproxy": {
        "39_deny_then_retry_same_conn": "it does not answer what comes later behind a CONNECT that failed",
        "A2_half_close_before_200": "it forgets a client that ends before it has its answer",
        "F1_tunnel_tls_like": _CONTENT,
    },
    "privoxy": {"94_content_length": "it takes as many bytes of the tunnel for a body"},
    "proxy.py": {
        "41_method_lower": "it forwards the method that it does not know to the target",
        "C1_bulk_halfclose": "it loses bytes when it is told the end",
    },
    "tinyproxy": {
        "41_method_lower": "it forwards it, and what it makes of the answer varies",
        "46_get_https_scheme": "it forwards it in the clear, also where CONNECT may not go",
        "60_absolute_uri": "it forwards the CONNECT to the target",
    },
}
LUCK_OF_ALL = "22_target_rst_at_once"
LUCK: Mapping[str, tuple[str, ...]] = {
    "mitmproxy": ("39_deny_then_retry_same_conn", "A2_half_close_before_200"),
    "privoxy": ("91_early_before_200", "94_content_length"),
    "proxy.py": ("91_early_before_200", "41_method_lower", "C1_bulk_halfclose"),
    "tinyproxy": ("41_method_lower", "60_absolute_uri"),
}  # fmt: skip
"""Cases whose answer is a matter of moments: they may agree, and may not."""


def unexpected(persona: str, found: Mapping[str, object], known: Mapping[str, Mapping[str, str]]) -> set[str]:
    """What differs and was not known to, or was known to and does not."""
    return (set(found) ^ set(known.get(persona, {}))) - {LUCK_OF_ALL, *LUCK.get(persona, ())}


def agreement(recorded: Mapping[str, Seen]) -> list[str]:
    """The table of docs/personas.md."""
    lines = [
        "| persona | compared | cases | agree | percent | what differs, and why |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for persona in sorted(recorded):
        rows = [("recorded", len(recorded[persona]), RECORDED_DIFFERS.get(persona, {}))]
        if persona in NEEDED:
            count = sum(persona != "privoxy" or case not in LOGIN_CASES for case in LIVE_CASES)
            rows.append(("side by side", count, LIVE_DIFFERS.get(persona, {})))
        for how, count, differs in rows:
            agree = count - len(differs)
            why = "; ".join(f"`{case}`: {reason}" for case, reason in differs.items()) or "-"
            percent = f"{100 * agree / count:.1f}"
            lines.append(f"| `{persona}` | {how} | {count} | {agree} | {percent} | {why} |")
    return lines
