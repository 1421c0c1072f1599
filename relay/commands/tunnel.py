"""`relay tunnel`: a local port, or stdin and stdout, that leads to a target through proxies."""

import sys
from collections.abc import Sequence
from typing import Any

from relay.commands import EXIT_BAD, EXIT_GOOD
from relay.commands.options import (
    Parser,
    add_listen_option,
    add_proxy_options,
    count,
    hops_of,
    listen_of,
    seconds,
)
from relay.failure import RelayError, SettingsError
from relay.route import MAX_PORT, Endpoint, Route

DEFAULT_MAX_CONNECTIONS = 1024


def run(arguments: Sequence[str], program: str) -> int:
    """Forward until told to stop, or until stdin or the far side ends."""
    options = _parser(program).parse_args(arguments)
    target = Endpoint.parse(options.target, "TARGET")
    if target.port == 0:
        raise SettingsError(f"TARGET: port 0 in {options.target!r}; expected 1 to {MAX_PORT}")
    if bool(options.listen) == options.stdio:
        raise SettingsError("expected either --listen HOST:PORT or --stdio")
    route = Route(target, hops_of(options))
    return _stdio(route, options, program) if options.stdio else _listen(route, options, program)


def _stdio(route: Route, options: Any, program: str) -> int:
    from relay.blocking import open_tunnel
    from relay.pump_end import TunnelEnd
    from relay.stdio import carry

    for name, file in (("stdin", sys.stdin), ("stdout", sys.stdout)):
        if file is None:
            raise SettingsError(f"--stdio: {name} is closed; expected it open")
    try:
        stream = open_tunnel(route, timeout_seconds=options.timeout)
    except RelayError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return EXIT_BAD
    try:
        end = carry(stream, sys.stdin.fileno(), sys.stdout.fileno())
    except OSError as error:
        print(f"{program}: cannot write to stdout: {error.strerror}", file=sys.stderr)
        return EXIT_BAD
    if words := _words(end, route):
        print(f"{program}: tunnel: {words}", file=sys.stderr)
    return EXIT_GOOD if end in (TunnelEnd.TARGET_CLOSED, TunnelEnd.CLIENT_CLOSED) else EXIT_BAD


def _words(end: str, route: Route) -> str:
    """What a person should know of how a tunnel ended; "" when there is nothing to say."""
    far = f"{route.target} or a proxy before it" if route.hops else str(route.target)
    if end == "target-reset":
        return f"{far} reset the connection"
    if end == "target-closed-at-once":
        return f"{far} closed the connection at once: the target was perhaps never reached"
    if end == "client-closed" and route.hops:
        return f"{far} sent nothing back; squid, tinyproxy and others drop an answer that comes after our end"
    return ""


def _listen(route: Route, options: Any, program: str) -> int:
    # What a first tunnel would import: its user would take that for the path's latency
    import protocol.connect  # noqa: F401
    from relay.commands.running import say, serve
    from relay.forward import Carried, Forwarder

    def on_end(carried: Carried) -> None:
        if carried.failure is not None:
            say(program, f"{carried.peer} {carried.failure.sentence}")
            return
        up, down = carried.counters.up, carried.counters.down
        is_plain = carried.ended == "client-closed" and (down or not up)
        words = "" if is_plain else _words(carried.ended, route)
        if words or options.verbose or carried.ended not in ("client-closed", "target-closed"):
            line = f"{carried.ended}: {up} bytes up, {down} down in {carried.seconds:.3f} s"
            say(program, f"{carried.peer} {line}" + (f"; {words}" if words else ""))

    forwarder = Forwarder(
        listen_of(options.listen, None),
        route,
        timeout_seconds=options.timeout,
        max_connections=options.max_connections,
        on_end=on_end,
    )
    return serve(program, forwarder, carries_tunnels=True)


def _parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Lead a local port, or stdin and stdout, to TARGET through proxies. When the tunnel "
        "cannot be opened, breaks, or ends before a byte has passed, the local peer gets a reset.",
    )
    parser.add_argument("target", metavar="TARGET", help="HOST:PORT; names are looked up by the last proxy")
    add_proxy_options(parser)
    add_listen_option(parser, None)
    parser.add_argument("--stdio", action="store_true", help="use stdin and stdout, as in ssh's ProxyCommand")
    parser.add_argument(
        "--timeout", type=seconds, default=30.0, metavar="SECONDS", help="to open one tunnel (default 30)"
    )
    parser.add_argument(
        "--max-connections", type=count, default=DEFAULT_MAX_CONNECTIONS, metavar="N",
        help="reset what comes beyond so many at once (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for every connection that ends")
    return parser
