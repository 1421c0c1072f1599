"""The journal by itself: how many records it keeps, what it finds, what goes into JSON."""

import json
import socket

from relay.journal import FIRST_BYTES, LOOK_BYTES, Ended, Journal

NONCE = bytes(16)


def test_keeps_the_latest_records_and_all_open_ones() -> None:
    """Only ended connections are forgotten, the oldest first."""
    journal = Journal(limit_records=2)
    with socket.socket() as sock:
        still_open, *ended = [journal.open(sock) for _ in range(4)]
        for record in ended:
            journal.close(record, Ended.CLIENT_CLOSED)
    assert [3, 4, 1] == [record.id for record in journal.records]
    assert [Ended.CLIENT_CLOSED, Ended.CLIENT_CLOSED, None] == [record.ended for record in journal.records]
    assert still_open is journal.records[-1]


def test_finds_by_nonce_oldest_first() -> None:
    """All connections of one session are found, in the order in which they came."""
    journal = Journal()
    with socket.socket() as sock:
        first, second, third, other = [journal.open(sock) for _ in range(4)]
        for record in (first, second, third):
            record.nonce = NONCE.hex()
        journal.close(third, Ended.CLIENT_RESET)
        journal.close(first, Ended.CLIENT_RESET)
    assert [first, second, third] == journal.of(NONCE)
    assert [] == journal.of(b"x" * 16)
    assert other.nonce is None


def test_a_connection_that_has_gone_already_has_a_record() -> None:
    """A peer that cannot be asked for any more is `unknown`, and no exception."""
    journal = Journal()
    sock = socket.socket()
    sock.close()
    record = journal.open(sock)
    assert ("unknown", "unknown") == (record.peer, record.local)


def test_first_bytes_are_kept_and_looked_at_in_any_pieces() -> None:
    """However a connection's first bytes are cut, the same 16 are kept and the same name is given."""
    journal = Journal()
    head = b"CONNECT a.name.of.some.length.example:5000 HTTP/1.1\r\n" + b"x" * LOOK_BYTES
    with socket.socket() as sock:
        for step in (1, 7, 40, len(head)):
            record = journal.open(sock)
            for place in range(0, len(head), step):
                record.saw(head[place : place + step])
            assert (head[:FIRST_BYTES].hex(), len(head)) == (record.first_bytes, record.bytes_received)
            assert "an HTTP request" == record.looks_like
            assert LOOK_BYTES == len(record.head)


def test_a_record_is_json() -> None:
    """A record is plain JSON, with its seconds so far while it is open, and without what is for us only."""
    journal = Journal()
    with socket.socket() as sock:
        record = journal.open(sock)
    record.saw(b"\xff" * 20)
    fields = json.loads(json.dumps(record.as_dict()))
    assert ("ff" * 16, None) == (fields["first_bytes"], fields["ended"])
    assert fields["seconds"] >= 0
    assert set() == {"began_monotonic", "head"} & set(fields)
    journal.close(record, Ended.OUT_OF_MEMORY)
    fields = json.loads(json.dumps(record.as_dict()))
    assert ("memory-budget", record.seconds) == (fields["ended"], fields["seconds"])
