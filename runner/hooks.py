"""Observers: told of what happens to executions and workers, beside the work and never in its way.

One task a loop tells them, in the order of the changes. What an observer raises is logged, and one that hangs is not
waited for: it is passed over until it comes back. A process that dies tells nobody, and so does one whose
observers are so slow that more waits than there is room for.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from runner.calling import called, in_thread, is_async, on_loop
from runner.events import AuditAppended, Observable, WorkerEvent, typed, umbrella
from runner.failures import said
from runner.log import Logger
from runner.records import AuditEntry

log = Logger("runner.hooks")

#: Seconds that an observer may take for one event.
PATIENCE_S = 10.0
#: Rows and events that may wait to be told; what comes on top is told to nobody.
ROOM = 10_000

Observer = Callable[[Any], Any]


class Hooks:
    """The observers of one app. Safe to share between loops; ``fire`` costs nothing when nobody observes."""

    def __init__(self) -> None:
        self._observers: dict[type[Observable], list[Observer]] = {}
        self._tellers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Teller] = WeakKeyDictionary()

    def add(self, kind: type[Observable], observer: Observer) -> None:
        """Have ``observer``, a function of one argument, told of every event of this class."""
        self._observers.setdefault(kind, []).append(observer)

    def fire(self, rows: Iterable[AuditEntry]) -> None:
        """Have the rows told soon: each as AuditAppended and as its own event. Never waits, never raises."""
        if self._observers:
            self._teller().put(rows)

    def tell(self, event: WorkerEvent) -> None:
        """As ``fire``, of a worker."""
        if self._observers:
            self._teller().put((event,))

    async def settle(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until everything fired on this loop so far was told, at most ``timeout_s`` seconds."""
        if self._observers:
            await self._teller().settle(timeout_s)

    def _teller(self) -> _Teller:
        loop = asyncio.get_running_loop()
        if loop not in self._tellers:
            self._tellers[loop] = _Teller(self._observers)
        return self._tellers[loop]


class _Teller:
    """What waits on one loop; its task lives for as long as there is something to tell."""

    def __init__(self, observers: dict[type[Observable], list[Observer]]) -> None:
        self._observers = observers
        self._waiting: deque[AuditEntry | WorkerEvent] = deque()
        self._telling: asyncio.Task[None] | None = None
        self._hanging: dict[int, asyncio.Future[Any]] = {}  # by the observer's identity: not all have a hash
        self._full = False

    def put(self, happened: Iterable[AuditEntry | WorkerEvent]) -> None:
        for one in happened:
            if len(self._waiting) < ROOM:
                self._waiting.append(one)
            elif not self._full:
                self._full = True
                log.error("hook.overflow", error=f"more than {ROOM:,} events wait: the observers do not keep up")
        if self._waiting and (self._telling is None or self._telling.done()):
            self._telling = asyncio.create_task(self._tell_all(), name="observers")

    async def settle(self, timeout_s: float) -> None:
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=timeout_s)

    async def _tell_all(self) -> None:
        while self._waiting:
            for event in self._events(self._waiting.popleft()):
                for observer in self._observers_of(event):
                    await self._tell(observer, event)
        self._full = False

    def _events(self, one: AuditEntry | WorkerEvent) -> Iterator[Observable]:
        if isinstance(one, WorkerEvent):
            yield one
            return
        if AuditAppended in self._observers:
            yield umbrella(one)
        if (event := typed(one)) is not None:
            yield event

    def _observers_of(self, event: Observable) -> list[Observer]:
        return [one for kind in type(event).__mro__ for one in self._observers.get(kind, ())]

    async def _tell(self, observer: Observer, event: Observable) -> None:
        known = {"hook": called(observer), "told": type(event).__name__}
        hanging = self._hanging.get(id(observer))
        if hanging is not None and not hanging.done():
            log.warning("hook.passed_over", error="it has not come back from an earlier event", **known)
            return
        call = _begin(observer, event)
        self._hanging[id(observer)] = call
        # Waited for from outside: an observer that swallows its cancellation, or sits in a thread, keeps nobody.
        await asyncio.wait({call}, timeout=PATIENCE_S)
        if not call.done():
            if isinstance(call, asyncio.Task):
                call.cancel()
            call.add_done_callback(_error_of)  # looked at, or asyncio complains
            log.error("hook.failed", error=f"no answer within {PATIENCE_S:g} s", **known)
        elif (error := _error_of(call)) is not None:
            log.error("hook.failed", error=f"{type(error).__name__}: {said(error)}", **known)


def _begin(observer: Observer, event: Observable) -> asyncio.Future[Any]:
    if is_async(observer):
        return asyncio.create_task(on_loop(observer, event))
    return _in_thread(observer, event)


def _error_of(call: asyncio.Future[Any]) -> BaseException | None:
    return asyncio.CancelledError() if call.cancelled() else call.exception()


def _in_thread(observer: Observer, event: Observable) -> asyncio.Future[Any]:
    """In a thread that the process does not wait for at its end; at most one an observer."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def run() -> None:
        error: Exception | None = None
        try:
            in_thread(observer, event)
        except Exception as raised:  # noqa: BLE001 - whatever it is, it is the observer's
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, done, error)

    threading.Thread(target=run, name="runner-observer", daemon=True).start()
    return done


def _settle(done: asyncio.Future[Any], error: Exception | None) -> None:
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
