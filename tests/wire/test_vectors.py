"""The golden vectors hold: wire bytes that anybody can check against docs/wire.md without our code."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import protocol
from protocol import Direction, Key, PacketConnection, PeerWireError, seal, unseal
from protocol.compression import EMPTY_GZIP, gzip

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors"


def load(name: str) -> list[Any]:
    rows: list[Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return rows


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("make_vectors", VECTORS / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = generator()
PACKETS, REFUSED, OPERATIONS = load("packets"), load("refused"), load("operations")


def by_name(row: dict[str, Any]) -> str:
    return str(row["name"])


def arguments_of(row: dict[str, Any]) -> dict[str, Any]:
    return {"direction": Direction[row["direction"].upper()], "number": row["number"]}


def read_to_the_end(connection: PacketConnection, *, eof: bool) -> None:
    while connection.next_packet() is not None:
        pass
    if eof:
        connection.receive_eof()


@pytest.mark.parametrize("row", PACKETS, ids=by_name)
def test_every_vector_opens_to_its_plaintext(row: dict[str, Any]) -> None:
    """Wire bytes made by another implementation of docs/wire.md open to exactly their plaintext."""
    key, wire = Key(bytes.fromhex(row["key"])), bytes.fromhex(row["wire"])
    assert len(wire) - 4 == int.from_bytes(wire[:4])
    assert bytes.fromhex(row["plaintext"]) == unseal(key, wire[4:], **arguments_of(row))


@pytest.mark.parametrize("row", [row for row in PACKETS if row["exact"]], ids=by_name)
def test_empty_packets_are_sealed_to_the_same_44_bytes_everywhere(row: dict[str, Any]) -> None:
    """A ping's wire bytes follow from key, direction, number and nonce, on every platform and zlib build.

    Only the empty packet is compared whole: another build's deflate may pack any other plaintext differently.
    """
    key, nonce = Key(bytes.fromhex(row["key"])), bytes.fromhex(row["nonce"])
    wire = seal(key, b"", nonce=nonce, **arguments_of(row))
    assert len(wire) == 44
    assert row["wire"] == wire.hex()


@pytest.mark.parametrize("row", PACKETS, ids=by_name)
def test_what_we_seal_differs_from_a_vector_in_packing_only(row: dict[str, Any]) -> None:
    """Our frame is the reference's frame around what our zlib packed: same nonce, same places."""
    key, nonce, plaintext = (bytes.fromhex(row[name]) for name in ("key", "nonce", "plaintext"))
    direction, number = arguments_of(row)["direction"], row["number"]
    expected = MAKE.frame(gzip(plaintext), direction, number, key, nonce)
    assert expected == seal(Key(key), plaintext, direction=direction, number=number, nonce=nonce)


@pytest.mark.parametrize("row", REFUSED, ids=by_name)
def test_every_damage_has_its_error(row: dict[str, Any]) -> None:
    """A damaged stream gives the packets before the damage, then the error that docs/wire.md names."""
    limits = {name: row[name] for name in ("frame_limit_bytes", "inflated_limit_bytes") if name in row}
    connection = PacketConnection(Direction.SERVER, **limits)
    connection.receive_data(bytes.fromhex(row["stream"]))
    with pytest.raises(PeerWireError) as caught:
        read_to_the_end(connection, eof=row.get("eof", False))
    assert row["error"] == type(caught.value).__name__
    assert row["packets"] == connection.packets_received


@pytest.mark.parametrize("name", ["packets", "refused", "operations"])
def test_files_are_what_the_generator_makes(name: str) -> None:
    """No vector was edited by hand: the files differ from a new run in packed bytes at most."""
    made = getattr(MAKE, name)()
    free = {"wire", "stream"}
    kept = [{field: row[field] for field in row if field not in free} for row in made]
    assert kept == [{field: row[field] for field in row if field not in free} for row in load(name)]


def test_the_reference_is_ccm() -> None:
    """The generator's CCM reproduces RFC 3610 section 8, packet vector 1."""
    sealed = MAKE.ccm(
        bytes(range(0xC0, 0xD0)),
        bytes.fromhex("00000003020100a0a1a2a3a4a5"),
        bytes(range(8, 0x1F)),
        bytes(range(8)),
    )
    expected = "588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0"
    assert expected == sealed.hex()


@settings(deadline=None, max_examples=25)
@given(
    secret=st.binary(min_size=32, max_size=32),
    nonce=st.binary(min_size=12, max_size=12),
    plaintext=st.binary(max_size=200),
    direction=st.sampled_from(Direction),
    number=st.integers(0, 2**64 - 1),
)
def test_seal_equals_the_reference(
    secret: bytes, nonce: bytes, plaintext: bytes, direction: Direction, number: int
) -> None:
    """Any frame of ours is the one that RFC 3610, written out, gives for the same packed bytes."""
    packed = gzip(plaintext) if plaintext else EMPTY_GZIP
    expected = MAKE.frame(packed, direction, number, secret, nonce)
    assert expected == seal(Key(secret), plaintext, direction=direction, number=number, nonce=nonce)


@pytest.mark.parametrize("row", OPERATIONS, ids=by_name)
def test_the_document_shows_every_operation_as_it_is(row: dict[str, Any]) -> None:
    """Each operation's bytes stand in docs/wire.md as they go over the wire."""
    assert f"`{row['body']}`" in (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")


def test_the_document_names_every_operation_error_and_limit() -> None:
    """Nothing is on the wire, or refused, that docs/wire.md does not name."""
    text = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
    names = [operation.name for operation in protocol.Operation]
    # Those of packets: HTTP/2 has one of its own, which is only known where that is imported
    known = PeerWireError.__subclasses__()
    errors = [error for error in known if error.__module__ == PeerWireError.__module__]
    names += [error.__name__ for error in errors]
    names += [name for name in vars(protocol.packet) if name.startswith("MAX_")]
    names += ["MAX_FRAME_BYTES", "MAX_INFLATED_BYTES", Key.public().secret.hex()]
    assert [name for name in names if name not in text] == []
