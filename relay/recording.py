"""What passed through a tunnel: the first bytes of each direction and when they came, to be replayed later.

The file has one JSON object a line, one for each connection, written when it has ended:
  version     1
  target      "HOST:PORT"; `via` the proxies, without their logins
  began       ISO 8601, UTC
  ended       how the tunnel ended; `seconds` how long it lived
  up, down    {"bytes": all that was carried, "cut": whether more came than was kept,
               "chunks": [[seconds since the beginning, Base64], ...] of the first LIMIT_BYTES}
What is recorded is what the client said: a login of the tunnelled protocol is in it. So the file is made for
its owner only (mode 0600).
"""

import base64
import json
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from relay.failure import SettingsError

VERSION = 1
# A ping of 44 bytes, a login and some requests fit many times over.
LIMIT_BYTES = 65_536
MAX_CHUNKS = 1_024
MAX_LINE_BYTES = 8 * LIMIT_BYTES
MAX_RECORDINGS = 10_000
MAX_FILE_BYTES = 64 * 2**20
MAX_SECONDS = 10 * 365 * 86_400.0


@dataclass
class Direction:
    """The first bytes of one direction: chunks with the seconds since the connection began."""

    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    size_bytes: int = 0
    kept_bytes: int = 0

    def add(self, seconds: float, data: bytes) -> None:
        """Keep what still fits."""
        self.size_bytes += len(data)
        kept = data[: LIMIT_BYTES - self.kept_bytes]
        if kept and len(self.chunks) < MAX_CHUNKS:
            self.chunks.append((seconds, kept))
            self.kept_bytes += len(kept)

    @property
    def is_cut(self) -> bool:
        """Whether more came than was kept."""
        return self.kept_bytes < self.size_bytes

    @property
    def data(self) -> bytes:
        """All that was kept."""
        return b"".join(data for _, data in self.chunks)

    def as_dict(self) -> dict[str, Any]:
        """For the file."""
        return {
            "bytes": self.size_bytes,
            "cut": self.is_cut,
            "chunks": [[round(at, 6), base64.b64encode(data).decode()] for at, data in self.chunks],
        }


@dataclass
class Recording:
    """One connection. `began` is wall-clock time, for people; the chunks count from then."""

    target: str
    via: tuple[str, ...] = ()
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    up: Direction = field(default_factory=Direction)
    down: Direction = field(default_factory=Direction)
    ended: str = ""
    seconds: float = 0.0
    _since: float = field(default_factory=time.monotonic, repr=False)

    def sent(self, data: bytes) -> None:
        """The client said this."""
        self.up.add(time.monotonic() - self._since, data)

    def received(self, data: bytes) -> None:
        """The target said this."""
        self.down.add(time.monotonic() - self._since, data)

    def end(self, how: str) -> None:
        """The connection has ended."""
        self.ended, self.seconds = how, time.monotonic() - self._since

    def as_line(self) -> str:
        """As it stands in the file."""
        return json.dumps(
            {
                "version": VERSION,
                "target": self.target,
                "via": list(self.via),
                "began": self.began,
                "ended": self.ended,
                "seconds": round(self.seconds, 6),
                "up": self.up.as_dict(),
                "down": self.down.as_dict(),
            }
        )


class RecordFile:
    """Appends recordings to a file. Raises: SettingsError when it cannot be written to."""

    def __init__(self, path: str) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingsError(f"--record: cannot write {path!a}: {error.strerror}") from None
        self._file = os.fdopen(descriptor, "a", encoding="ascii")

    def write(self, recording: Recording) -> None:
        """One line, at once on its way to the disk. Raises: OSError."""
        self._file.write(recording.as_line() + "\n")
        self._file.flush()

    def close(self) -> None:
        """No more."""
        self._file.close()


def read_recordings(path: str, what: str = "--replay") -> list[Recording]:
    """What `RecordFile` has written. Raises: SettingsError with the line that cannot be read."""
    found: list[Recording] = []
    try:
        with Path(path).open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                found.append(_read(line, f"{what}: {path!a} line {len(found) + 1}"))
                if len(found) > MAX_RECORDINGS or file.tell() > MAX_FILE_BYTES:
                    limits = f"{MAX_RECORDINGS} recordings and {MAX_FILE_BYTES} bytes"
                    raise SettingsError(f"{what}: {path!a} is too large; expected at most {limits}")
    except (OSError, ValueError) as error:
        if isinstance(error, SettingsError):
            raise
        why = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"{what}: cannot read {path!a}: {why}") from None
    if not found:
        raise SettingsError(f"{what}: {path!a} holds no recording")
    return found


def _read(line: bytes, where: str) -> Recording:
    try:
        fields = json.loads(line)
        if fields["version"] != VERSION:
            raise SettingsError(f"{where}: version {fields['version']!a}; expected {VERSION}")
        up, down = (_direction(fields[name]) for name in ("up", "down"))
        target, via, began, ended = (fields[name] for name in ("target", "via", "began", "ended"))
        if not all(isinstance(text, str) for text in (target, began, ended, *via)):
            raise TypeError
        return Recording(target, tuple(via), began, up, down, ended, float(fields["seconds"]))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        if isinstance(error, SettingsError):
            raise
        expected = "expected a line that relay tunnel --record wrote"
        raise SettingsError(f"{where}: no recording; {expected}") from None


def _direction(fields: dict[str, Any]) -> Direction:
    chunks = []
    for at, text in fields["chunks"][:MAX_CHUNKS]:
        if not 0 <= float(at) < MAX_SECONDS:
            raise ValueError("no time")
        chunks.append((float(at), base64.b64decode(text, validate=True)))
    return Direction(chunks, int(fields["bytes"]), sum(len(data) for _, data in chunks))
