"""`relay demo`: the main job on an embedded default, or the same proof on a server and proxy of yours."""

import time
from collections.abc import Sequence

from relay.commands import EXIT_BAD, EXIT_GOOD
from relay.commands.options import Parser, add_key_option, add_proxy_options, hops_of, seconds
from relay.demo import demonstrate, demonstrate_embedded
from relay.demo import run as run_to_end
from relay.failure import SettingsError
from relay.keys import load_key
from relay.route import FRAMEWORK_PORT, Endpoint, Route


def run(arguments: Sequence[str], program: str) -> int:
    """Demonstrate; 0 when everything was proven, 1 with the reasons."""
    options = _parser(program).parse_args(arguments)
    hops = hops_of(options)
    if (options.server is None) != (not hops):
        raise SettingsError("--server and -x go together: expected both, or neither for the embedded demo")
    if options.no_direct and options.server is None:
        raise SettingsError("--no-direct: expected --server and -x; the embedded server is always near")
    began = time.monotonic()
    if options.server is None:
        missed = run_to_end(demonstrate_embedded(_say))
    else:
        route = Route(Endpoint.parse(options.server, "--server", FRAMEWORK_PORT), hops)
        key = load_key(options.key_file)
        missed = run_to_end(
            demonstrate(
                route, key, direct_must_fail=options.no_direct, timeout_seconds=options.timeout, say=_say
            )
        )
    took = time.monotonic() - began
    if not missed:
        _say(f"PROVEN in {took:.1f} s: Framework traffic gets through the proxy.")
        return EXIT_GOOD
    _say(f"NOT PROVEN, after {took:.1f} s:")
    for reason in missed:
        _say(f"  - {reason}")
    return EXIT_BAD


def _say(text: str) -> None:
    print(text, flush=True)


def _parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Without options: an emulated server and two proxies on loopback, and the main job "
        "shown on them. With --server and -x: the same proof on a server and proxies of yours.",
    )
    parser.add_argument("--server", metavar="HOST:PORT", help="a running relay server, as the proxy sees it")
    add_proxy_options(parser)
    add_key_option(parser)
    parser.add_argument(
        "--no-direct", action="store_true", help="the server must not be reachable without the proxy"
    )
    parser.add_argument(
        "--timeout", type=seconds, default=10.0, metavar="SECONDS",
        help="for each connection and answer (default 10)",
    )  # fmt: skip
    return parser
