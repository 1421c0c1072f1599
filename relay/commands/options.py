"""Options that several commands share, and how their values are read."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from relay.failure import SettingsError, Stage
from relay.route import MAX_PORT, Endpoint, Hop, Route
from relay.shown import line_without_login, shown

if TYPE_CHECKING:
    from relay.proxy_source import Decision

# A day: longer than any wait that a person means.
MAX_SECONDS = 86_400.0
# What argparse quotes of a command line may be as long as that line.
MAX_LINE_CHARACTERS = 300
_DECIMAL = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\Z")
_WHOLE = re.compile(r"[0-9]{1,9}\Z")


class Parser(argparse.ArgumentParser):
    """argparse whose mistakes are SettingsErrors, so that every command ends the same way."""

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse lets nobody know of a full disk under --help
        stream = file or sys.stderr
        if message and stream is not None:
            stream.write(message)

    def error(self, message: str) -> None:  # type: ignore[override]
        line = "".join(letter if letter.isprintable() else "?" for letter in line_without_login(message))
        raise SettingsError(f"{line[:MAX_LINE_CHARACTERS]} (see {self.prog} --help)")


def seconds(text: str) -> float:
    """A time in seconds, above 0. Raises: argparse.ArgumentTypeError."""
    value = float(text) if _DECIMAL.match(text) else 0.0
    if not 0 < value <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{shown(text)}; expected seconds above 0, at most {MAX_SECONDS:g}")
    return value


def count(text: str) -> int:
    """A whole number from 1. Raises: argparse.ArgumentTypeError."""
    if not _WHOLE.match(text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{shown(text)}; expected a whole number from 1 to 999999999")
    return int(text)


def port(text: str) -> int:
    """A TCP port. Raises: argparse.ArgumentTypeError."""
    if not _WHOLE.match(text) or not 0 < int(text) <= MAX_PORT:
        raise argparse.ArgumentTypeError(f"{shown(text)}; expected a port from 1 to {MAX_PORT}")
    return int(text)


def file_name(text: str) -> str:
    """The name of a file; "" is mostly a variable that is not set. Raises: argparse.ArgumentTypeError."""
    if not text:
        raise argparse.ArgumentTypeError("''; expected the name of a file")
    return text


def stage_limit(text: str) -> tuple[Stage, float]:
    """STAGE=SECONDS. Raises: argparse.ArgumentTypeError."""
    name, equals, value = text.partition("=")
    limited = [Stage.RESOLVE, Stage.CONNECT, Stage.TLS, Stage.PROXY, Stage.LOGIN]
    if not equals or name not in limited:
        known = ", ".join(limited)
        raise argparse.ArgumentTypeError(f"{shown(text)}; expected STAGE=SECONDS with one of {known}")
    return Stage(name), seconds(value)


def add_proxy_options(parser: argparse.ArgumentParser) -> None:
    """-x and what belongs to the connection to a proxy."""
    parser.add_argument(
        "-x",
        "--proxy",
        action="append",
        default=[],
        metavar="URL",
        help="go through this proxy: http://[USER[:PASSWORD]@]HOST:PORT, https://..., socks5h://... or "
        "socks4a://... (it looks names up), socks5://... or socks4://... (we do); repeat for a chain, "
        "nearest first; auto asks the environment (HTTPS_PROXY, ALL_PROXY, NO_PROXY), pac+file:///... or "
        "pac+http://... a PAC file; without a password in it, RELAY_PROXY_PASSWORD is used, else it is asked "
        "for at a terminal",
    )
    from relay.commands.login_options import add_login_options
    from relay.commands.proxy_options import add_hop_options

    parser.set_defaults(program=parser.prog)
    add_hop_options(parser)
    add_login_options(parser)


def route_of(
    arguments: argparse.Namespace,
    target: Endpoint,
    *,
    is_quiet: bool = False,
    decision: "Decision | None" = None,
) -> Route:
    """The way to `target` that -x names, or has the environment or a PAC file name (`decision`, if known).

    Unless `is_quiet`, a line on stderr says so when one of these two lets us go straight.

    Raises: SettingsError.
    """
    if not is_sourced(arguments):
        return Route(target, hops_of(arguments))
    decision = decision or decided(arguments, target)
    decision = replace(decision, ways=tuple(_completed(hops, arguments) for hops in decision.ways))
    straight = [number for number, hops in enumerate(decision.ways) if not hops]
    if straight and not is_quiet:
        words = "straight, without a proxy" if straight == [0] else "perhaps straight, if no proxy is reached"
        print(f"{arguments.program}: {target}: {words}: {decision.rule}", file=sys.stderr, flush=True)
    return Route(target, decision.ways[0], decision.ways[1:])


def is_sourced(arguments: argparse.Namespace) -> bool:
    """Whether -x names where the proxy is to be asked for, and not the proxy. Raises: SettingsError."""
    sources = [url for url in arguments.proxy if url == "auto" or url.startswith("pac+")]
    if sources and len(arguments.proxy) > 1:
        raise SettingsError(f"--proxy: {shown(sources[0])} finds the proxies itself; expected no other -x")
    return bool(sources)


def decided(arguments: argparse.Namespace, target: Endpoint) -> "Decision":
    """What the environment or a PAC file says of `target`. Raises: SettingsError."""
    from relay.proxy_source import checked_source, from_environment

    source = checked_source(arguments.proxy[0])
    if source == "auto":
        return from_environment(target, os.environ)
    from relay.pac import from_pac

    return from_pac(source, target)


def hops_of(arguments: argparse.Namespace) -> tuple[Hop, ...]:
    """The proxies of -x, where only their URLs will do. Raises: SettingsError."""
    if is_sourced(arguments):
        raise SettingsError(f"--proxy: {shown(arguments.proxy[0])}; expected the URL of a proxy")
    return _completed([Hop.parse(url) for url in arguments.proxy], arguments)


def _completed(given: Sequence[Hop], arguments: argparse.Namespace) -> tuple[Hop, ...]:
    """The same proxies with what other options and the environment say of them."""
    from relay.commands.login_options import logged_in
    from relay.commands.proxy_options import with_options

    hops = tuple(with_options(given, arguments.of_proxies))
    if hops or not is_sourced(arguments):  # on the straight way that a source names is nobody to log in to
        hops = logged_in(hops, arguments)
    for hop in hops:
        if hop.tls and not hop.verify:
            words = "is NOT verified: anybody on the way can read the login"
            warning = f"{arguments.program}: warning: the certificate of {hop} {words}"
            print(warning, file=sys.stderr, flush=True)
    return hops


def add_limit_option(parser: argparse.ArgumentParser) -> None:
    """--limit, repeatable."""
    parser.add_argument(
        "--limit", type=stage_limit, action="append", default=[], metavar="STAGE=SECONDS",
        help="of one stage of making a connection: resolve, connect, tls, proxy, login; repeat for more",
    )  # fmt: skip


def add_key_option(parser: argparse.ArgumentParser) -> None:
    """--key-file."""
    parser.add_argument(
        "--key-file",
        metavar="FILE",
        help="the key, 64 hexadecimal digits (default: RELAY_KEY_FILE, else the public key)",
    )


def add_listen_option(parser: argparse.ArgumentParser, default: str | None) -> None:
    """--listen, repeatable."""
    parser.add_argument(
        "--listen",
        action="append",
        metavar="HOST:PORT",
        help=f"listen there; repeat for more; port 0 takes a free one (default {default})"
        if default
        else "listen there; repeat for more; port 0 takes a free one",
    )


def listen_of(values: Sequence[str] | None, default: str | None) -> tuple[Endpoint, ...]:
    """The endpoints of --listen. Raises: SettingsError."""
    return tuple(Endpoint.parse(value, "--listen") for value in values or ([default] if default else []))
