"""One mechanism that can be switched off, and the tests that are named most often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]

LUA = "runner/store/redis/lua"

CRASHES = "tests/faults/test_crash_points.py"
CALLS = "tests/faults/test_close_calls.py"
LOST = "tests/faults/test_lost_replies.py"
REDIS = "tests/faults/test_redis_faults.py"
RABBIT = "tests/faults/test_rabbit_faults.py"
CLOCKS = "tests/faults/test_clocks.py"
FSCK = "tests/contract/test_fsck.py"
DAMAGE = "tests/contract/test_fsck_damage.py"

WORKER = f"{CRASHES}::test_a_worker_that_dies_or_stands_still_anywhere_delays_and_loses_nothing"
SCHEDULER = f"{CRASHES}::test_a_scheduler_that_dies_or_stands_still_anywhere_is_followed_by_another"
PRODUCER = f"{CRASHES}::test_what_a_producer_had_acknowledged_or_asks_again_happens_once"
ABANDONED = f"{CRASHES}::test_what_a_dead_producer_had_stored_is_executed_though_nobody_asks_again"
HAPPENS_ONCE = f"{LOST}::test_what_lost_its_reply_happens_once"


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """``before`` stands once in ``file``; with ``after`` in its place the mechanism is off, and one of ``tests`` fails.

    ``points``: of tests that know many crash points, those that are about it.
    """

    name: str
    promise: str
    mechanism: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]
    points: tuple[str, ...] = ()

    def found(self, root: Path = ROOT) -> int:
        """How often its text is there."""
        return (root / self.file).read_text().count(self.before)

    def apply(self, root: Path) -> None:
        path = root / self.file
        path.write_text(path.read_text().replace(self.before, self.after))

    def functions(self) -> Iterator[tuple[str, str]]:
        """The file and the name of each test, without its parameters."""
        for test in self.tests:
            path, _, name = test.partition("::")
            yield path, name.partition("[")[0]
