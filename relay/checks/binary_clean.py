"""Let the server give back every byte value, and bytes that look like other protocols."""

import asyncio

from protocol.packet import Packet
from relay.check import Trip, check, found
from relay.failure import Reason, RelayError
from relay.finding import Finding

WORDS = {
    "clean": "every byte comes back as it was sent",
    "changed": "bytes are changed on the way",
    "broken": "the connection breaks while bytes of every value pass",
}
_ALL = bytes(range(256))


@check("binary-clean", WORDS, needs={"ping": "answered"})
async def binary_clean(trip: Trip) -> Finding:
    """Do all 256 byte values pass unchanged, both ways?"""
    bodies = [_ALL * 4, _ALL[::-1], b"\x16\x03\x01\x02\x00\x01" + _ALL, b"GET / HTTP/1.1\r\n\r\n"]
    async with trip.packets() as packets:
        try:
            async with asyncio.timeout(trip.patience.reply):
                for body in bodies:
                    await packets.send(Packet.echo(body))
                    reply = await packets.receive()
                    if reply is None:
                        return found("binary-clean", "broken")
                    if reply.body != Packet.echo(body).body:
                        return found("binary-clean", "changed")
        except RelayError as error:
            word = "changed" if error.failure.reason is Reason.SEAL_BROKEN else "broken"
            return found("binary-clean", word, error.failure.sentence)
        except TimeoutError:
            return found("binary-clean", "broken", "no answer in time")
    return found("binary-clean", "clean", tried_bytes=sum(map(len, bodies)))
