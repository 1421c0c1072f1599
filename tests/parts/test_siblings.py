"""Workers that ask each other: answers in their order, and one that is stuck."""

import asyncio
import socket

import pytest

from relay.siblings import Siblings, answer_siblings, make_pairs


async def test_each_sibling_answers() -> None:
    """In the order of the workers, also to many questions at once."""
    pairs = make_pairs(3)
    tasks = [
        asyncio.create_task(answer_siblings(own, lambda word, at=at: [at, word]))  # type: ignore[misc]
        for at, (_, own) in enumerate(pairs)
    ]
    siblings = Siblings([ours for ours, _ in pairs])
    await siblings.start()
    answers = await asyncio.gather(*(siblings.ask(f"q{number}") for number in range(20)))
    assert [[[0, f"q{number}"], [1, f"q{number}"]] for number in range(20)] == answers
    await siblings.aclose()
    await asyncio.gather(*tasks)


async def test_a_sibling_that_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """None for it; what it says at last is no answer to the next question. When it has ended nobody waits."""
    monkeypatch.setattr("relay.siblings.ANSWER_SECONDS", 0.05)
    ours, theirs = socket.socketpair()
    siblings = Siblings([ours])
    await siblings.start()
    with theirs:
        assert [None] == await siblings.ask("first")
        assert b"1 first\n" == theirs.recv(100)
        theirs.sendall(b'1 "late"\n2 "in time"\n')
        monkeypatch.setattr("relay.siblings.ANSWER_SECONDS", 30.0)
        assert ["in time"] == await siblings.ask("second")
        assert not siblings.have_ended
    assert [] == await siblings.ask("third")
    assert siblings.have_ended
    await siblings.aclose()


async def test_an_answer_that_fails_is_told_and_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """None for it; the event loop hears why; the next question is answered again."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context.get("exception")))
    wrong = ValueError("a mistake")

    def answers(word: str) -> object:
        if word == "mistake":
            raise wrong
        return {1} if word == "no JSON" else word

    [(ours, theirs)] = make_pairs(2)
    task = asyncio.create_task(answer_siblings(theirs, answers))
    siblings = Siblings([ours])
    await siblings.start()
    monkeypatch.setattr("relay.siblings.ANSWER_SECONDS", 0.05)
    assert [[None], [None]] == [await siblings.ask("mistake"), await siblings.ask("no JSON")]
    monkeypatch.setattr("relay.siblings.ANSWER_SECONDS", 30.0)
    assert ["good"] == await siblings.ask("good")
    assert [ValueError, TypeError] == [type(error) for error in told]
    assert wrong is told[0]
    await siblings.aclose()
    await task
