"""`relay proxy passwd`: write a user's password, hashed, into a users file."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from relay.commands import EXIT_GOOD
from relay.commands.options import Parser
from relay.commands.running import say
from relay.failure import SettingsError
from relay.login_hashes import DEFAULT_REALM, MAX_REALM_CHARACTERS, digest_verifiers, nt_verifier
from relay.users import MAX_PASSWORD_CHARACTERS, check_password, hash_password, normal, set_verifiers

Maker = Callable[[str, str, str], Sequence[str]]

MAKERS: dict[str, Maker] = {
    "basic": lambda user, realm, password: [hash_password(password)],
    "digest": digest_verifiers,
    "ntlm": lambda user, realm, password: [nt_verifier(password)],
}
"""What a users file needs for a scheme, from user, realm and password."""


def run(arguments: Sequence[str], program: str) -> int:
    """Ask for a password and write it."""
    options = _parser(program).parse_args(arguments)
    password = _ask_twice(options.user) if sys.stdin and sys.stdin.isatty() else _read_line()
    check_password(password)
    user, realm, password = normal(options.user), options.realm, normal(password)
    verifiers = [made for scheme in options.scheme for made in MAKERS[scheme](user, realm, password)]
    is_new = set_verifiers(Path(options.file), user, verifiers)
    say(program, f"{'added' if is_new else 'changed'} {options.user} in {options.file}")
    return EXIT_GOOD


def _ask_twice(user: str) -> str:
    import getpass

    try:
        password = getpass.getpass(f"Password for {user}: ")
        again = getpass.getpass("The same again: ")
    except EOFError:
        raise SettingsError("password: none was given") from None
    if password != again:
        raise SettingsError("password: the two are not the same; nothing was written")
    return password


def _read_line() -> str:
    """One line of stdin, without its end."""
    if not sys.stdin:
        raise SettingsError("password: stdin is closed; expected one line with the password")
    data = sys.stdin.buffer.readline(MAX_PASSWORD_CHARACTERS * 4 + 2)
    try:
        return data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SettingsError("password: stdin is no UTF-8") from None


def _schemes(text: str) -> list[str]:
    """Names with commas between. Raises: argparse.ArgumentTypeError."""
    names = list(dict.fromkeys(name.strip().lower() for name in text.split(",")))
    for name in names:
        if name not in MAKERS:
            raise argparse.ArgumentTypeError(f"{name[:40]!r}; expected of {', '.join(MAKERS)}")
    return names


def _realm(text: str) -> str:
    """As a profile may have it. Raises: argparse.ArgumentTypeError."""
    if not (0 < len(text) <= MAX_REALM_CHARACTERS and text.isascii() and text.isprintable()):
        raise argparse.ArgumentTypeError(f"expected printable ASCII, 1 to {MAX_REALM_CHARACTERS} characters")
    return text


def _parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Write a user's password, hashed, into FILE, which is made if need be. The password "
        "comes from a prompt, or as one line from stdin; never from the command line, which others can read.",
    )
    parser.add_argument("file", metavar="FILE", help="what [login] users names in a profile")
    parser.add_argument("user", metavar="USER", help="for NTLM also DOMAIN\\USER")
    parser.add_argument(
        "--scheme", type=_schemes, default=["basic"], metavar="LIST",
        help="what the user may log in with: basic, digest, ntlm (also inside Negotiate), with commas "
        "between (default basic). Whoever reads what is kept for digest and ntlm can log in with it",
    )  # fmt: skip
    parser.add_argument(
        "--realm", type=_realm, default=DEFAULT_REALM, metavar="TEXT",
        help=f"[login] realm of the profile: it is part of what is kept for digest (default {DEFAULT_REALM})",
    )  # fmt: skip
    return parser
