"""Questions of the catalogue that no check of a single run answers, and their words.

Their answers come from the far end's journal, from runs at other times or places, or from a person who writes
them into a saved record.
"""

from collections.abc import Mapping
from typing import Final

ELSEWHERE: Final[Mapping[str, frozenset[str]]] = {
    question: frozenset(words.split())
    for question, words in {
        "route": "direct proxy",
        "settings": "source-missing other-interface proxy-invalid no-proxy-match pac-direct",
        "other-resolver": "same differs",
        "given-address": "answered",
        "other-source": "works",
        "other-family": "opened",
        "other-host": "opened",
        "history": "by-hour sudden-for-all address-changed at-constant-age at-constant-volume"
        " after-hours-of-login",
        "repeat": "same mixed first-then-none old-live-new-die late-by-a-second",
        "many-at-once": "all beyond-limit",
        "source-ports": "same fixed-by-port by-option",
        "window": "open zero",
        "variant": "http-and-tls-pass split-passes",
        "server-record": "reset-seen not-closed wants-proxy-header proxy-header-first other-server"
        " checksum-errors restarted first-bytes-sent",
        "mtu": "lowered clamped options-gone",
        "load": "lossy capped-with-loss capped-with-delay slow reordered coalesced",
        "socks": "hangs no-method login-failed ruleset unsupported local-name-unknown",
        "login": "cut-in-the-middle",
        "clock": "right off",
        "user-agent": "matters",
        "upgrade": "works",
        "issuer": "same differs",
        "distance": "as-far-as-server nearer-than-server",
    }.items()
}
