"""`relay proxy passwd`: write a user's password, hashed, into a users file."""

import sys
from collections.abc import Sequence
from pathlib import Path

from relay.commands import EXIT_GOOD
from relay.commands.options import Parser
from relay.commands.running import say
from relay.failure import SettingsError
from relay.users import MAX_PASSWORD_CHARACTERS, normal, set_password


def run(arguments: Sequence[str], program: str) -> int:
    """Ask for a password and write it."""
    options = _parser(program).parse_args(arguments)
    password = _ask_twice(options.user) if sys.stdin and sys.stdin.isatty() else _read_line()
    is_new = set_password(Path(options.file), normal(options.user), password)
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


def _parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Write a user's password, hashed, into FILE, which is made if need be. The password "
        "comes from a prompt, or as one line from stdin; never from the command line, which others can read.",
    )
    parser.add_argument("file", metavar="FILE", help="what [login] users names in a profile")
    parser.add_argument("user", metavar="USER")
    return parser
