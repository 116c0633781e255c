"""Processes whose time of day is wrong: `python -m tests.faults.clocks worker …` is `runner worker …` in such a one.

RUNNER_TEST_CLOCK_S says by how many seconds.
"""

from __future__ import annotations

import os
import sys
import time

VARIABLE = "RUNNER_TEST_CLOCK_S"


def shift(seconds: float) -> None:
    """From here on, the time of day is wrong by so much in this process."""
    now, now_ns, local, utc = time.time, time.time_ns, time.localtime, time.gmtime
    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + round(seconds * 1e9)
    time.localtime = lambda at=None: local(time.time() if at is None else at)
    time.gmtime = lambda at=None: utc(time.time() if at is None else at)


def shift_as_told() -> None:
    """By what the environment says, if it says anything."""
    if wrong := os.environ.get(VARIABLE):
        shift(float(wrong))


if __name__ == "__main__":
    from runner.cli import main  # a producer needs none of it

    shift_as_told()
    main(sys.argv[1:])
