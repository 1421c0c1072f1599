"""The command line: `relay COMMAND ...`. Only the command that runs is imported, so ping starts fast."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from relay import __version__

COMMANDS = {
    "demo": "show the main job on an embedded server and proxy, or prove it on yours",
    "server": "an emulated Framework Server that keeps a record of what really arrived",
    "proxy": "an HTTP CONNECT proxy that stands in for a corporate one",
    "tunnel": "a local port, or stdin and stdout, that leads to a target through proxies",
    "ping": "TMSS10Ping: time empty packets to a Framework Server",
}
EXIT_GOOD, EXIT_BAD, EXIT_USAGE = 0, 1, 2


def usage() -> str:
    """The text of `relay --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        ["usage: relay COMMAND [OPTIONS]", "", "commands:", *lines, "", "relay COMMAND --help tells its options."]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0 good, 1 not good, 2 wrong usage."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return EXIT_GOOD if arguments else EXIT_USAGE
    if arguments[0] in ("-V", "--version"):
        print(f"framework-relay {__version__}")
        return EXIT_GOOD
    if arguments[0] not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(f"relay: there is no command {arguments[0]!r}; expected one of {known}", file=sys.stderr)
        return EXIT_USAGE
    run: Callable[[Sequence[str], str], int] = import_module(f"relay.commands.{arguments[0]}").run
    return guarded(run, arguments[1:], f"relay {arguments[0]}")


def guarded(run: Callable[[Sequence[str], str], int], arguments: Sequence[str], program: str) -> int:
    """Run a command; turn what a person did wrong into one line and status 2, never a traceback."""
    from relay.failure import SettingsError

    try:
        return run(arguments, program)
    except SettingsError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone (a closed `head`): nothing to say, nowhere to say it
        sys.stderr.close()
        return EXIT_BAD
