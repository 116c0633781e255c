"""How long the core takes to replay a thousand recorded steps, beside just decoding the same results, and just looking at them.

Processor time, not the clock's: other programs on the machine do not count.

Run: python benchmarks/replay.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from runner import App, Context
from runner.codec import decode, encode
from runner.core.replay import Replay, Returned
from runner.isolation import Isolation
from runner.records import Entry

STEPS = 1_000
ROUNDS = 20

app = App("bench")


def work(number: int) -> int:
    return number


@app.workflow("steps")
async def steps(ctx: Context) -> int:
    total = 0
    for number in range(STEPS):
        total += await ctx.step(f"step {number}", work, number)
    return total


JOURNAL = [
    Entry(number=number + 1, id=f"step {number}", kind="step", outcome="ok", payload=encode(number), at=number)
    for number in range(STEPS)
]


def replayed() -> None:
    replay = Replay(seed="x#1", started_at=0, errors={})
    isolation = Isolation()
    replay.record(JOURNAL)
    replay.begin(steps.start(Context(replay, steps, execution_id="x", run=1, attempt=1)))
    assert isolation.run(replay.run) == Returned(sum(range(STEPS)))
    isolation.run(replay.close)


def decoded() -> None:
    assert sum(decode(entry.payload, int) for entry in JOURNAL) == sum(range(STEPS))


def looked_at() -> None:
    for entry in JOURNAL:
        assert entry.payload


def median_ms(measured: Callable[[], None]) -> float:
    times = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        measured()
        times.append((time.process_time() - begun) * 1000)
    return statistics.median(times)


if __name__ == "__main__":
    replay_ms, decode_ms, loop_ms = median_ms(replayed), median_ms(decoded), median_ms(looked_at)
    print(f"replay of {STEPS} recorded steps:  {replay_ms:.2f} ms")
    print(f"decoding their results alone:  {decode_ms:.2f} ms, ratio {replay_ms / decode_ms:.1f}")
    print(f"an empty loop over them:       {loop_ms:.3f} ms, ratio {replay_ms / loop_ms:.0f}")
