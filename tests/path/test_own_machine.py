"""A proxy that others can reach refuses every address of its own machine, not only loopback."""

import os
import subprocess
import sys

from tests.path.real import Tool

ADDRESSES = {"4": "198.51.100.7", "6": "2001:db8::7"}

# Runs in a network namespace of its own, where the machine has these addresses and no others.
INSIDE = """
import asyncio, socket, sys
from relay.proxy import ConnectProxy
from relay.route import Endpoint

async def ask(host, target):
    async with ConnectProxy((Endpoint(host, 0),)) as proxy:
        reader, writer = await asyncio.open_connection(*sys.argv[2:3], proxy.endpoint.port)
        writer.write(f"CONNECT {target} HTTP/1.1\\r\\nHost: {target}\\r\\n\\r\\n".encode())
        answer = await reader.read(4096)
        writer.close()
        return answer.decode()

public, address = sys.argv[1:3]
with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as far:
    target = Endpoint(address, far.getsockname()[1])
    for listen in (public, address):
        print(asyncio.run(ask(listen, target)).splitlines()[0])
"""


def test_addresses_of_its_interfaces_are_refused(tool: Tool) -> None:
    """403 for a target on any interface, IPv4 and IPv6, however the proxy's own listener is named."""
    unshare, ip = tool("unshare", "util-linux"), tool("ip", "iproute2")
    for version, address in ADDRESSES.items():
        public = "0.0.0.0" if version == "4" else "::"
        up = f"{ip} link set lo up && {ip} -{version} addr add {address} dev lo nodad"
        up = up.removesuffix(" nodad") if version == "4" else up
        rights = ["-n"] if os.geteuid() == 0 else ["-U", "-r", "-n"]
        inside = [sys.executable, "-c", INSIDE, public, address]
        done = subprocess.run(
            [unshare, *rights, "sh", "-c", f'{up} && exec "$@"', "sh", *inside],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (0, ["HTTP/1.1 403 Forbidden"] * 2) == (done.returncode, done.stdout.splitlines()), done.stderr
