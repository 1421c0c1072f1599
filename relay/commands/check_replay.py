"""`relay check --replay FILE`: what a client once said, said again on each way, and the replies compared."""

import asyncio
import json
from typing import Any

from relay.commands import EXIT_BAD, EXIT_GOOD
from relay.commands.options import route_of
from relay.failure import SettingsError
from relay.recording import Recording, read_recordings
from relay.replay import Outcome, Replayed, Turn, replay, turns_of
from relay.route import FRAMEWORK_PORT, MAX_PORT, Endpoint, Route


def run_replay(options: Any) -> int:
    """Replay directly, and through -x where it is given: 0 when all is as recorded, else 1."""
    for option, value in (("--from", options.saved), ("--report", options.report), ("--idle", options.idle)):
        if value:
            raise SettingsError(f"{option}: not with --replay, which compares; expected --json at most")
    recording, turns = _chosen(options.replay, options.recording)
    text, what = (options.target, "HOST:PORT") if options.target else (recording.target, "--replay: target")
    target = Endpoint.parse(text, what, FRAMEWORK_PORT)
    if target.port == 0:
        raise SettingsError(f"{what}: port 0 in {text[:80]!a}; expected 1 to {MAX_PORT}")
    through = route_of(options, target)
    routes = [Route(target), *([through] if through.hops else [])]
    found = asyncio.run(_replayed(turns, routes, options.timeout))
    _tell(found, recording, target, options)
    return EXIT_GOOD if all(one.outcome is Outcome.SAME for one in found) else EXIT_BAD


async def _replayed(turns: list[Turn], routes: list[Route], timeout_seconds: float) -> list[Replayed]:
    # One after the other: a server may allow a client one connection at a time
    return [await replay(turns, route, timeout_seconds=timeout_seconds) for route in routes]


def _chosen(path: str, number: int | None) -> tuple[Recording, list[Turn]]:
    """The recording of line `number`, else the first with a reply to compare. Raises: SettingsError."""
    recordings = read_recordings(path)
    if number is not None and number > len(recordings):
        raise SettingsError(f"--recording: {number}; {path!a} has {len(recordings)}")
    for recording in recordings if number is None else [recordings[number - 1]]:
        turns = turns_of(recording)
        if any(not turn.is_reply for turn in turns):
            return recording, turns
    which = "no recording in it has" if number is None else f"recording {number} has not"
    raise SettingsError(f"--replay: {path!a}: {which} a request with a reply to compare")


def _tell(found: list[Replayed], recording: Recording, target: Endpoint, options: Any) -> None:
    if options.json:
        document = {
            "target": str(target),
            "recorded": {"target": recording.target, "via": list(recording.via), "began": recording.began},
            "ways": [one.as_dict() for one in found],
        }
        print(json.dumps(document, indent=2))
        return
    shown = "".join(letter if letter.isprintable() else "?" for letter in recording.began[:40])
    print(f"{target}: what was recorded at {shown}, said again")
    for one in found:
        print(f"{one.via or 'direct'}: {one.outcome}: {one.words}")
        for reply in one.replies:
            was = f"recorded: {reply.recorded_bytes} bytes after {reply.recorded_seconds * 1000:.1f} ms"
            print(f"  {reply.bytes} bytes after {reply.seconds * 1000:.1f} ms ({was})")
