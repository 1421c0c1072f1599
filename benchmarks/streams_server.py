"""A Framework Server as one writes it in an afternoon: asyncio streams and the same full codec.

What `relay server` is compared with. It answers pings and echoes, and does nothing else: no journal, no idle
timeout, no limit of connections. One read takes all that has come, and one write answers all of it.

    streams_server.py asyncio|uvloop HOST PORT
"""

import asyncio
import contextlib
import sys

from protocol import Direction, Operation, Packet, PacketConnection

READ_BYTES = 65_536


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every packet until the client has said its last word."""
    connection = PacketConnection(Direction.SERVER)
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(READ_BYTES):
            connection.receive_data(data)
            answers = []
            while (packet := connection.next_packet()) is not None:
                answers.append(connection.send(answer(packet)))
            writer.write(b"".join(answers))
            await writer.drain()
    writer.close()


def answer(packet: Packet) -> Packet:
    """A ping for a ping, an echo for an echo."""
    if packet.is_ping or packet.operation is Operation.ECHO:
        return packet
    return Packet.error("this server answers pings and echoes only")


async def serve(host: str, port: int) -> None:
    """Listen until the process ends."""
    server = await asyncio.start_server(converse, host, port, backlog=1024)
    await server.serve_forever()


def run(loop: str, host: str, port: int) -> None:
    """Serve on the event loop of that name."""
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(host, port))


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]))
