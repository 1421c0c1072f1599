"""`relay proxy`: the HTTP CONNECT proxy."""

import argparse
import json
import re
import secrets
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from relay.access import Access, parse_ports
from relay.commands import EXIT_BAD, EXIT_GOOD
from relay.commands.options import Parser, add_listen_option, count, listen_of, seconds
from relay.commands.proxy_faults import add_fault_options, controlled, faults_of
from relay.commands.proxy_persona import add_persona_option, list_personas, persona_of
from relay.commands.running import say, serve
from relay.failure import SettingsError
from relay.line_log import LineLog
from relay.listening import bound_endpoint, is_public
from relay.proxy import CONNECT_TIMEOUT_SECONDS, HEAD_TIMEOUT_SECONDS, ConnectProxy
from relay.refusal import PROXY_NAME
from relay.route import Endpoint
from relay.takeover import ParserMissing, require_c_parser
from relay.workers import MAX_WORKERS, Work, bind_for_workers, run_workers

DEFAULT_LISTEN = "127.0.0.1:3128"
PROBE_SECONDS = 5.0
# Our refusal is a few hundred bytes.
MAX_PROBE_BYTES = 4096
# RFC 9110 section 7.6.3: received-by is a host or a pseudonym, which is a token
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z")


def run(arguments: Sequence[str], program: str) -> int:
    """Proxy until told to stop."""
    if list(arguments) == ["personas"]:
        return list_personas()
    options = _parser(program).parse_args(arguments)
    if options.probe is not None:
        return _probe(Endpoint.parse(options.probe, "--probe"), program)
    _check_via(options.via)
    if not _has_parser(program):
        return EXIT_BAD
    listen = listen_of(options.listen, DEFAULT_LISTEN)
    access = Access(parse_ports(options.allow_port), allow_local=options.allow_local or None)
    faults, persona = faults_of(options, program), persona_of(options)
    log_file = _open_log(options.access_log)

    def work(sockets: Sequence[socket.socket] | None = None) -> int:
        log = _AccessLog(log_file, program) if log_file is not None else None
        proxy = ConnectProxy(
            listen, access=access, connect_timeout_seconds=options.connect_timeout,
            head_timeout_seconds=options.head_timeout, via=options.via,
            log=log.write if log is not None else None, sockets=sockets,
            faults=faults, persona=persona,
        )  # fmt: skip
        try:
            served, is_quiet = controlled(proxy, options, program), sockets is not None
            return serve(program, served, is_quiet=is_quiet, carries_tunnels=True)
        finally:
            if log is not None:
                log.close()

    if any(map(is_public, listen)):
        say(program, "warning: it can be reached from other machines and asks for no login")
    try:
        if options.workers == 1:
            return work()
        # One name for all: a request that comes round to another worker has come round as well
        options.via = options.via or f"relay-{secrets.token_hex(4)}"
        return _serve_with_workers(program, listen, options.workers, work)
    finally:
        if log_file is not None and log_file is not sys.stdout:
            log_file.close()


def _check_via(name: str | None) -> None:
    if name is not None and not _TOKEN.match(name):
        raise SettingsError(f"--via: {name[:80]!r}; expected a token of RFC 9110 section 5.6.2")


def _has_parser(program: str) -> bool:
    try:
        require_c_parser()
    except ParserMissing as error:
        say(program, str(error))
        return False
    return True


def _serve_with_workers(program: str, listen: Sequence[Endpoint], workers: int, work: Work) -> int:
    try:
        bound = bind_for_workers(listen, workers)
    except OSError as error:
        raise SettingsError(f"--listen: {error.strerror or error}") from None

    def announce() -> None:
        for sock in bound[0]:
            say(program, f"listening on {bound_endpoint(sock)}")

    status = run_workers(bound, work, announce)
    say(program, "stopped")
    return status


class _AccessLog:
    """One JSON object per line. A full disk, a slow reader or one that has gone does not stop the proxy."""

    def __init__(self, file: TextIO, program: str) -> None:
        self._program = program
        self._lines = LineLog(file.fileno(), self._has_failed, lambda lost: json.dumps({"lost_lines": lost}))
        self.close = self._lines.close

    def write(self, entry: dict[str, Any]) -> None:
        self._lines.write(json.dumps(entry))

    def _has_failed(self, error: OSError) -> None:
        say(self._program, f"--access-log: cannot write any more: {error.strerror}")


def _probe(endpoint: Endpoint, program: str) -> int:
    """For health checks: an origin-form request must get the 405 of this proxy."""
    answer = b""
    try:
        with socket.create_connection((endpoint.host, endpoint.port), PROBE_SECONDS) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: probe\r\n\r\n")
            while len(answer) < MAX_PROBE_BYTES and (data := sock.recv(MAX_PROBE_BYTES)):
                answer += data
    except OSError as error:
        say(program, f"--probe: nothing answers on {endpoint}: {error.strerror or error}")
        return EXIT_BAD
    if not answer.startswith(b"HTTP/1.1 405 ") or PROXY_NAME.encode() not in answer:
        say(program, f"--probe: what answers on {endpoint} is not this proxy")
        return EXIT_BAD
    return EXIT_GOOD


def _open_log(path: str | None) -> TextIO | None:
    if path is None:
        return None
    if path == "-":
        if sys.stdout is None:
            raise SettingsError("--access-log: stdout is closed; expected a file, or stdout open")
        return sys.stdout
    try:
        return Path(path).open("a", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"--access-log: cannot write {path}: {error.strerror}") from None


def worker_count(text: str) -> int:
    """How many workers. Raises: argparse.ArgumentTypeError."""
    workers = count(text)
    if workers > MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from 1 to {MAX_WORKERS}")
    return workers


def _parser(program: str) -> Parser:
    parser = Parser(program, description="An HTTP proxy: CONNECT tunnels, and requests for http:// URIs.")
    add_listen_option(parser, DEFAULT_LISTEN)
    parser.add_argument(
        "--allow-port", action="append", default=[], metavar="PORT[-PORT]",
        help="refuse every other target port with 403; repeat or separate by commas (default: all allowed)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-local", action="store_true",
        help="let a proxy that listens beyond loopback reach targets on its own machine and link",
    )  # fmt: skip
    parser.add_argument(
        "--connect-timeout", type=seconds, default=CONNECT_TIMEOUT_SECONDS, metavar="SECONDS",
        help="for name lookup and TCP connect to a target, then 504 (default 10)",
    )  # fmt: skip
    parser.add_argument(
        "--head-timeout", type=seconds, default=HEAD_TIMEOUT_SECONDS, metavar="SECONDS",
        help="cut off a client that has not sent a whole request head (default 30)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=worker_count, default=1, metavar="N",
        help="processes that share the listeners, for more than one core (default 1)",
    )  # fmt: skip
    parser.add_argument("--via", metavar="NAME", help="name in Via fields (default: a random one)")
    parser.add_argument(
        "--access-log", metavar="FILE", help="append one JSON line per tunnel or request; - is stdout"
    )
    parser.add_argument(
        "--probe", metavar="HOST:PORT", help="do not serve; exit 0 if such a proxy answers there"
    )
    add_persona_option(parser)
    add_fault_options(parser)
    return parser
