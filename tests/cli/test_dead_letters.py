"""``runner queues dead-letters|replay|discard``, on a broker that is shared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aio_pika
import pytest

from runner.broker.rabbitmq.message import QUEUE, REASON
from runner.broker.topology import Topology
from runner.messages import Hint
from tests.cli.conftest import Said

Here = Callable[..., Said]


@pytest.fixture
def on(here: Here, redis_url: str, rabbit_url: str, namespace: str) -> Here:
    def on(*arguments: str) -> Said:
        return here("queues", *arguments, "--namespace", namespace, "--store", redis_url, "--broker", rabbit_url)

    return on


async def bury(url: str, namespace: str, *letters: tuple[str, str, bytes]) -> None:
    """Among the dead letters, confirmed: from which queue, for which reason."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for queue, reason, body in letters:
            message = aio_pika.Message(body, headers={QUEUE: queue, REASON: reason})
            await channel.default_exchange.publish(message, Topology(namespace).dead)


def test_what_is_of_no_use_is_told_why_and_thrown_away_when_it_is_meant(
    on: Here, rabbit_url: str, namespace: str
) -> None:
    assert on("list").code == 0, "the queue of the dead is declared"
    foreign, hint = b"\x1b[31mforeign", Hint("e-1", "order", 1, 1).encode()
    letters = (
        ("orders", "not msgpack", foreign),
        ("mails", "not msgpack", foreign),
        ("orders", "delivery_limit", hint),
    )
    asyncio.run(bury(rabbit_url, namespace, *letters))
    told = on("replay", "--json").json()
    assert told["replayed"] == 1
    assert {(one["queue"], one["no_use"][:11]) for one in told["kept"]} == {
        ("orders", "not msgpack"),
        ("mails", "not msgpack"),
    }
    vague = on("discard", "--yes")
    assert (vague.code, "--unusable, --queue or --reason" in vague.err) == (2, True)
    unasked = on("discard", "--unusable")
    assert (unasked.code, "Throw away 2 of 2 dead letters" in unasked.err) == (2, True)
    assert on("discard", "--unusable", "--reason", "nothing like it", "--yes", "--json").json() == {"discarded": []}
    (gone,) = on("discard", "--queue", "mails", "--yes", "--json").json()["discarded"]
    assert (gone["queue"], gone["reason"]) == ("mails", "not msgpack")
    said = on("discard", "--unusable", "--reason", "msgpack", "--yes")
    assert "1 dead letters were thrown away" in said.err
    assert "foreign" in said.out
    assert "\x1b" not in said.out
    assert on("dead-letters", "--json").json()["dead_letters"] == []
