"""`relay server`: the emulated Framework Server."""

import json
import socket
from collections.abc import Callable, Sequence
from functools import partial
from io import FileIO
from pathlib import Path

from relay.commands.admin_option import add_admin_option, admin_endpoint, bind_admin, warn_of_admin
from relay.commands.options import Parser, add_key_option, add_listen_option, count, listen_of, seconds
from relay.commands.running import say, serve
from relay.commands.server_service import ServerService
from relay.emulator import IDLE_TIMEOUT_SECONDS, MAX_CONNECTIONS, EmulatedServer
from relay.failure import SettingsError
from relay.journal import Record
from relay.keys import load_key
from relay.listening import allow_descriptors, bound_endpoint, is_public

DEFAULT_LISTEN = "127.0.0.1:5000"


def run(arguments: Sequence[str], program: str) -> int:
    """Serve until told to stop."""
    options = _parser(program).parse_args(arguments)
    key = load_key(options.key_file)
    listen = listen_of(options.listen, DEFAULT_LISTEN)
    journal = _open_journal(options.journal)
    for endpoint in filter(is_public, listen):
        if key.is_public:
            say(program, f"warning: {endpoint} can be reached from other machines, and the key is public: "
                "anybody may use this server (set --key-file)")  # fmt: skip
    if not allow_descriptors(options.max_connections):
        say(program, f"warning: this process may not open enough files for {options.max_connections} "
            "connections (ulimit -n): those beyond will wait")  # fmt: skip
    tell = _teller(program, options.journal, journal)
    admin = None
    try:
        admin = _bind_admin(options.admin, program)
        service = ServerService(admin, tell, partial(
            EmulatedServer,
            listen,
            key=key,
            idle_timeout_seconds=options.idle_timeout,
            max_connections=options.max_connections,
        ))  # fmt: skip
        return serve(program, service)
    finally:
        if admin is not None:
            admin.close()
        if journal is not None:
            journal.close()


def _bind_admin(text: str | None, program: str) -> socket.socket | None:
    endpoint = admin_endpoint(text) if text is not None else None
    warn_of_admin(endpoint, program)
    sock = bind_admin(endpoint)
    if sock is not None:
        say(program, f"admin on http://{bound_endpoint(sock)}")
    return sock


def _teller(program: str, path: str, journal: FileIO | None) -> Callable[[Record], None]:
    is_written = True

    def on_end(record: Record) -> None:
        nonlocal is_written
        seen = f", looks like {record.looks_like}" if record.looks_like else ""
        why = f" ({record.detail})" if record.detail else ""
        say(program, f"{record.peer} {record.ended}{why}: {record.packets_received} packets, "
            f"{record.bytes_received} bytes in {record.seconds:.3f} s{seen}")  # fmt: skip
        if journal is None:
            return
        try:
            journal.write(json.dumps(record.as_dict()).encode() + b"\n")
            is_written = True
        except OSError as error:
            # A full disk is no reason to stop serving; once is enough to say so
            if is_written:
                say(program, f"--journal: cannot write {path}: {error.strerror}")
            is_written = False

    return on_end


def _open_journal(path: str | None) -> FileIO | None:
    if path is None:
        return None
    try:
        # Unbuffered: what could not be written once must not come up again when the file is closed
        return Path(path).open("ab", buffering=0)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"--journal: cannot write {path!r}: {why}") from None


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
        help="more than so many at once are reset as soon as they come (default %(default)s)",
    )  # fmt: skip
    add_admin_option(parser, "connections")
    parser.add_argument("--journal", metavar="FILE", help="append one JSON line per ended connection to FILE")
    return parser
