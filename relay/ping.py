"""TMSS10Ping: send empty packets, which need no login, and time their answers. No asyncio here."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from protocol.packet import Packet
from protocol.sealing import Key
from relay.blocking import BlockingPackets, open_tunnel
from relay.failure import Failure, Reason, RelayError, Stage
from relay.route import Route


@dataclass(frozen=True)
class Answer:
    """One ping: its reply's size on the wire and round-trip time, or why there was none.

    `made_anew`: how the connection before had ended while it was idle, when that was seen.
    """

    seq: int
    size_bytes: int = 0
    milliseconds: float = 0.0
    failure: Failure | None = None
    made_anew: Failure | None = None


@dataclass
class Statistics:
    """What a run of pings came to. Times are milliseconds.

    A ping whose connection could not be made counts as transmitted and lost, as ping(8) counts a host that
    cannot be reached; one that was interrupted before it was sent does not count.
    """

    transmitted: int = 0
    times: list[float] = field(default_factory=list)

    @property
    def received(self) -> int:
        return len(self.times)

    @property
    def loss_percent(self) -> float:
        """Share of pings without an answer, 0 to 100."""
        return 100 * (self.transmitted - self.received) / self.transmitted if self.transmitted else 0.0

    def lines(self, address: str) -> list[str]:
        """The closing lines, as the vendor's ping prints them; losses are told as ping(8) does."""
        packets = f"{self.transmitted} packets transmitted"
        if self.received < self.transmitted:
            # %g as ping(8) has it: one lost of a thousand is 0.1%, not 0%
            packets += f", {self.received} received, {self.loss_percent:g}% packet loss"
        lines = [f"--- {address} TMSS10Ping statistics ---", packets]
        if self.times:
            low, mean, high = min(self.times), sum(self.times) / len(self.times), max(self.times)
            lines.append(f"round-trip min/avg/max = {low:.2f}/{mean:.2f}/{high:.2f} ms")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        times = self.times
        return {
            "transmitted": self.transmitted,
            "received": self.received,
            "loss_percent": round(self.loss_percent, 4),
            "round_trip_ms": {
                "min": round(min(times), 3),
                "avg": round(sum(times) / len(times), 3),
                "max": round(max(times), 3),
            }
            if times
            else None,
        }


class Pinger:
    """Keeps one connection for all pings, and makes a new one for the next ping when it has died.

    Args: wait_seconds: for the connection, and again for each answer. stage_seconds: for single stages of
        making the connection.
    """

    def __init__(
        self,
        route: Route,
        key: Key,
        wait_seconds: float,
        stage_seconds: Mapping[Stage, float] | None = None,
    ) -> None:
        self._route = route
        self._key = key
        self._wait_seconds = wait_seconds
        self._stage_seconds = stage_seconds
        self._packets: BlockingPackets | None = None
        self.statistics = Statistics()
        self.address = str(route.target.host)

    def pings(self, count: int, interval_seconds: float) -> Iterator[Answer]:
        """Send `count` pings, one each `interval_seconds` (counted from send to send)."""
        for seq in range(1, count + 1):
            began = time.monotonic()
            answer = self._ping(seq)
            yield answer
            if answer.failure is not None and answer.failure.stage is Stage.LOGIN:
                # The same password again would only help to lock the account
                return
            if seq < count:
                time.sleep(max(0.0, began + interval_seconds - time.monotonic()))

    def close(self) -> None:
        """Close the connection, if one is open."""
        packets, self._packets = self._packets, None
        if packets is not None:
            packets.close()

    def _ping(self, seq: int) -> Answer:
        """One that finds the connection ended makes a new one: a server's idle timeout loses no ping."""
        ended = self._packets.ended_while_idle() if self._packets is not None else None
        if ended is not None:
            self.close()
        return replace(self._exchange(seq), made_anew=ended)

    def _exchange(self, seq: int) -> Answer:
        try:
            packets = self._packets or self._connect()
        except RelayError as error:
            self.statistics.transmitted += 1
            return Answer(seq, failure=error.failure)
        self.statistics.transmitted += 1
        try:
            began = time.perf_counter()
            packets.send(Packet.ping(), self._wait_seconds)
            reply, size_bytes = packets.receive(self._wait_seconds)
            milliseconds = (time.perf_counter() - began) * 1000
        except RelayError as error:
            # A late answer must not be taken for the next ping's: it dies with the connection
            self.close()
            return Answer(seq, failure=error.failure)
        if not reply.is_ping:
            self.close()
            detail = "answered a ping with a packet that is not empty"
            peer = str(self._route.target)
            return Answer(seq, failure=Failure(Stage.FRAMEWORK, Reason.MALFORMED, peer, detail))
        self.statistics.times.append(milliseconds)
        return Answer(seq, size_bytes, milliseconds)

    def _connect(self) -> BlockingPackets:
        stream = open_tunnel(
            self._route, timeout_seconds=self._wait_seconds, stage_seconds=self._stage_seconds
        )
        self._packets = BlockingPackets(stream, self._key, str(self._route.target))
        if not self._route.hops:
            # Through a proxy only the proxy knows the server's address
            with contextlib.suppress(OSError):  # reset already: the ping will say so
                self.address = stream.fileno_socket().getpeername()[0]
        return self._packets
