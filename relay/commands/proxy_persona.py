"""Options of `relay proxy` for personas, and `relay proxy personas`."""

import argparse
from collections.abc import Sequence

from relay.commands import EXIT_GOOD
from relay.commands.options import Parser
from relay.persona import Persona, load, names


def add_persona_option(parser: argparse.ArgumentParser) -> None:
    """--persona."""
    parser.add_argument(
        "--persona", metavar="NAME",
        help="talk, and misbehave, as another proxy does (`relay proxy personas` lists them)",
    )  # fmt: skip


def persona_of(options: argparse.Namespace) -> Persona | None:
    """The persona of --persona. Raises: SettingsError."""
    return load(options.persona) if options.persona is not None else None


def list_personas(arguments: Sequence[str], program: str) -> int:
    """Print one line for each. Raises: SettingsError for an argument; there are none."""
    words = "List whom `relay proxy --persona NAME` can stand in for (docs/personas.md)."
    Parser(program, description=words).parse_args(arguments)
    found = [load(name) for name in names()]
    width = max(len(persona.name) for persona in found)
    for persona in found:
        print(f"{persona.name:<{width}}  {persona.summary} ({persona.source})")
    return EXIT_GOOD
