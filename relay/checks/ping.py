"""Send the empty packet, which needs no login, and look at what answers."""

import asyncio
import time
from typing import Any

from protocol.connection import PacketConnection
from protocol.errors import PeerWireError, SealBroken, StreamTruncated
from protocol.packet import Packet
from protocol.resemblance import excerpt, resembles
from protocol.sealing import Direction
from relay.check import NoConnection, Trip, check, found
from relay.evidence import full_tcp_info, queued_errors, want_errors
from relay.failure import RelayError
from relay.finding import Finding
from relay.journal import FIRST_BYTES
from relay.stream import Stream
from relay.trace import Trace

WORDS = {
    "answered": "the server answered a packet",
    "foreign": "something else than a Framework Server answered",
    "seal-broken": "the answer does not open: another key, or bytes changed on the way",
    "cut": "the connection ended in the middle of an answer",
    "closed": "the connection was closed instead of an answer",
    "reset": "the connection was reset instead of an answer",
    "no-tunnel": "a second tunnel is not opened, the first one was",
    "rejected": "a router or firewall rejects the packet by ICMP",
    "no-connection": "a second connection is not taken, the first one was",
    "silent": "no answer came",
}
AT_ONCE_SECONDS = 0.15
OPEN = {"connect": "open"}


@check("ping", WORDS, needs=OPEN)
async def ping(trip: Trip) -> Finding:
    """Is the empty packet answered?"""
    try:
        return await _ping(trip, time.monotonic())
    except NoConnection as error:
        return found("ping", "no-connection", f"{trip.route.target}: {error}")
    except RelayError as error:
        if trip.answers.get("tunnel") != "opened":
            raise
        # One tunnel was opened, this one is not: a path that works now and then does not work
        refusal = error.failure.sentence
        evidence = {"refusal": refusal[:600], "hop": error.failure.hop or 0}
        return found("ping", "no-tunnel", f"{WORDS['no-tunnel']}: {refusal}", **evidence)
    except ConnectionResetError:
        evidence = {"acked": False, "again": False, "speed": "at-once", **_seen(bytearray())}
        return found("ping", "reset", _words(trip, "reset", evidence), **evidence)


async def _ping(trip: Trip, began: float) -> Finding:
    trace = Trace(trip.patience.tunnel)
    async with trip.stream(trace=trace) as stream:
        opened = time.monotonic()
        want_errors(stream.fileno_socket())
        word, evidence = await exchange(trip, stream)
        sock = stream.fileno_socket()
        info = full_tcp_info(sock)
        icmp = [error.as_dict() for error in queued_errors(sock)]
    seconds = time.monotonic() - opened
    trip.ended_seconds = seconds if word in ("closed", "reset") else 0.0
    trip.answered_seconds = seconds + opened - began if word == "answered" else 0.0
    evidence |= {
        "open_milliseconds": round((opened - began) * 1000, 3),
        "milliseconds": round(seconds * 1000, 3),
    }
    evidence["steps"] = [
        {"stage": str(step.stage), "peer": step.peer, "milliseconds": round((step.seconds or 0.0) * 1000, 3)}
        for step in trace.steps
    ]
    evidence |= {"tcp_info": info, "icmp": icmp, "speed": "at-once" if seconds < AT_ONCE_SECONDS else "later"}
    if info and not trip.route.hops:
        # The SYN counts as one byte; through a proxy this would speak of the proxy only
        evidence["acked"] = info.get("bytes_acked", 0) > 1
        # Of what came in, one is the SYN-ACK, and one the reset if there was one
        expected = 2 if word == "reset" else 1
        evidence["window"] = "zero" if info.get("snd_wnd") == 0 else "open"
        evidence["again"] = info.get("segs_in", 0) > expected and not evidence["acked"]
    if icmp and word in ("silent", "reset"):
        word = "rejected"
    return found("ping", word, _words(trip, word, evidence), **evidence)


def _words(trip: Trip, word: str, evidence: dict[str, Any]) -> str:
    what = evidence.get("looks_like")
    if word == "foreign":
        return f"{trip.route.target} sent {what if what != 'unknown' else evidence['first_bytes']}"
    return f"{trip.route.target}: {WORDS[word]}"


async def exchange(trip: Trip, stream: Stream) -> tuple[str, dict[str, Any]]:
    """Ping once on an open stream: a word of WORDS, and what came."""
    connection = PacketConnection(Direction.CLIENT, trip.key)
    wire = connection.send(Packet.ping())
    word, evidence = await _answer_to(wire, connection, trip, stream)
    # Random, so the far end's journal finds this connection by them
    return word, {"sent_first_bytes": wire[:FIRST_BYTES].hex(), **evidence}


async def _answer_to(
    wire: bytes, connection: PacketConnection, trip: Trip, stream: Stream
) -> tuple[str, dict[str, Any]]:
    got = bytearray()
    try:
        async with asyncio.timeout(trip.patience.reply):
            await stream.write(wire)
            while True:
                data = await stream.read()
                got += data[:4096]
                if not data:
                    return ("foreign" if is_foreign(bytes(got)) else "cut" if got else "closed"), _seen(got)
                connection.receive_data(data)
                if connection.next_packet() is not None:
                    return "answered", {"reply_bytes": connection.bytes_received}
    except TimeoutError:
        return ("foreign" if is_foreign(bytes(got)) else "silent"), _seen(got)
    except PeerWireError as error:
        return ("foreign" if is_foreign(bytes(got)) or not _is_frame(error) else "seal-broken"), _seen(got)
    except OSError as error:
        # EHOSTUNREACH and the like: a router's ICMP has ended an open connection
        return ("reset" if isinstance(error, ConnectionError) else "rejected"), _seen(got)


def _is_frame(error: PeerWireError) -> bool:
    return isinstance(error, SealBroken | StreamTruncated)


def is_foreign(data: bytes) -> bool:
    """Whether these first bytes show another protocol."""
    found_kind = resembles(data) if data else None
    return found_kind is not None and found_kind != "a Framework frame"


def _seen(got: bytearray) -> dict[str, Any]:
    data = bytes(got)
    return {
        "received_bytes": len(data),
        "first_bytes": excerpt(data) if data else "",
        "looks_like": (resembles(data) or "unknown") if data else "nothing",
        "kind": kind_of(data),
    }


_KINDS = {
    "HTTP": "http", "HTML": "http", "TLS": "tls", "SSH": "banner", "SMTP": "banner", "FTP": "banner",
    "POP3": "banner", "IMAP": "banner", "VNC": "banner", "MySQL": "banner", "SOCKS": "socks",
}  # fmt: skip


def kind_of(data: bytes) -> str:
    """One word for what the first bytes are: http, tls, banner, socks, frame, other, nothing."""
    if not data:
        return "nothing"
    words = resembles(data) or ""
    if words == "a Framework frame":
        return "frame"
    return next((kind for mark, kind in _KINDS.items() if mark in words), "other")
