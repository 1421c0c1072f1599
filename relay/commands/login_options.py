"""Options about logins to proxies: which schemes, and where user and password come from."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace

from relay.credentials import Sources, completed
from relay.failure import SettingsError
from relay.logins import LoginRules
from relay.route import Hop


def add_login_options(parser: argparse.ArgumentParser) -> None:
    """All that belongs to logging in; repeated, the nth is for the nth proxy."""
    group = parser.add_argument_group(
        "logins to proxies",
        "Given once, --proxy-auth, --proxy-charset and --proxy-spn are for every proxy; "
        "repeated, the nth is for the nth -x.",
    )
    group.add_argument(
        "--proxy-auth",
        action="append",
        metavar="LIST",
        help="the schemes that may be used, strongest first (default negotiate,ntlm,digest,basic)",
    )
    group.add_argument(
        "--proxy-charset",
        action="append",
        metavar="NAME",
        help="utf-8 (default) or latin-1: how user and password are encoded for old proxies",
    )
    group.add_argument(
        "--proxy-spn",
        action="append",
        metavar="HTTP/NAME",
        help="the Kerberos service to ask a ticket for, when the proxy's own name is not the one in -x",
    )
    _add_sources(group)


def _add_sources(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--proxy-user-file",
        action="append",
        default=[],
        metavar="FILE",
        help="USER:PASSWORD on one line of FILE; the nth is for the nth -x",
    )
    group.add_argument(
        "--proxy-netrc",
        nargs="?",
        const="",
        metavar="FILE",
        help="user and password by the proxy's name from FILE (default NETRC, else ~/.netrc)",
    )
    group.add_argument(
        "--proxy-keyring",
        action="store_true",
        help="user and password from the system's keyring (service: the URL of -x without the user)",
    )


def logged_in(hops: Sequence[Hop], arguments: argparse.Namespace) -> list[Hop]:
    """The hops with their logins. Raises: SettingsError."""
    files: list[str] = arguments.proxy_user_file
    if len(files) > len(hops):
        given = f"{len(files)} files for {len(hops)} proxies"
        raise SettingsError(f"--proxy-user-file: {given}; expected one each")
    count = len(hops)
    schemes = _for_each("--proxy-auth", arguments.proxy_auth, count)
    charsets = _for_each("--proxy-charset", arguments.proxy_charset, count)
    spns = _for_each("--proxy-spn", arguments.proxy_spn, count)
    found = []
    for index, hop in enumerate(hops):
        rules = LoginRules.parse(schemes[index], charsets[index], spns[index])
        sources = Sources(
            os.environ,
            user_file=files[index] if index < len(files) else None,
            netrc_file=arguments.proxy_netrc,
            use_keyring=arguments.proxy_keyring,
            is_nearest=index == 0,
        )
        found.append(completed(replace(hop, login=rules), sources))
    return found


def _for_each(flag: str, given: list[str] | None, count: int) -> list[str | None]:
    if not given:
        return [None] * count
    if len(given) == 1:
        return [given[0]] * count
    if len(given) > count:
        raise SettingsError(f"{flag}: given {len(given)} times for {count} proxies; expected one each")
    return [*given, *[None] * (count - len(given))]
