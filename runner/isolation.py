"""Where workflow code runs: on the worker's thread, but out of reach of its event loop."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import AsyncGeneratorType
from typing import Any, TypeVar

from runner.core.places import show

T = TypeVar("T")

_new_event_loop = asyncio.events.new_event_loop
_here = threading.local()  # .driving: true while this thread runs workflow code


def _refuse_a_loop() -> asyncio.AbstractEventLoop:
    """``asyncio.run`` in workflow code would do, unrecorded and at every replay, what belongs into a step."""
    if getattr(_here, "driving", False):
        raise RuntimeError("there is no running event loop, and none may be started")
    return _new_event_loop()


class Isolation:
    """One turn's surroundings: its own context variables, its own asynchronous generators, no event loop.

    So ``asyncio.timeout``, ``create_task`` and generators that code leaves behind cannot reach the worker.
    """

    def __init__(self) -> None:
        self._context = contextvars.copy_context()
        # Weakly: a generator that the code lets go of must reach the finalizer.
        self._generators: weakref.WeakSet[AsyncGeneratorType[Any, Any]] = weakref.WeakSet()
        self.abandoned: list[str] = []  # generators that were left unfinished, and where

    def run(self, drive: Callable[[], T]) -> T:
        """Call ``drive`` in here."""
        loop = asyncio._get_running_loop()  # noqa: SLF001 - there is no public way to hide it
        hooks = sys.get_asyncgen_hooks()
        if loop is not None:
            asyncio._set_running_loop(None)  # noqa: SLF001
            # get_event_loop() would still find the loop of this thread, and asyncio.gather with it.
            asyncio.set_event_loop(None)
        sys.set_asyncgen_hooks(firstiter=self._began, finalizer=self._abandoned)
        # Where asyncio.run looks for it. Other threads may look meanwhile: they get what they always got.
        asyncio.events.new_event_loop = _refuse_a_loop
        outer, _here.driving = getattr(_here, "driving", False), True
        try:
            return self._context.run(drive)
        finally:
            _here.driving = outer
            if not outer:
                asyncio.events.new_event_loop = _new_event_loop
            sys.set_asyncgen_hooks(*hooks)
            if loop is not None:
                asyncio.set_event_loop(loop)
                asyncio._set_running_loop(loop)  # noqa: SLF001

    def close(self) -> None:
        """End what the code left open; nothing that it does then counts."""
        self.run(self._close_generators)

    def _began(self, generator: Any) -> None:
        self._generators.add(generator)

    def _abandoned(self, generator: Any) -> None:
        frame = generator.ag_frame
        place = (generator.ag_code.co_filename, frame.f_lineno if frame else generator.ag_code.co_firstlineno)
        self.abandoned.append(f"{generator.__qualname__} at {show(place)}")
        _finish(generator)

    def _close_generators(self) -> None:
        while self._generators:
            _finish(self._generators.pop())


def _finish(generator: AsyncGeneratorType[Any, Any]) -> None:
    with suppress(BaseException):  # StopIteration is the good end, and no other means anything any more
        generator.aclose().send(None)
