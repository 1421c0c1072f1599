"""Try a client of your own against a proxy that refuses the port: server and proxies live in this process."""

import asyncio

from relay import ConnectProxy, EmulatedServer, Endpoint, Hop, ProxyRefused, Route, open_tunnel
from relay.access import Access

FREE_PORT = (Endpoint("127.0.0.1", 0),)


async def main() -> None:
    only_443 = Access(allow_ports=(range(443, 444),))
    async with EmulatedServer(FREE_PORT) as server, ConnectProxy(FREE_PORT, access=only_443) as proxy:
        route = Route(server.endpoint, (Hop(proxy.endpoint),))
        try:
            stream = await open_tunnel(route)
        except ProxyRefused as refused:
            print(f"as expected: {refused.status}, {dict(refused.headers)['Proxy-Status']}")
        else:
            await stream.aclose()
            raise SystemExit("the proxy let port 5000 through")


asyncio.run(main())
