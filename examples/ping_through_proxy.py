"""Ping a Framework Server through a proxy with the library: ping_through_proxy.py HOST:PORT PROXY_URL."""

import asyncio
import sys
import time

from relay import Endpoint, FrameworkClient, Hop, RelayError, Route


async def main(target: str, proxy: str) -> int:
    route = Route(Endpoint.parse(target), (Hop.parse(proxy),))
    try:
        async with FrameworkClient(route, timeout_seconds=5) as client:
            began = time.perf_counter()
            await client.ping()
            milliseconds = (time.perf_counter() - began) * 1000
    except RelayError as error:
        # .failure has stage, reason and peer as words for programs; str(error) is a sentence for people
        print(f"{error.failure.stage} {error.failure.reason}: {error}")
        return 1
    print(f"{route} answered in {milliseconds:.1f} ms")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(*sys.argv[1:])))
