"""Options that several commands share, and how their values are read."""

import argparse
import re
from collections.abc import Sequence

from relay.commands.login_options import add_login_options, logged_in
from relay.failure import SettingsError
from relay.route import MAX_PORT, Endpoint, Hop

# A day: longer than any wait that a person means.
MAX_SECONDS = 86_400.0
# What argparse quotes of a command line may be as long as that line.
MAX_LINE_CHARACTERS = 300
_DECIMAL = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\Z")
_WHOLE = re.compile(r"[0-9]{1,9}\Z")


class Parser(argparse.ArgumentParser):
    """argparse whose mistakes are SettingsErrors, so that every command ends the same way."""

    def error(self, message: str) -> None:  # type: ignore[override]
        line = "".join(letter if letter.isprintable() else "?" for letter in message)
        raise SettingsError(f"{line[:MAX_LINE_CHARACTERS]} (see {self.prog} --help)")


def seconds(text: str) -> float:
    """A time in seconds, above 0. Raises: argparse.ArgumentTypeError."""
    value = float(text) if _DECIMAL.match(text) else 0.0
    if not 0 < value <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{_show(text)}; expected seconds above 0, at most {MAX_SECONDS:g}")
    return value


def count(text: str) -> int:
    """A whole number from 1. Raises: argparse.ArgumentTypeError."""
    if not _WHOLE.match(text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{_show(text)}; expected a whole number from 1 to 999999999")
    return int(text)


def port(text: str) -> int:
    """A TCP port. Raises: argparse.ArgumentTypeError."""
    if not _WHOLE.match(text) or not 0 < int(text) <= MAX_PORT:
        raise argparse.ArgumentTypeError(f"{_show(text)}; expected a port from 1 to {MAX_PORT}")
    return int(text)


def _show(text: str) -> str:
    """Quote what a person typed: one line, bounded, without control characters."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")


def add_proxy_options(parser: argparse.ArgumentParser) -> None:
    """-x and what belongs to the connection to a proxy."""
    parser.add_argument(
        "-x",
        "--proxy",
        action="append",
        default=[],
        metavar="URL",
        help="go through this proxy: http://[USER[:PASSWORD]@]HOST:PORT or https://...; "
        "repeat for a chain, nearest first; without a password in it, RELAY_PROXY_PASSWORD is used, "
        "else it is asked for at a terminal",
    )
    add_login_options(parser)
    parser.add_argument(
        "--proxy-ca", metavar="FILE", help="trust the certificates in FILE (PEM) for https:// proxies"
    )
    parser.add_argument(
        "--proxy-insecure",
        action="store_true",
        help="do NOT verify the certificate of an https:// proxy: anybody on the way can read the login",
    )


def hops_of(arguments: argparse.Namespace) -> tuple[Hop, ...]:
    """The proxies of -x. Raises: SettingsError."""
    ca_file: str | None = arguments.proxy_ca
    if ca_file is not None:
        _check_certificates(ca_file)
    hops = [
        Hop.parse(url, ca_file=ca_file, verify=not arguments.proxy_insecure) for url in arguments.proxy
    ]
    return logged_in(hops, arguments)


def _check_certificates(path: str) -> None:
    """Raises: SettingsError; else a bad file would come up as a fault of the proxy's."""
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        why = "it holds no certificate"
    except OSError as error:
        why = str(error.strerror)
    else:
        return
    raise SettingsError(f"--proxy-ca: cannot use {_show(path)}: {why}; expected a PEM file")


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
