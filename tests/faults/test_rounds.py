"""What is asked of the tools while faults strike, and after each round of them: of a store in which something is wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner import App, Client
from runner.broker.memory import MemoryBroker
from runner.store import Store
from runner.store.factory import open_store
from tests.contract.hands import Hand, hand_into
from tests.contract.kit import a_start, start
from tests.faults import questions, rounds
from tests.faults.questions import Questions
from tests.faults.rounds import unsound, unwakeable


@dataclass
class Book:
    """The lines that are written, and what was seen."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter[str])

    def wrote(self, kind: str, **fields: object) -> None:
        self.lines.append({"kind": kind, **fields})


@pytest.fixture
async def store(namespace: str, tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(f"sqlite:///{tmp_path}/state.db", namespace=namespace)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def client(store: Store, namespace: str) -> AsyncIterator[Client]:
    """One execution is well; one is neither ready nor anything else."""
    broker = MemoryBroker(namespace)
    await broker.open()
    for id in ("lost", "well"):
        await start(store, a_start(id))
    yield Client(App(namespace), store, broker)
    await broker.close()


@pytest.fixture
def hand(store: Store) -> Iterator[Hand]:
    hand = hand_into(store)
    yield hand
    hand.close()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "REST_S", 0.01)


@pytest.mark.usefixtures("hurried")
async def test_a_round_without_anything_wrong_finds_nothing(client: Client) -> None:
    assert await unsound(client) == []
    assert await unwakeable(client.store) == {}


@pytest.mark.usefixtures("hurried")
async def test_a_round_finds_what_nothing_would_wake(client: Client, hand: Hand) -> None:
    hand.ready("lost", None)
    assert [(one.code, one.subject) for one in await unsound(client)] == [("unwakeable", "lost")]
    assert await unwakeable(client.store) == {"lost": "unwakeable"}


async def test_what_is_right_again_a_moment_later_is_none(client: Client, hand: Hand) -> None:
    hand.ready("lost", None)
    looking = asyncio.create_task(unsound(client))
    await asyncio.sleep(0.1)  # the first look takes some ms
    await client.fsck(repair=True)
    assert await looking == []


async def test_an_answer_that_says_nothing_is_written_down(
    client: Client, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "EVERY_S", 0.01)
    book = Book()
    asking = Questions(client, 7, book.wrote, book.seen)
    await asking.ask_last()
    assert book.lines == []
    hand.ready("lost", None)
    task = asyncio.create_task(asking.keep_asking())
    async with asyncio.timeout(30):
        while not book.lines:
            await asyncio.sleep(0.01)
    task.cancel()
    assert {(line["kind"], line["execution"]) for line in book.lines} == {("unexplained", "lost")}
    assert "stuck in silence" in book.lines[0]["said"]
    assert book.seen["why.no_wake_source"] >= 1
    assert book.seen["why.no_worker"] >= 2
