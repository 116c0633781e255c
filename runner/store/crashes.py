"""Crashes in a row: what an execution may cost before it is given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from runner.errors import Poisoned
from runner.failures import Failure
from runner.transactions import Woken

#: An execution that lost this many workers in a row ends failed (poisoned) instead of being tried again.
MAX_CRASHES = 20

_CURE = (
    "What it does may end the process (out of memory, a crash in a C library, os._exit) or block its event loop: "
    "the workers' logs and the kernel's tell, and `runner why` how far it had come. Mend it, then have it tried again (runner executions retry)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashLimit:
    """With crash number ``crashes`` in a row an execution ends failed, cause ``poisoned``, with ``error`` (empty: none)."""

    crashes: int = MAX_CRASHES
    error: bytes = b""


def crash_limit(crashes: int = MAX_CRASHES, reason: str = "") -> CrashLimit:
    """So many crashes in a row, and the error for the one too many. ``reason``: what happened last, when that is known."""
    told = f"it broke {crashes} turns in a row, the last one: {reason}" if reason else _lost(crashes)
    error = Failure.of(Poisoned(told), known={}, attempts=1)
    return CrashLimit(crashes=crashes, error=error.pack())


def _lost(crashes: int) -> str:
    return f"it lost its worker {crashes} times in a row without getting on. {_CURE}"


#: What holds unless somebody says otherwise.
GIVE_UP = crash_limit()


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenOff(Woken):
    """What came of it: a wake, when it is handed back; ``poisoned`` when that was one crash too many."""

    poisoned: bool = False


class Crashes(Protocol):
    """What a worker says of a turn that broke."""

    async def break_off(self, id: str, nonce: str, crashes: CrashLimit) -> BrokenOff:
        """Hand an owned execution back whose turn broke for no fault of its code's: ready at once, and a crash is counted.

        A crash too many ends it, as ``CrashLimit`` says; what an end puts into the outbox is in the answer. An entry
        recorded since counts anew, as for every crash. A repeat counts nothing: it is told the same wake for as long as
        the execution is ready, and the same end; parcels and rows are told once. A lost lease: no effect, nothing in
        the answer.
        """
        ...
