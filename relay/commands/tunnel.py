"""`relay tunnel`: local ports, or stdin and stdout, that lead to targets through proxies."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from relay.commands import EXIT_BAD, EXIT_GOOD
from relay.commands.options import Parser, add_limit_option, add_proxy_options, count, route_of, seconds
from relay.failure import RelayError, SettingsError
from relay.route import MAX_PORT, Endpoint, Route
from relay.shown import shown

if TYPE_CHECKING:
    from relay.forward import Carried, Forwarder, Totals
    from relay.recording import RecordFile

DEFAULT_MAX_CONNECTIONS = 1024
DEFAULT_GRACE_SECONDS = 5.0


def run(arguments: Sequence[str], program: str) -> int:
    """Forward until told to stop, or until stdin or the far side ends."""
    options = _parser(program).parse_args(arguments)
    target = None if options.target is None else _target(options.target, "TARGET")
    if bool(options.listen) == options.stdio:
        raise SettingsError("expected either --listen HOST:PORT or --stdio")
    if options.stdio:
        if target is None:
            raise SettingsError("expected TARGET with --stdio")
        if options.record is not None:
            raise SettingsError("--record: records what is forwarded from --listen, not --stdio")
        return _stdio(route_of(options, target), options, program)
    return _listen(_pairs(options, target), options, program)


def _target(text: str, what: str) -> Endpoint:
    target = Endpoint.parse(text, what)
    if target.port == 0:
        raise SettingsError(f"{what}: port 0 in {text!a}; expected 1 to {MAX_PORT}")
    return target


def _pairs(options: Any, target: Endpoint | None) -> list[tuple[Endpoint, Route]]:
    """Where to listen, and where each leads to. Raises: SettingsError."""
    routes: dict[Endpoint, Route] = {}
    pairs = []
    for value in options.listen:
        local, equals, far = value.partition("=")
        goal = _target(far, "--listen") if equals else target
        if goal is None:
            words = "leads nowhere; expected HOST:PORT=TARGET, or TARGET"
            raise SettingsError(f"--listen: {shown(local)} {words}")
        if goal not in routes:
            routes[goal] = route_of(options, goal)
        # A port alone is on loopback: nobody else is let in unless asked for
        where = f"127.0.0.1:{local}" if local.isascii() and local.isdigit() else local
        pairs.append((Endpoint.parse(where, "--listen"), routes[goal]))
    if target is not None and target not in routes:
        raise SettingsError("TARGET: every --listen has a target of its own; expected none")
    return pairs


def _stdio(route: Route, options: Any, program: str) -> int:
    from relay.blocking import open_tunnel
    from relay.pump_end import TunnelEnd
    from relay.stdio import carry

    for name, file in (("stdin", sys.stdin), ("stdout", sys.stdout)):
        if file is None:
            raise SettingsError(f"--stdio: {name} is closed; expected it open")
    try:
        stream = open_tunnel(route, timeout_seconds=options.timeout, stage_seconds=dict(options.limit))
    except RelayError as error:
        told = json.dumps({"failure": error.failure.as_dict()}) if options.json else f"{program}: {error}"
        print(told, file=sys.stderr)
        return EXIT_BAD
    try:
        end = carry(stream, sys.stdin.fileno(), sys.stdout.fileno())
    except OSError as error:
        print(f"{program}: cannot write to stdout: {error.strerror}", file=sys.stderr)
        return EXIT_BAD
    if words := _words(end, route):
        line = json.dumps({"ended": str(end), "words": words})
        print(line if options.json else f"{program}: tunnel: {words}", file=sys.stderr)
    is_good = end in (TunnelEnd.TARGET_CLOSED, TunnelEnd.CLIENT_CLOSED, TunnelEnd.TARGET_UNHEARD)
    return EXIT_GOOD if is_good else EXIT_BAD


def _words(end: str, route: Route) -> str:
    """What a person should know of how a tunnel ended; "" when there is nothing to say."""
    far = f"{route.target} or a proxy before it" if route.hops else str(route.target)
    if end == "target-reset":
        return f"{far} reset the connection"
    if end == "target-unheard":
        return f"nothing came from {far} for too long after our end: a proxy perhaps keeps it to itself"
    if end == "target-closed-at-once":
        return f"{far} closed the connection at once: the target was perhaps never reached"
    if end == "client-closed" and route.hops:
        return f"{far} sent nothing back; squid, tinyproxy and others drop an answer that comes after our end"
    return ""


def _line(carried: "Carried", is_verbose: bool) -> str:
    """What is said of a connection that has ended; "" when all is well and nobody asked."""
    if carried.failure is not None:
        return f"{carried.peer} {carried.failure.sentence}"
    up, down = carried.counters.up, carried.counters.down
    is_plain = carried.ended == "client-closed" and (down or not up)
    words = "" if is_plain else _words(carried.ended, carried.route)
    if carried.close_notify_missing and is_verbose:
        words += ("; " if words else "") + "TLS ended without close_notify: perhaps it was cut off"
    if words or is_verbose or carried.ended not in ("client-closed", "target-closed"):
        line = f"{carried.ended}: {up} bytes up, {down} down in {carried.seconds:.3f} s"
        return f"{carried.peer} {line}" + (f"; {words}" if words else "")
    return ""


def _as_json(carried: "Carried") -> str:
    return json.dumps(
        {
            "peer": carried.peer,
            "target": str(carried.route.target),
            "via": [str(hop) for hop in carried.route.hops],
            "ended": carried.ended,
            "bytes_up": carried.counters.up,
            "bytes_down": carried.counters.down,
            "seconds": round(carried.seconds, 6),
            "close_notify_missing": carried.close_notify_missing,
            "failure": None if carried.failure is None else carried.failure.as_dict(),
        }
    )


def _summary(totals: "Totals") -> str:
    words = f"{totals.accepted} connections, {totals.failed} failed"
    words += f", {totals.refused} beyond the limit" if totals.refused else ""
    return f"{words}; {totals.up} bytes up, {totals.down} down"


def _listen(pairs: Sequence[tuple[Endpoint, Route]], options: Any, program: str) -> int:
    # What a first tunnel would import: its user would take that for the path's latency
    import protocol.connect  # noqa: F401
    from relay.commands.running import say, say_line
    from relay.forward import Forwarder
    from relay.listening import is_public
    from relay.recording import RecordFile

    for endpoint, route in pairs:
        if is_public(endpoint):
            words = f"{endpoint} can be reached from other machines: anybody there gets to {route.target}"
            say(program, f"warning: {words}")

    def on_end(carried: "Carried") -> None:
        if options.json:
            say_line(program, _as_json(carried))
        elif line := _line(carried, options.verbose):
            say(program, line)

    file = None if options.record is None else RecordFile(options.record)
    forwarder = Forwarder(
        pairs=pairs,
        timeout_seconds=options.timeout,
        max_connections=options.max_connections,
        stage_seconds=dict(options.limit),
        on_end=on_end,
        record=None if file is None else _recorder(file, program),
    )
    return _served(program, forwarder, file, options)


def _served(program: str, forwarder: "Forwarder", file: "RecordFile | None", options: Any) -> int:
    from relay.commands.running import say, serve, within

    try:
        return serve(
            program,
            forwarder,
            carries_tunnels=True,
            drain=within(forwarder.drain, options.grace),
            last_words=lambda: say(program, _summary(forwarder.totals)) if options.verbose else None,
        )
    finally:
        if file is not None:
            file.close()


def _recorder(file: "RecordFile", program: str) -> Any:
    from relay.commands.running import say

    def record(recording: Any) -> None:
        try:
            file.write(recording)
        except OSError as error:
            # The tunnel is worth more than its record
            say(program, f"--record: a connection is lost to the record: {error.strerror or error}")

    return record


def _parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Lead local ports, or stdin and stdout, to targets through proxies. When a tunnel "
        "cannot be opened, breaks, or ends before a byte has passed, the local peer gets a reset.",
    )
    parser.add_argument(
        "target", metavar="TARGET", nargs="?", help="HOST:PORT; names are looked up by the last proxy"
    )
    add_proxy_options(parser)
    parser.add_argument(
        "--listen", action="append", metavar="[HOST:]PORT[=TARGET]",
        help="listen there (a port alone: on 127.0.0.1) and lead to TARGET; repeat for more; port 0 takes a "
        "free one",
    )  # fmt: skip
    parser.add_argument("--stdio", action="store_true", help="use stdin and stdout, as in ssh's ProxyCommand")
    _add_limits(parser)
    parser.add_argument(
        "--record", metavar="FILE",
        help="keep the first bytes and times of each direction of each connection, logins included, in FILE",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="tell ends and failures on stderr as JSON lines")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="a line for every connection that ends, and totals"
    )
    return parser


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=seconds, default=30.0, metavar="SECONDS", help="to open one tunnel (default 30)"
    )
    add_limit_option(parser)
    parser.add_argument(
        "--max-connections", type=count, default=DEFAULT_MAX_CONNECTIONS, metavar="N",
        help="reset what comes beyond so many at once (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--grace", type=seconds, default=DEFAULT_GRACE_SECONDS, metavar="SECONDS",
        help="at SIGTERM, let open connections end for so long (default %(default)s); SIGINT waits for none",
    )  # fmt: skip
