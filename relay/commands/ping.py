"""`relay ping` and `TMSS10Ping`: time empty packets to a Framework Server."""

import json
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

from relay import __version__
from relay.commands import EXIT_BAD, EXIT_GOOD
from relay.commands.options import (
    Parser,
    add_key_option,
    add_limit_option,
    add_proxy_options,
    count,
    port,
    route_of,
    seconds,
)
from relay.failure import SettingsError
from relay.keys import load_key
from relay.ping import Answer, Pinger
from relay.route import FRAMEWORK_PORT, MAX_PORT, Endpoint, Route


def run(arguments: Sequence[str], program: str) -> int:
    """Ping; 0 when every packet was answered, else 1. SIGINT and SIGTERM end it with its statistics."""
    options = _parser(program).parse_args(arguments)
    target = Endpoint.parse(options.host, "HOST", options.port or FRAMEWORK_PORT)
    if options.port not in (None, target.port):
        raise SettingsError(f"-P {options.port} and HOST {options.host!r} name two ports; expected one")
    if target.port == 0:
        raise SettingsError(f"HOST: port 0 in {options.host!r}; expected 1 to {MAX_PORT}")
    route = route_of(options, target)
    pinger = Pinger(route, load_key(options.key_file), options.wait, dict(options.limit))
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _json(pinger, route, options) if options.json else _lines(pinger, route, options, program)
    finally:
        signal.signal(signal.SIGTERM, before)
        pinger.close()


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _parser(program: str) -> Parser:
    parser = Parser(program, description="Send empty packets, which need no login, and time the answers.")
    parser.add_argument("host", metavar="HOST", help="name or address of the Framework Server, or HOST:PORT")
    parser.add_argument(
        "-P", "--port", type=port, help=f"its port (default {FRAMEWORK_PORT})"
    )
    parser.add_argument("-c", "--count", type=count, default=4, help="how many pings (default %(default)s)")
    parser.add_argument(
        "-i", "--interval", type=seconds, default=1.0, metavar="SECONDS", help="from ping to ping (default 1)"
    )
    parser.add_argument(
        "-W", "--wait", type=seconds, default=10.0, metavar="SECONDS",
        help="for the connection, and for each answer (default 10)",
    )  # fmt: skip
    add_limit_option(parser)
    add_proxy_options(parser)
    add_key_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end, no lines")
    parser.add_argument("-V", "--version", action="version", version=f"framework-relay {__version__}")
    return parser


def _say(line: str) -> None:
    print(line, flush=True)


def _lines(pinger: Pinger, route: Route, options: Any, program: str) -> int:
    via = f" (via {route.via})" if route.hops or route.alternatives else ""
    statistics = pinger.statistics
    try:
        for answer in pinger.pings(options.count, options.interval):
            if answer.made_anew is not None:
                words = f"seq={answer.seq}: a new connection: {answer.made_anew.sentence}"
                print(f"{program}: {words}", file=sys.stderr, flush=True)
            if answer.failure is None:
                size, ms = answer.size_bytes, answer.milliseconds
                _say(f"{size} bytes from {pinger.address}: seq={answer.seq} time={ms:.2f} ms{via}")
            else:
                print(f"{program}: seq={answer.seq}: {answer.failure.sentence}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        # The statistics are what a person wants who stops a ping; a terminal shows ^C on this line
        if sys.stdout is not None and sys.stdout.isatty():
            _say("")
    for line in statistics.lines(pinger.address):
        _say(line)
    return _status(pinger)


def _json(pinger: Pinger, route: Route, options: Any) -> int:
    answers: list[dict[str, Any]] = []
    was_interrupted = False
    try:
        for answer in pinger.pings(options.count, options.interval):
            answers.append(_as_dict(answer))  # noqa: PERF401 - what was answered before ^C is kept
    except KeyboardInterrupt:
        was_interrupted = True
    document = {
        "target": str(route.target),
        "address": pinger.address,
        "via": [str(hop) for hop in route.hops],
        "alternatives": [[str(hop) for hop in hops] for hops in route.alternatives],
        **pinger.statistics.as_dict(),
        "interrupted": was_interrupted,
        "answers": answers,
    }
    _say(json.dumps(document, indent=2))
    return _status(pinger)


def _as_dict(answer: Answer) -> dict[str, Any]:
    anew = {} if answer.made_anew is None else {"made_anew": answer.made_anew.as_dict()}
    if answer.failure is not None:
        return {"seq": answer.seq, "failure": answer.failure.as_dict(), **anew}
    milliseconds = round(answer.milliseconds, 3)
    return {"seq": answer.seq, "bytes": answer.size_bytes, "time_ms": milliseconds, **anew}


def _status(pinger: Pinger) -> int:
    statistics = pinger.statistics
    return EXIT_GOOD if statistics.transmitted and statistics.received == statistics.transmitted else EXIT_BAD
