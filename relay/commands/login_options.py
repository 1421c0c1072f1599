"""Options about logins to proxies: which schemes, and where user and password come from."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from relay.client_logins import LoginRules
from relay.commands.proxy_options import OfOneProxy
from relay.credentials import Sources, completed
from relay.failure import SettingsError
from relay.route import Hop


def add_login_options(parser: argparse.ArgumentParser) -> None:
    """All that belongs to logging in; the options of one proxy are kept with the -x before them."""
    group = parser.add_argument_group(
        "logins to proxies",
        "the first three: given once, for every proxy; given more than once, each for the -x before it",
    )

    def add(name: str, metavar: str, words: str) -> None:
        group.add_argument(
            name, action=OfOneProxy, metavar=metavar, help=words, default=argparse.SUPPRESS
        )

    add("--proxy-auth", "LIST", "the schemes that may be used (default negotiate,ntlm,digest,basic)")
    add("--proxy-charset", "NAME", "utf-8 (default) or latin-1: how old proxies want user and password")
    add("--proxy-spn", "HTTP/NAME", "ask a Kerberos ticket for this, when -x has another name of the proxy")
    add("--proxy-user-file", "FILE", "USER:PASSWORD on one line of FILE, for the -x before it alone")
    group.add_argument(
        "--proxy-netrc",
        nargs="?",
        const="",
        metavar="FILE",
        help="user and password by the proxy's name from FILE (default NETRC, else ~/.netrc); without FILE "
        "not right before HOST, which would be taken for it",
    )
    group.add_argument(
        "--proxy-keyring",
        action="store_true",
        help="user and password from the system's keyring (service: the URL of -x without the user)",
    )


def logged_in(hops: Sequence[Hop], arguments: argparse.Namespace) -> tuple[Hop, ...]:
    """The hops with their logins. Raises: SettingsError."""
    given: list[tuple[int, str, Any]] = arguments.of_proxies
    # Without any -x they are for nobody, but what cannot be is still a mistake worth a word
    count = len(hops) or 1
    rules = [
        LoginRules.parse(schemes, charset, spn)
        for schemes, charset, spn in zip(
            _for_each("--proxy-auth", given, count),
            _for_each("--proxy-charset", given, count),
            _for_each("--proxy-spn", given, count),
            strict=True,
        )
    ]
    files = _for_each("--proxy-user-file", given, count, once_is_for_all=False)
    found = []
    for index, hop in enumerate(hops):
        sources = Sources(
            os.environ,
            user_file=files[index],
            netrc_file=arguments.proxy_netrc,
            use_keyring=arguments.proxy_keyring,
            is_nearest=index == 0,
        )
        found.append(completed(replace(hop, login=rules[index]), sources))
    return tuple(found)


def _for_each(
    option: str, given: list[tuple[int, str, Any]], count: int, *, once_is_for_all: bool = True
) -> list[str | None]:
    """The value of an option for each of `count` proxies. Raises: SettingsError."""
    values = [(place, value) for place, name, value in given if name == option]
    if len(values) == 1 and (once_is_for_all or count == 1):
        return [values[0][1]] * count
    found: list[str | None] = [None] * count
    for place, value in values:
        if not 0 < place <= count:
            raise SettingsError(f"{option}: must follow the -x it is for")
        if found[place - 1] is not None:
            raise SettingsError(f"{option}: given twice for one proxy")
        found[place - 1] = value
    return found
