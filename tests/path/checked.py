"""Check a path inside a test, and say what came of it when it is not what was expected."""

import asyncio
import json
import os
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.sealing import Key
from relay.catalogue import causes
from relay.check import Extras
from relay.diagnosis import Diagnosis, Verdict, diagnose
from relay.finding import Findings
from relay.route import Endpoint, Hop, Route
from relay.survey import survey
from tests.path.real import loopback_host

PATIENT_SECONDS = 30.0
"""Of one check on a busy machine; its single waits are the default ones."""


@dataclass(frozen=True)
class Checked:
    found: Findings
    diagnosis: Diagnosis

    @property
    def cause(self) -> str | None:
        """The cause named first."""
        return self.diagnosis.first.id if self.diagnosis.first else None

    @property
    def named(self) -> list[str]:
        return [cause.id for cause in self.diagnosis.causes]

    @property
    def told(self) -> str:
        """Every question and its answer, for the words of a failure."""
        lines = [f"{one.question}: {one.outcome} ({one.words})" for one in self.found.findings]
        return "\n".join([*lines, f"named: {self.named}"])


async def check(
    target: Endpoint,
    *proxies: str,
    key: Key | None = None,
    seconds: float = 10.0,
    extras: Extras | None = None,
    ca_file: Path | None = None,
) -> Checked:
    """Check a path with the patience of the default settings."""
    trust = None if ca_file is None else str(ca_file)
    route = Route(target, tuple(Hop.parse(url, ca_file=trust) for url in proxies))
    found = await survey(route, key or Key.public(), timeout_seconds=seconds, extras=extras)
    return Checked(found, diagnose(found, causes()))


def assert_named(checked: Checked, cause: str) -> None:
    keep(cause, checked.found.as_dict())
    assert (Verdict.BROKEN, cause) == (checked.diagnosis.verdict, checked.cause), checked.told


def assert_good(checked: Checked) -> None:
    keep("", checked.found.as_dict())
    assert (Verdict.GOOD, []) == (checked.diagnosis.verdict, checked.named), checked.told
    assert checked.found.connections <= 30


def keep(cause: str, record: dict[str, Any]) -> None:
    """Keep what was seen as a test vector, "" for a good path, when RECORD_CHECKS names a folder.

    `tests/vectors/checks.py FOLDER` makes tests/vectors/checks.json of them.
    """
    folder = os.environ.get("RECORD_CHECKS")
    name = re.sub(
        r"[^a-z0-9]+", "-", os.environ.get("PYTEST_CURRENT_TEST", "").split("::")[-1].split(" (")[0].lower()
    )
    if folder:
        vector = {"name": name.strip("-"), "cause": cause, "record": record}
        Path(folder, f"{name}.json").write_text(json.dumps(vector), "utf-8")


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    """A server that plays `serve` with everybody, on an address of this process alone."""
    tasks: set[asyncio.Task[None]] = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(play, loopback_host(), 0, ssl=tls)
    try:
        yield Endpoint(*server.sockets[0].getsockname()[:2])
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def read_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def until_end(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass
