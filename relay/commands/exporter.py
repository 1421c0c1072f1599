"""`relay exporter`: probe paths when Prometheus asks."""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from relay.commands import EXIT_GOOD
from relay.commands.options import Parser, add_listen_option, listen_of, seconds
from relay.commands.running import say, serve
from relay.exporter import OFFSET_SECONDS, Exporter
from relay.exporter_file import ExporterFile, read_exporter_file
from relay.failure import SettingsError
from relay.listening import is_public

DEFAULT_LISTEN = "127.0.0.1:9715"


def run(arguments: Sequence[str], program: str) -> int:
    """Serve until told to stop; SIGHUP reads the file again."""
    options = _parser(program).parse_args(arguments)
    listen = listen_of(options.listen, DEFAULT_LISTEN)
    is_open = any(map(is_public, listen))
    settings = _read(options.config, is_open)
    if options.check:
        say(program, f"{len(settings.modules)} modules, {len(settings.hops)} proxies")
        return EXIT_GOOD
    exporter = Exporter(settings, listen, options.timeout_offset)

    async def reload() -> None:
        try:
            exporter.change(await asyncio.to_thread(_read, options.config, is_open))
        except SettingsError as error:
            exporter.reloaded.set(0)
            say(program, f"not reloaded, all stays as it was: {error}")
            return
        exporter.reloaded.set(1)
        say(program, "reloaded")

    return serve(program, exporter, reload=reload if options.config is not None else None)


def _read(path: str | None, is_open: bool) -> ExporterFile:
    """Raises: SettingsError, also when strangers might have anything probed."""
    settings = read_exporter_file(Path(path)) if path is not None else ExporterFile()
    if is_open and settings.targets is None:
        where = f"{path}: [exporter] targets" if path is not None else "--config"
        raise SettingsError(
            f"{where}: is missing; expected a list of who may be probed, as --listen lets other machines ask"
        )
    return settings


def _parser(program: str) -> argparse.ArgumentParser:
    words = "A multi-target exporter: /probe?target=HOST:PORT&module=NAME (docs/exporter.md)."
    parser = Parser(program, description=words)
    parser.add_argument("--config", metavar="FILE.toml", help="modules, proxies, and who may be probed")
    add_listen_option(parser, DEFAULT_LISTEN)
    parser.add_argument(
        "--timeout-offset", type=seconds, default=OFFSET_SECONDS, metavar="SECONDS",
        help="end a probe so long before Prometheus gives up (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="read the file, say what is in it, and end")
    return parser
