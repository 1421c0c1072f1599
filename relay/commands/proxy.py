"""`relay proxy`: the HTTP CONNECT proxy."""

import argparse
import mmap
import secrets
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace

from relay.c_parser import ParserMissing, require_c_parser
from relay.commands import EXIT_BAD, EXIT_GOOD, passwd
from relay.commands.access_log import open_log
from relay.commands.admin_option import bind_admin, warn_of_admin
from relay.commands.proxy_faults import controlled, plan_of
from relay.commands.proxy_persona import list_personas
from relay.commands.proxy_service import ProxyService, Ties, reloaded
from relay.commands.running import say, serve
from relay.commands.serving_profile import admin_source, listen_source, profile_of, proxy_parser
from relay.failure import SettingsError
from relay.listening import bound_endpoint
from relay.profile import Profile
from relay.refusal import PROXY_NAME
from relay.route import Endpoint
from relay.siblings import make_pairs
from relay.workers import Opened, bind_for_workers, run_workers

PROBE_SECONDS = 5.0
# Our refusal is a few hundred bytes.
MAX_PROBE_BYTES = 4096


def run(arguments: Sequence[str], program: str) -> int:
    """Proxy until told to stop."""
    if arguments[:1] == ["personas"]:
        return list_personas(arguments[1:], f"{program} personas")
    if arguments[:1] == ["passwd"]:
        return passwd.run(arguments[1:], f"{program} passwd")
    options = proxy_parser(program).parse_args(arguments)
    if options.probe is not None:
        return _probe(Endpoint.parse(options.probe, "--probe"), program)
    profile = profile_of(options)
    try:
        require_c_parser()
    except ParserMissing as error:
        say(program, str(error))
        return EXIT_BAD
    _warn(program, profile)
    # One name for all workers: a request that comes round to another worker has come round as well
    via = profile.listen.via or f"relay-{secrets.token_hex(4)}"
    return _Start(program, options, replace(profile, listen=replace(profile.listen, via=via))).run()


def _warn(program: str, profile: Profile) -> None:
    if profile.login is None and profile.is_public:
        say(program, "warning: it can be reached from other machines and asks for no login")
    warn_of_admin(profile.listen.admin, program)


class _Start:
    """One start of the command, as one process or as several."""

    def __init__(self, program: str, options: argparse.Namespace, profile: Profile) -> None:
        self._program = program
        self._options = options
        self._profile = profile
        self._faults = plan_of(profile.faults, options, program)
        self._log_file = open_log(profile.log.file)
        self._admin = bind_admin(profile.listen.admin, admin_source(options))
        self._own = [bound_endpoint(self._admin)] if self._admin is not None else []
        # Shared with the workers: 1 when the last hang-up found a broken file, and that has been told
        self._is_told = mmap.mmap(-1, 1)

    def run(self) -> int:
        try:
            if self._own:
                say(self._program, f"admin on http://{self._own[0]}")
            if self._options.workers == 1:
                return self._serve(Ties(admin=self._admin))
            return self._run_workers(self._options.workers)
        finally:
            if self._admin is not None:
                self._admin.close()
            if self._log_file is not None and self._log_file is not sys.stdout:
                self._log_file.close()

    def _read_again(self) -> Profile:
        """The profile as the file has it now, with the Via that was made up at the start."""
        profile = profile_of(self._options)
        via = profile.listen.via or self._profile.listen.via
        return replace(profile, listen=replace(profile.listen, via=via))

    def _serve(self, ties: Ties) -> int:
        service = ProxyService(
            self._program, self._profile, ties, self._log_file, self._own, self._read_again, self._faults
        )
        reload = service.reload if self._options.config is not None else None
        try:
            served = controlled(service, self._options, self._program)
            return serve(
                self._program, served, is_quiet=ties.sockets is not None, carries_tunnels=True,
                drain=service.drain, reload=reload, named=listen_source(self._options),
            )  # fmt: skip
        finally:
            service.close_log()

    def _run_workers(self, workers: int) -> int:
        try:
            bound = bind_for_workers(self._profile.plain, self._profile.listeners, workers)
        except OSError as error:
            raise SettingsError(f"{listen_source(self._options)}: {error.strerror or error}") from None
        pairs = make_pairs(workers) if self._admin is not None else []

        def work(own: Opened) -> int:
            number = next(at for at, one in enumerate(bound) if one is own)
            return self._serve(replace(_ties(number, own, self._admin, pairs), is_told=self._is_told))

        def announce() -> None:
            for place in bound[0].places:
                say(self._program, f"listening on {place}")
            for pair in pairs:
                for sock in pair:
                    sock.close()
            if self._admin is not None:
                # A worker answers there: who asks when it has ended must not wait for us
                self._admin.close()

        hangup = self._check_again if self._options.config is not None else None
        try:
            status = run_workers(bound, work, announce, hangup)
        finally:
            bound[0].remove()
        say(self._program, "stopped")
        return status

    def _check_again(self) -> None:
        """Say what the workers will find in the profile: once, and not by each of them."""
        try:
            profile = self._read_again()
        except SettingsError as error:
            self._is_told[0] = 1
            say(self._program, f"not reloaded, all stays as it was: {error}")
            return
        self._is_told[0] = 0
        say(self._program, reloaded(self._profile, profile))


def _ties(
    number: int,
    own: Opened,
    admin: socket.socket | None,
    pairs: Sequence[tuple[socket.socket, socket.socket]],
) -> Ties:
    """What worker `number` keeps; it closes what belongs to the others."""
    if number == 0:
        for _, theirs in pairs:
            theirs.close()
        return Ties(own.sockets, own.more, admin, [ours for ours, _ in pairs])
    if admin is not None:
        admin.close()
    for at, (first, last) in enumerate(pairs, 1):
        first.close()
        if at != number:
            last.close()
    return Ties(own.sockets, own.more, sibling=pairs[number - 1][1] if pairs else None)


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
