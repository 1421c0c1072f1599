"""Open a connection and say nothing: some servers speak first, some gatekeepers hang up at once."""

import asyncio
import time

from protocol.resemblance import excerpt, resembles
from relay.check import Trip, check, found
from relay.checks.ping import kind_of
from relay.failure import RelayError
from relay.finding import Finding

WORDS = {
    "quiet": "nothing comes before we speak, as it should be",
    "banner": "the other side speaks first: no Framework Server does",
    "closed": "the connection is closed before we have said a word",
    "reset": "the connection is reset before we have said a word",
}
LONGER = 1.5
"""Waits of the same length are never quite the same."""


@check("listen", WORDS, needs={"connect": "open", "ping": "closed reset cut foreign silent rejected"})
async def listen(trip: Trip) -> Finding:
    """What comes when we say nothing?"""
    began = time.monotonic()
    # Who ends a connection by itself ends it as late as the one on which we spoke
    patience = max(trip.patience.banner, min(trip.ended_seconds * LONGER, trip.patience.reply))
    try:
        async with trip.stream() as stream:
            began = time.monotonic()
            async with asyncio.timeout(patience):
                data = await stream.read()
    except RelayError:
        raise  # the way itself has failed: nothing was listened to
    except TimeoutError:
        return found("listen", "quiet")
    except OSError:
        return found("listen", "reset", milliseconds=round((time.monotonic() - began) * 1000, 3))
    milliseconds = round((time.monotonic() - began) * 1000, 3)
    if not data:
        return found("listen", "closed", milliseconds=milliseconds)
    what = resembles(data) or excerpt(data)
    words = f"{trip.route.target} speaks first: {what}"
    return found(
        "listen", "banner", words, first_bytes=excerpt(data), kind=kind_of(data), milliseconds=milliseconds
    )
