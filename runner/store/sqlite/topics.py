"""Words about topics, from the writer's thread to listeners on any event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable

#: A listener that does not listen loses words beyond this many: they are hints, and memory is not.
BACKLOG = 1_000

#: A topic and a word about it.
Word = tuple[str, str]


class Listener:
    """One subscription; lives on the event loop that made it."""

    def __init__(self, topics: Topics, topic: str) -> None:
        self.topic = topic
        self._topics = topics
        self._loop = asyncio.get_running_loop()
        self._words: asyncio.Queue[str] = asyncio.Queue(BACKLOG)

    async def next(self, timeout: float) -> str | None:
        """The next word, or None when ``timeout`` seconds passed without one."""
        try:
            async with asyncio.timeout(timeout):
                return await self._words.get()
        except TimeoutError:
            return None

    async def close(self) -> None:
        self._topics.drop(self)

    def hear(self, word: str) -> None:
        """From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._put, word)
        except RuntimeError:  # its loop is closed: nobody listens any more
            self._topics.drop(self)

    def _put(self, word: str) -> None:
        if not self._words.full():
            self._words.put_nowait(word)


class Topics:
    """Who listens to what."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[str, list[Listener]] = {}

    def listen(self, topic: str) -> Listener:
        listener = Listener(self, topic)
        with self._lock:
            self._listeners.setdefault(topic, []).append(listener)
        return listener

    def drop(self, listener: Listener) -> None:
        """Safe to call twice."""
        with self._lock:
            others = [one for one in self._listeners.get(listener.topic, ()) if one is not listener]
            if others:
                self._listeners[listener.topic] = others
            else:
                self._listeners.pop(listener.topic, None)

    def publish(self, words: Iterable[Word]) -> None:
        """From any thread."""
        for topic, word in words:
            with self._lock:
                listeners = tuple(self._listeners.get(topic, ()))
            for listener in listeners:
                listener.hear(word)
