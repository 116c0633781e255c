"""A bound on code that runs without asking for anything: an endless loop must not be walked for ever."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from runner.core.places import show
from runner.describe.sketch import Enough

T = TypeVar("T")

#: Instructions of Python that one description may run: a second's worth, more or less.
MAX_INSTRUCTIONS = 1_000_000

_OURS = str(Path(__file__).resolve().parents[1])


def bounded(drive: Callable[[], T], instructions: int = MAX_INSTRUCTIONS) -> T:
    """Call ``drive`` on this thread. Enough is raised in code other than ours when it has run that many.

    Only instructions of Python are counted: a call that blocks, or a loop inside a library written in C, is not stopped.
    """
    left = instructions

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        left -= 1
        if event == "call":
            if frame.f_code.co_filename.startswith(_OURS):
                return None  # never to be interrupted, and not the code that loops
            # Lines are not enough: `while True: pass` never comes to another one.
            frame.f_trace_lines, frame.f_trace_opcodes = False, True
        if left < 0:
            place = show((frame.f_code.co_filename, frame.f_lineno))
            raise Enough(f"{instructions:,} instructions were run without coming to an end, the last at {place}")
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        return drive()
    finally:
        sys.settrace(former)
