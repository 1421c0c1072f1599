"""A proxy in a process of its own that says, for each line on its stdin, what it holds."""

import asyncio
import json
import os
import resource
import sys
from pathlib import Path

from relay.limits import Limits
from relay.metrics import Metrics
from relay.proxy import ConnectProxy
from relay.route import Endpoint
from relay.tunnel_loop import TunnelLoop

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def held(proxy: ConnectProxy) -> dict[str, object]:
    """Numbers of this process, and what the proxy counts."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    return {
        **proxy.snapshot(),
        "connections": proxy.connections,
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "resident_bytes": resident,
    }


async def serve(head_seconds: float) -> None:
    """Answer questions until stdin ends."""
    limits = Limits(head_timeout_seconds=head_seconds, answer_timeout_seconds=head_seconds)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    proxy = ConnectProxy(listen=(Endpoint("127.0.0.1", 0),), limits=limits, metrics=Metrics())
    async with proxy:
        print(json.dumps({"port": proxy.endpoint.port}), flush=True)
        while await lines.readline():
            print(json.dumps(held(proxy)), flush=True)


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=TunnelLoop) as runner:
        runner.run(serve(float(sys.argv[1])))
