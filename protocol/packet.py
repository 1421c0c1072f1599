"""Packets and the operations that the emulated server answers to (docs/wire.md, sections 7 and 8)."""

import hashlib
import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain
from typing import Any, Final, Self

from protocol.errors import BodyMalformed, LocalWireError


class Operation(IntEnum):
    """First byte of a packet that is no ping."""

    ECHO = 1
    SOURCE = 2
    SINK = 3
    OBSERVED = 4
    HOLD = 5
    IDENTIFY = 6
    JOURNAL = 7
    CLOSE = 8
    ERROR = 9


class CloseHow(IntEnum):
    """How a server asked to close ends the connection."""

    FIN = 0
    RST = 1
    HALF = 2


NONCE_BYTES: Final = 16
"""What names a session in the journal: 128 random bits never meet twice."""

MAX_SOURCE_BYTES: Final = 16_000_000
"""Random bytes do not shrink: so many, plus gzip's 5 bytes for each stored block, still fit in one frame."""

MAX_HOLD_MILLISECONDS: Final = 3_600_000
"""One hour: longer than any idle timeout worth finding (conntrack's of days shows otherwise)."""

MAX_DOCUMENT_BYTES: Final = 2**20
"""Largest JSON reply. Parsed JSON takes some 20 times its text in memory."""

MAX_DOCUMENT_DEPTH: Final = 16
"""Objects and lists inside each other. Python reads deeper ones than it can afterwards compare or print."""

MAX_ERROR_BYTES: Final = 1024
"""Longest error text: a few lines, fit for a log."""

_COUNT_AND_SEED: Final = struct.Struct(">IQ")
_MILLISECONDS: Final = struct.Struct(">I")
_COUNT_AND_DIGEST: Final = struct.Struct(">Q32s")
_MAX_SEED: Final = 2**64 - 1


@dataclass(frozen=True, slots=True, repr=False)
class Packet:
    """One framework message: opaque bytes, the empty one being the ping."""

    body: bytes = b""

    @property
    def is_ping(self) -> bool:
        """Whether the packet is empty: a ping, or the answer to one."""
        return not self.body

    @property
    def operation(self) -> Operation:
        """What is asked or answered. Raises: BodyMalformed for a ping, and for an operation not known."""
        if not self.body:
            raise BodyMalformed("the empty packet is a ping: it has no operation")
        try:
            return Operation(self.body[0])
        except ValueError:
            raise BodyMalformed(f"operation 0x{self.body[0]:02x} is not known") from None

    @property
    def argument(self) -> bytes:
        """What follows the operation."""
        return self.body[1:]

    def __repr__(self) -> str:
        if not self.body:
            return "Packet(ping)"
        try:
            name = Operation(self.body[0]).name
        except ValueError:
            name = f"0x{self.body[0]:02x}"
        return f"Packet({name}, {len(self.body) - 1} bytes)"

    @classmethod
    def ping(cls) -> Self:
        """The empty packet; answered by another."""
        return cls()

    @classmethod
    def reply(cls, operation: Operation, argument: bytes) -> Self:
        """Any operation with any argument. Raises: LocalWireError for an operation not known."""
        try:
            return cls(bytes((Operation(operation),)) + argument)
        except ValueError:
            raise LocalWireError(f"operation {operation!r} is not known") from None

    @classmethod
    def echo(cls, data: bytes) -> Self:
        """Ask for `data` back."""
        return cls.reply(Operation.ECHO, data)

    @classmethod
    def source(cls, count_bytes: int, seed: int = 0) -> Self:
        """Ask for `source_bytes(count_bytes, seed)`. Raises: LocalWireError as that does."""
        _check_source(count_bytes, seed)
        return cls.reply(Operation.SOURCE, _COUNT_AND_SEED.pack(count_bytes, seed))

    @classmethod
    def sink(cls, data: bytes) -> Self:
        """Give `data`; asked back are only its count and SHA-256."""
        return cls.reply(Operation.SINK, data)

    @classmethod
    def observed(cls) -> Self:
        """Ask what the server sees of this connection."""
        return cls.reply(Operation.OBSERVED, b"")

    @classmethod
    def hold(cls, milliseconds: int) -> Self:
        """Ask for an answer after `milliseconds`. Raises: LocalWireError over MAX_HOLD_MILLISECONDS."""
        if not 0 <= milliseconds <= MAX_HOLD_MILLISECONDS:
            raise LocalWireError(f"a hold of {milliseconds} ms is not within 0 to {MAX_HOLD_MILLISECONDS}")
        return cls.reply(Operation.HOLD, _MILLISECONDS.pack(milliseconds))

    @classmethod
    def identify(cls, nonce: bytes) -> Self:
        """Name this session. Raises: LocalWireError when `nonce` is not NONCE_BYTES long."""
        return cls.reply(Operation.IDENTIFY, _checked_nonce(nonce))

    @classmethod
    def journal(cls, nonce: bytes) -> Self:
        """Ask for the record of the session named `nonce`. Raises: LocalWireError for another length."""
        return cls.reply(Operation.JOURNAL, _checked_nonce(nonce))

    @classmethod
    def close(cls, how: CloseHow) -> Self:
        """Ask the server to close. Raises: LocalWireError for a way not known."""
        try:
            return cls.reply(Operation.CLOSE, bytes((CloseHow(how),)))
        except ValueError:
            raise LocalWireError(f"closing by {how!r} is not known") from None

    @classmethod
    def error(cls, message: str) -> Self:
        """Say why a request is not answered. Never raises: a long text is cut to MAX_ERROR_BYTES."""
        text = message.encode(errors="backslashreplace")[:MAX_ERROR_BYTES]
        return cls.reply(Operation.ERROR, text.decode(errors="ignore").encode())  # not cut inside a character


def source_bytes(count_bytes: int, seed: int) -> bytes:
    """Return the pseudo-random bytes both sides know: SHAKE-128 (FIPS 202) of the seed as u64, big endian.

    Raises: LocalWireError when the count is not within 0 to MAX_SOURCE_BYTES, or the seed no u64.
    """
    _check_source(count_bytes, seed)
    return hashlib.shake_128(seed.to_bytes(8)).digest(count_bytes)


def source_reply(count_bytes: int, seed: int) -> Packet:
    """Answer SOURCE. Raises: LocalWireError as `source_bytes` does."""
    return Packet.reply(Operation.SOURCE, source_bytes(count_bytes, seed))


def sink_reply(data: bytes) -> Packet:
    """Answer SINK: the count and SHA-256 of what came."""
    return Packet.reply(Operation.SINK, _COUNT_AND_DIGEST.pack(len(data), hashlib.sha256(data).digest()))


def document_reply(operation: Operation, document: dict[str, Any]) -> Packet:
    """Answer OBSERVED or JOURNAL with a JSON object.

    Raises: LocalWireError when JSON (RFC 8259) cannot say it, or it is over MAX_DOCUMENT_BYTES or _DEPTH.
    """
    try:
        text = _document_text(document)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalWireError(f"the document cannot be said in JSON: {error}") from error
    if _is_too_deep(document):
        raise LocalWireError(f"the document is nested deeper than {MAX_DOCUMENT_DEPTH}")
    if len(text) > MAX_DOCUMENT_BYTES:
        raise LocalWireError(f"a document of {len(text)} bytes is over the limit of {MAX_DOCUMENT_BYTES}")
    return Packet.reply(operation, text)


def read_source(argument: bytes) -> tuple[int, int]:
    """Return what SOURCE asks: how many bytes, and the seed. Raises: BodyMalformed."""
    _check_length("SOURCE", argument, _COUNT_AND_SEED.size)
    count_bytes, seed = _COUNT_AND_SEED.unpack(argument)
    if count_bytes > MAX_SOURCE_BYTES:
        raise BodyMalformed(f"SOURCE asks for {count_bytes} bytes, the limit is {MAX_SOURCE_BYTES}")
    return count_bytes, seed


def read_hold(argument: bytes) -> int:
    """Return after how many milliseconds HOLD is to be answered. Raises: BodyMalformed."""
    _check_length("HOLD", argument, _MILLISECONDS.size)
    milliseconds = int.from_bytes(argument)
    if milliseconds > MAX_HOLD_MILLISECONDS:
        raise BodyMalformed(f"HOLD asks for {milliseconds} ms, the limit is {MAX_HOLD_MILLISECONDS}")
    return milliseconds


def read_nonce(argument: bytes) -> bytes:
    """Return the nonce of IDENTIFY or JOURNAL. Raises: BodyMalformed."""
    _check_length("a nonce", argument, NONCE_BYTES)
    return argument


def read_close(argument: bytes) -> CloseHow:
    """Return how CLOSE is to be done. Raises: BodyMalformed."""
    _check_length("CLOSE", argument, 1)
    try:
        return CloseHow(argument[0])
    except ValueError:
        raise BodyMalformed(f"closing by {argument[0]} is not known") from None


def read_sink_reply(argument: bytes) -> tuple[int, bytes]:
    """Return the count and SHA-256 (32 bytes) that answer SINK. Raises: BodyMalformed."""
    _check_length("the answer to SINK", argument, _COUNT_AND_DIGEST.size)
    count_bytes, digest = _COUNT_AND_DIGEST.unpack(argument)
    return count_bytes, digest


def read_document(argument: bytes) -> dict[str, Any]:
    """Return the JSON object that answers OBSERVED or JOURNAL; all in it can be printed and written again.

    Raises: BodyMalformed: no JSON object in UTF-8, over MAX_DOCUMENT_BYTES or MAX_DOCUMENT_DEPTH.
    """
    if len(argument) > MAX_DOCUMENT_BYTES:
        raise BodyMalformed(f"a document of {len(argument)} bytes is over the limit of {MAX_DOCUMENT_BYTES}")
    try:
        document = json.loads(argument.decode())
        _document_text(document)  # Python reads more than it writes: NaN, 1e999, lone surrogates
    except (ValueError, RecursionError) as error:
        raise BodyMalformed(f"the document is not JSON in UTF-8: {error}") from None
    if not isinstance(document, dict):
        raise BodyMalformed(f"the document is no JSON object but {type(document).__name__}")
    if _is_too_deep(document):
        raise BodyMalformed(f"the document is nested deeper than {MAX_DOCUMENT_DEPTH}")
    return document


def read_error(argument: bytes) -> str:
    """Return the text of ERROR, fit for terminals and logs: U+FFFD stands for what is not printable.

    Raises: BodyMalformed: not UTF-8, or over MAX_ERROR_BYTES.
    """
    if len(argument) > MAX_ERROR_BYTES:
        raise BodyMalformed(f"an error text of {len(argument)} bytes is over the limit of {MAX_ERROR_BYTES}")
    try:
        text = argument.decode()
    except UnicodeDecodeError as error:
        raise BodyMalformed(f"the error text is not UTF-8: {error}") from None
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _check_source(count_bytes: int, seed: int) -> None:
    if not 0 <= count_bytes <= MAX_SOURCE_BYTES:
        raise LocalWireError(f"a source of {count_bytes} bytes is not within 0 to {MAX_SOURCE_BYTES}")
    if not 0 <= seed <= _MAX_SEED:
        raise LocalWireError(f"a seed of {seed} is not within 0 to 2**64 - 1")


def _checked_nonce(nonce: bytes) -> bytes:
    if len(nonce) != NONCE_BYTES:
        raise LocalWireError(f"a nonce is {NONCE_BYTES} bytes, not {len(nonce)}")
    return nonce


def _check_length(what: str, argument: bytes, length_bytes: int) -> None:
    if len(argument) != length_bytes:
        raise BodyMalformed(f"{what} has {length_bytes} bytes of argument, not {len(argument)}")


def _is_too_deep(document: dict[str, Any]) -> bool:
    level: list[Any] = [document]
    for _ in range(MAX_DOCUMENT_DEPTH):
        inner = chain.from_iterable(outer.values() if isinstance(outer, dict) else outer for outer in level)
        level = [value for value in inner if isinstance(value, dict | list | tuple)]
    return bool(level)


def _document_text(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
