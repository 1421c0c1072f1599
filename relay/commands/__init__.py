"""The command line: `relay COMMAND ...`. Only the command that runs is imported, so ping starts fast."""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from relay import __version__

COMMANDS = {
    "demo": "show the main job on an embedded server and proxy, or prove it on yours",
    "server": "an emulated Framework Server that keeps a record of what really arrived",
    "proxy": "an HTTP CONNECT proxy that stands in for a corporate one",
    "route": "tell which proxy a target is reached through, and the rule that says so",
    "tunnel": "a local port, or stdin and stdout, that leads to a target through proxies",
    "check": "say what stops the traffic, who can mend it, and what to send to them",
    "lab": "networks that are really broken, to try `relay check` on (Linux)",
    "report": "show a saved report of check in another form, or what changed between two",
    "exporter": "probe paths when Prometheus asks, and name what stops them",
    "suite": "check a matrix of paths, each against what is expected of it",
    "ping": "TMSS10Ping: time empty packets to a Framework Server",
}
EXIT_GOOD, EXIT_BAD, EXIT_USAGE = 0, 1, 2
# As a shell says it of a program that SIGINT has ended.
EXIT_INTERRUPTED = 130


def usage() -> str:
    """The text of `relay --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    head = ["usage: relay COMMAND [OPTIONS]", "", "commands:"]
    return "\n".join([*head, *lines, "", "relay COMMAND --help tells its options."])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0 good, 1 not good, 2 wrong usage."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments and arguments[0] in COMMANDS:
        return guarded(arguments[0], arguments[1:], f"relay {arguments[0]}")
    return guarded("", arguments, "relay")


def _tell(arguments: Sequence[str]) -> int:
    """What `relay` says without a command."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return EXIT_GOOD if arguments else EXIT_USAGE
    if arguments[0] in ("-V", "--version"):
        print(f"framework-relay {__version__}")
        return EXIT_GOOD
    from relay.shown import shown

    known = ", ".join(COMMANDS)
    given = shown(arguments[0])
    return _complain(f"relay: there is no command {given}; expected one of {known}", EXIT_USAGE)


def tmss10ping() -> int:
    """The console script TMSS10Ping."""
    return guarded("ping", sys.argv[1:], "TMSS10Ping")


def guarded(command: str, arguments: Sequence[str], program: str) -> int:
    """Run a command, "" for none; whatever goes wrong becomes one line and a status, never a traceback."""
    try:
        status = _run(command, arguments, program)
    except KeyboardInterrupt:
        # Also while the command's modules are imported
        status = EXIT_INTERRUPTED
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    except BrokenPipeError:
        # Whoever read our output has gone (a closed `head`): nothing to say, nowhere to say it
        status = EXIT_BAD
    except OSError as error:
        status = _complain(f"{program}: cannot go on: {error.strerror or error}", EXIT_BAD)
    return status if _is_output_taken() else EXIT_BAD


def _run(command: str, arguments: Sequence[str], program: str) -> int:
    if not command:
        return _tell(arguments)
    from relay.failure import SettingsError

    run: Callable[[Sequence[str], str], int] = import_module(f"relay.commands.{command}").run
    try:
        return run(arguments, program)
    except SettingsError as error:
        return _complain(f"{program}: {error}", EXIT_USAGE)


def _complain(line: str, status: int) -> int:
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
    return status


def _is_output_taken() -> bool:
    """Flush; False when nobody takes stdout. Else Python would fail at it, with words and status 120."""
    is_taken = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            is_taken = is_taken and stream is not sys.stdout
            # What is still in the buffer goes nowhere, instead of failing again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return is_taken
