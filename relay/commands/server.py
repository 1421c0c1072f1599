"""`relay server`: the emulated Framework Server."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from relay.commands.options import Parser, add_key_option, add_listen_option, count, listen_of, seconds
from relay.commands.running import say, serve
from relay.emulator import IDLE_TIMEOUT_SECONDS, MAX_CONNECTIONS, EmulatedServer
from relay.failure import SettingsError
from relay.journal import Record
from relay.keys import load_key
from relay.listening import is_public

DEFAULT_LISTEN = "127.0.0.1:5000"


def run(arguments: Sequence[str], program: str) -> int:
    """Serve until told to stop."""
    options = _parser(program).parse_args(arguments)
    key = load_key(options.key_file)
    listen = listen_of(options.listen, DEFAULT_LISTEN)
    journal = _open_journal(options.journal)

    def on_end(record: Record) -> None:
        seen = f", looks like {record.looks_like}" if record.looks_like else ""
        say(program, f"{record.peer} {record.ended}: {record.packets_received} packets, "
            f"{record.bytes_received} bytes in {record.seconds:.3f} s{seen}")  # fmt: skip
        if journal is not None:
            journal.write(json.dumps(record.as_dict()) + "\n")
            journal.flush()

    for endpoint in filter(is_public, listen):
        if key.is_public:
            say(program, f"warning: {endpoint} can be reached from other machines, and the key is public: "
                "anybody may use this server (set --key-file)")  # fmt: skip
    service = EmulatedServer(
        listen,
        key=key,
        idle_timeout_seconds=options.idle_timeout,
        max_connections=options.max_connections,
        on_end=on_end,
    )
    try:
        return serve(program, service)
    finally:
        if journal is not None:
            journal.close()


def _open_journal(path: str | None) -> TextIO | None:
    if path is None:
        return None
    try:
        return Path(path).open("a", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"--journal: cannot write {path}: {error.strerror}") from None


def _parser(program: str) -> Parser:
    parser = Parser(program, description="An emulated Framework Server that records what really arrives.")
    add_listen_option(parser, DEFAULT_LISTEN)
    add_key_option(parser)
    parser.add_argument(
        "--idle-timeout", type=seconds, default=IDLE_TIMEOUT_SECONDS, metavar="SECONDS",
        help="close a connection on which no whole packet came for so long (default 300)",
    )  # fmt: skip
    parser.add_argument(
        "--max-connections", type=count, default=MAX_CONNECTIONS, metavar="N",
        help="more than so many at once are closed as soon as they come (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--journal", metavar="FILE", help="append one JSON line per ended connection to FILE")
    return parser
