"""The packet codec by size and payload, beside the same wire written with the standard library's zlib."""

import json
import os
import random
import time
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.compare import spread
from protocol import Direction, Key, seal, unseal
from protocol.sealing import SEAL_NONCE_BYTES

KIB = 1_024
SIZES = (64, KIB, 64 * KIB, 1_024 * KIB)
REPEATS = 7
REPEAT_SECONDS = 0.03

Record = dict[str, Any]


def payload(kind: str, size: int) -> bytes:
    """Bytes that shrink as real ones do (JSON text), or not at all (random); the same in every run."""
    chance = random.Random(size)
    if kind == "random":
        return chance.randbytes(size)
    records = []
    length = 0
    while length < size:
        record = json.dumps(
            {
                "id": chance.randrange(10**9),
                "sensor": chance.choice(("inlet", "outlet", "pump", "valve")),
                "value": round(chance.gauss(20, 5), 3),
                "at": f"2026-01-02T{chance.randrange(24):02}:{chance.randrange(60):02}:00Z",
                "good": chance.random() < 0.95,
            }
        )
        records.append(record)
        length += len(record) + 1
    return "\n".join(records).encode()[:size]


def plain_encode(key: Key, plaintext: bytes, number: int) -> bytes:
    """The wire of docs/wire.md as directly as it can be written, with zlib and no check."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress(plaintext) + packer.flush()
    nonce = os.urandom(SEAL_NONCE_BYTES)
    head = (len(packed) + 20).to_bytes(4, "big")
    return head + nonce + key.cipher.encrypt(nonce, packed, head + b"\0" + number.to_bytes(8, "big"))


def plain_decode(key: Key, frame: bytes, number: int) -> bytes:
    """The way back."""
    associated = frame[:4] + b"\0" + number.to_bytes(8, "big")
    return zlib.decompress(key.cipher.decrypt(frame[4:16], frame[16:], associated), 31)


def measure_codec(repeat_seconds: float = REPEAT_SECONDS) -> list[Record]:
    """Return microseconds of CPU per packet, both ways, for the empty packet and each size and payload."""
    cases = [("empty", 0), *((kind, size) for kind in ("JSON", "random") for size in SIZES)]
    key = Key.public()
    found = []
    for kind, size in cases:
        data = b"" if kind == "empty" else payload(kind, size)
        frame = seal(key, data, direction=Direction.CLIENT, number=0)
        plain = plain_encode(key, data, 0)
        work: dict[str, Callable[[], object]] = {
            "encode": partial(seal, key, data, direction=Direction.CLIENT, number=0),
            "decode": partial(unseal, key, frame[4:], direction=Direction.CLIENT, number=0),
            "plain_encode": partial(plain_encode, key, data, 0),
            "plain_decode": partial(plain_decode, key, plain, 0),
        }
        record: Record = {
            "payload": kind,
            "bytes": size,
            "frame_bytes": len(frame),
            "plain_frame_bytes": len(plain),
        }
        # Interleaved as the rounds are: what the machine does meanwhile, it does to all four
        times: dict[str, list[float]] = {name: [] for name in work}
        for _ in range(REPEATS):
            for name, call in work.items():
                times[name].append(_microseconds(call, repeat_seconds))
        for name, values in times.items():
            summary = spread(values)
            assert summary is not None
            record[name + "_us"] = summary.median
        found.append(record)
    return found


def _microseconds(call: Callable[[], object], seconds: float) -> float:
    """CPU of this thread per call, over at least `seconds` of it."""
    calls, batch, spent = 0, 1, 0.0
    began = time.thread_time()
    while not calls or spent < seconds:
        for _ in range(batch):
            call()
        calls += batch
        batch *= 2
        spent = time.thread_time() - began
    return spent / calls * 1e6
