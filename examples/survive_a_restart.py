"""A client that goes on when the server is restarted under it, and says what it went through."""

import asyncio

from protocol import Packet
from relay import EmulatedServer, Endpoint, FrameworkClient, Route
from relay.framework_client import Backoff, Reconnecting


def tell(event: Reconnecting) -> None:
    print(f"attempt {event.attempt} in {event.delay_seconds:.2f} s, because: {event.failure.sentence}")


async def main() -> None:
    server = EmulatedServer((Endpoint("127.0.0.1", 0),))
    await server.start()
    endpoint = server.endpoint
    async with FrameworkClient(
        Route(endpoint), backoff=Backoff(first_seconds=0.05), on_reconnect=tell
    ) as client:
        await client.ping()
        await server.aclose()
        waiting = asyncio.create_task(client.request(Packet.echo(b"still here"), safe_to_repeat=True))
        async with EmulatedServer((endpoint,)):
            reply = await waiting
        print(f"{reply.argument.decode()}, on connection {client.connections_made}")


asyncio.run(main())
