"""The words of a persona's file: reasons to refuse, oddities of requests, and what becomes of them."""

# Whoever has no reply for a reason answers with that of the next wider one. "get-" before a reason is the
# same for a request that is no CONNECT; where there is no reply for that either, the one without it serves.
WIDER = {
    "port-denied": "denied", "target-denied": "denied", "loop": "denied",
    "host-unreachable": "unroutable", "target-reset": "unreachable",
    "dns": "unreachable", "refused": "unreachable", "timeout": "unreachable", "unroutable": "unreachable",
    "login-wrong": "login", "invalid-target": "malformed", "not-http": "malformed", "too-large": "malformed",
    "too-long": "malformed", "version": "malformed", "method": "malformed", "slow": "malformed",
    "origin-form": "malformed", "options": "malformed", "trace": "malformed", "https": "malformed",
    "denied": "other", "unreachable": "other", "login": "other", "malformed": "other",
}  # fmt: skip
GET = "get-"
RESET = "target-reset"
REASONS = {"other", *WIDER}
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
    "https_scheme": "GET https://host/",
    "last_hop": "TRACE or OPTIONS with Max-Forwards: 0",
    "ipv6_address": "[::1]:5000",
    "leading_crlf": "an empty line before the request line",
    "lf_only": "lines that end with LF alone",
    "long_target": "a target beyond limits.target_bytes",
    "lower_method": "connect in lower case",
    "many_fields": "more fields than limits.fields",
    "mapped_address": "[::ffff:127.0.0.1]",
    "no_colon": "a header line without a colon",
    "no_host": "HTTP/1.1 without Host",
    "no_port": "CONNECT host",
    "no_version": "CONNECT host:port, without a version",
    "nul": "a NUL in a header value",
    "odd_address": "0x7f000001",
    "options_star": "OPTIONS *",
    "origin_form": "GET /",
    "path": "CONNECT host:port/path",
    "port_0": "port 0",
    "port_negative": "port -1",
    "port_over": "a port beyond 65535",
    "port_word": "port abc",
    "proxy_protocol": "a line of the PROXY protocol before the request",
    "short_address": "127.1",
    "silent_client": "no byte comes",
    "silent_head": "the head stops after its first line",
    "silent_line": "the first line stops, or is no HTTP and was met with silence",
    "silent_tls": "a TLS ClientHello was met with silence, and nothing more comes",
    "space_before_colon": "Host : x",
    "tls": "a TLS ClientHello",
    "two_hosts": "more than one Host",
    "unknown_method": "a method that is not known",
    "userinfo": "CONNECT user:password@host:port",
    "zero_address": "0.0.0.0",
}  # fmt: skip
DEFAULT_HABITS = {
    **dict.fromkeys(ODDITIES, "malformed"),
    **dict.fromkeys(
        (
            "early_data", "two_hosts", "body", "odd_address", "no_host", "short_address", "mapped_address",
            "zero_address", "ipv6_address",
        ),
        "accept",
    ),
    "bad_name": "dns", "bad_version": "version", "unknown_method": "method", "long_target": "too-long",
    "many_fields": "too-large", "tls": "not-http", "binary": "not-http", "silent_client": "close",
    "silent_line": "slow", "silent_head": "slow", "silent_tls": "slow",
    "options_star": "answer", "last_hop": "answer",
}  # fmt: skip
# answer: by ourselves, as RFC 9110 has it. drop: accept it, but lose the bytes.
VERDICTS = {"accept", "answer", "close", "drop", "silence", "443", "wrap", *WIDER}
