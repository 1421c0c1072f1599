"""A link whose packets a program carries, and treats badly: what netem(8) does, and a firewall that injects.

`python -m relay.lab.shim '{"delay_seconds": 0.05}'` joins router and firewall by two TUN devices. Light, as
relay/lab/peers.py. Needs /dev/net/tun, so root.

delay_seconds, jitter_seconds; loss, duplicate, reorder, corrupt: chances from 0 to 1; match: bytes in
hexadecimal; action: what is done to a packet towards the server that has them: "rst-client", "rst-server",
"fin-client", "drop", joined by +; zero_window: acknowledge data with a window of 0, as a tarpit does.
"""

import asyncio
import fcntl
import json
import os
import random
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.lab import kernel

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
TCP = 6
FIN, RST, ACK = 0x01, 0x04, 0x10
REORDER_SECONDS = 0.05
MAX_WAITING = 10_000
"""Packets; beyond it they are lost, as in a router whose queue is full."""


def checksum(data: bytes) -> int:
    """Source: RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - int(total)


@dataclass(frozen=True)
class Segment:
    """What of an IPv4 packet with TCP in it is of interest."""

    source: bytes
    target: bytes
    source_port: int
    target_port: int
    sequence: int
    acknowledged: int
    payload: bytes

    def answer(self, flags: int, window: int = 1000, taken_bytes: int | None = None) -> bytes:
        """A packet back in the target's name, as if it had taken the payload, or so much of it."""
        taken = len(self.payload) if taken_bytes is None else taken_bytes
        ports = self.target_port, self.source_port
        return _packet(
            self.target, self.source, ports, self.acknowledged, self.sequence + taken, flags, window
        )

    def reset_onwards(self) -> bytes:
        """A reset to the target in the source's name."""
        ports = self.source_port, self.target_port
        return _packet(self.source, self.target, ports, self.sequence, self.acknowledged, RST | ACK, 0)


def _packet(
    source: bytes,
    target: bytes,
    ports: tuple[int, int],
    sequence: int,
    acknowledged: int,
    flags: int,
    window: int,
) -> bytes:
    numbers = sequence & 0xFFFFFFFF, acknowledged & 0xFFFFFFFF
    tcp = struct.pack("!HHIIBBHHH", *ports, *numbers, 0x50, flags, window, 0, 0)
    pseudo = source + target + struct.pack("!BBH", 0, TCP, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, TCP, 0, source, target)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + tcp


def read_segment(packet: bytes) -> Segment | None:
    """None for what is no TCP in IPv4."""
    if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != TCP:
        return None
    start = (packet[0] & 15) * 4
    one, other, sequence, acknowledged = struct.unpack("!HHII", packet[start : start + 12])
    payload = packet[start + (packet[start + 12] >> 4) * 4 :]
    return Segment(packet[12:16], packet[16:20], one, other, sequence, acknowledged, payload)


@dataclass
class Shim:
    """Two descriptors and what happens between them."""

    near: int
    far: int
    told: dict[str, Any]
    waiting: int = field(default=0)

    def carry(self, source: int, target: int) -> None:
        """Take one packet, and pass it on as told."""
        packet = os.read(source, 65_536)
        told = self.told
        if random.random() < told.get("loss", 0) or self.waiting > MAX_WAITING:  # noqa: S311 - not a secret
            return
        segment = read_segment(packet)
        if target == self.far and segment is not None and segment.payload and self._stops(segment):
            return
        if segment is not None and segment.payload and random.random() < told.get("corrupt", 0):  # noqa: S311
            packet = packet[:-1] + bytes([packet[-1] ^ 0xFF])
        delay = told.get("delay_seconds", 0.0) + random.random() * told.get("jitter_seconds", 0.0)  # noqa: S311
        delay += REORDER_SECONDS if random.random() < told.get("reorder", 0) else 0.0  # noqa: S311
        copies = 2 if random.random() < told.get("duplicate", 0) else 1  # noqa: S311
        for _ in range(copies):
            self._send(target, packet, delay)

    def _stops(self, segment: Segment) -> bool:
        """Whether a packet ends here, after what the shim answers to it."""
        if self.told.get("zero_window"):
            self._send(self.near, segment.answer(ACK, 0), 0.0)
            return True
        wanted = bytes.fromhex(self.told.get("match", ""))
        actions = self.told.get("action", "").split("+")
        if not wanted or wanted not in segment.payload:
            return False
        if "rst-client" in actions:
            self._send(self.near, segment.answer(RST | ACK, 0), 0.0)
        if "rst-server" in actions:
            self._send(self.far, segment.reset_onwards(), 0.0)
        if "fin-client" in actions:
            self._send(self.near, segment.answer(FIN | ACK), 0.0)
        return "drop" in actions

    def _send(self, target: int, packet: bytes, delay_seconds: float) -> None:
        if delay_seconds <= 0:
            os.write(target, packet)
            return
        self.waiting += 1
        asyncio.get_running_loop().call_later(delay_seconds, self._send_late, target, packet)

    def _send_late(self, target: int, packet: bytes) -> None:
        self.waiting -= 1
        os.write(target, packet)


def open_tun(place: Path, name: str) -> int:
    """A TUN device in a network namespace; this process stays there. Raises: OSError."""
    kernel.enter_network(place)
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
    return handle


async def carry_all(shim: Shim) -> None:
    """Until the room ends."""
    loop = asyncio.get_running_loop()
    loop.add_reader(shim.near, shim.carry, shim.near, shim.far)
    loop.add_reader(shim.far, shim.carry, shim.far, shim.near)
    await asyncio.Event().wait()


def main(told: dict[str, Any], near: Path, far: Path) -> None:
    """Join two places; `ready` on stdout says that both devices are there."""
    shim = Shim(open_tun(near, "wan"), open_tun(far, "lan"), told)
    print("ready", flush=True)
    asyncio.run(carry_all(shim))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
