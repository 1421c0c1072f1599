"""Options of `relay proxy` for personas, and `relay proxy personas`."""

import argparse

from relay.commands import EXIT_GOOD
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


def list_personas() -> int:
    """Print one line for each."""
    found = [load(name) for name in names()]
    width = max(len(persona.name) for persona in found)
    for persona in found:
        print(f"{persona.name:<{width}}  {persona.summary} ({persona.source})")
    return EXIT_GOOD
