"""Hands that reach into a store and damage it, as no method of it would."""

from __future__ import annotations

import sqlite3
from typing import Protocol

from redis import Redis

from runner.store import Store, partition_of
from runner.store.redis import RedisStore
from runner.store.sqlite import SqliteStore


class Hand(Protocol):
    """``at``: ms since 1970, None to take it away."""

    def ready(self, id: str, at: int | None) -> None: ...
    def timer(self, id: str, at: int | None) -> None: ...
    def lease(self, id: str, at: int | None) -> None: ...
    def expiry(self, id: str, at: int | None) -> None: ...
    def stuck(self, id: str, *, needed: bool) -> None: ...
    def followers_gone(self, id: str) -> None: ...
    def record_gone(self, id: str) -> None:
        """What belongs to it stays."""
        ...

    def garbled(self, id: str) -> None:
        """Its status becomes one that nobody knows."""
        ...

    def journal_cut(self, id: str, entry: str) -> None: ...
    def inbox_gone(self, id: str) -> None: ...
    def schedule_due(self, id: str, at: int | None) -> None: ...
    def parcel(self, partition: int, kind: str, target: str) -> None:
        """Into the outbox, with a payload that nobody can read."""
        ...

    def close(self) -> None: ...


class RedisHand:
    def __init__(self, url: str, namespace: str, partitions: int) -> None:
        self.redis = Redis.from_url(url, decode_responses=True)
        self.namespace, self.partitions = namespace, partitions

    def home(self, id: str) -> str:
        return f"runner:{{{self.namespace}:{partition_of(id, self.partitions)}}}:"

    @property
    def wide(self) -> str:
        return f"runner:{{{self.namespace}}}:"

    def ready(self, id: str, at: int | None) -> None:
        queue = self.redis.hget(f"{self.home(id)}x:{id}", "queue")
        self._put(f"{self.home(id)}ready:{queue}", id, at)
        self._put(f"{self.home(id)}line:{queue}", id, at)

    def timer(self, id: str, at: int | None) -> None:
        self._put(f"{self.home(id)}timers", id, at)

    def lease(self, id: str, at: int | None) -> None:
        self._put(f"{self.home(id)}leases", id, at)

    def expiry(self, id: str, at: int | None) -> None:
        self._put(f"{self.home(id)}expiry", id, at)

    def stuck(self, id: str, *, needed: bool) -> None:
        self._put(f"{self.home(id)}by:stuck", id, 1 if needed else None)

    def followers_gone(self, id: str) -> None:
        self.redis.delete(f"{self.home(id)}s:{id}")

    def record_gone(self, id: str) -> None:
        self.redis.delete(f"{self.home(id)}x:{id}")

    def garbled(self, id: str) -> None:
        self.redis.hset(f"{self.home(id)}x:{id}", "status", "telepathic")

    def journal_cut(self, id: str, entry: str) -> None:
        self.redis.hdel(f"{self.home(id)}j:{id}", entry)

    def inbox_gone(self, id: str) -> None:
        self.redis.delete(f"{self.home(id)}i:{id}")

    def schedule_due(self, id: str, at: int | None) -> None:
        self._put(f"{self.wide}schedules:due", id, at)

    def parcel(self, partition: int, kind: str, target: str) -> None:
        fields = {"kind": kind, "target": target, "request": "r", "name": "", "run": "0", "payload": "\x01\x02"}
        self.redis.xadd(f"runner:{{{self.namespace}:{partition}}}:outbox", fields)

    def close(self) -> None:
        self.redis.close()

    def _put(self, index: str, id: str, at: int | None) -> None:
        if at is None:
            self.redis.zrem(index, id)
        else:
            self.redis.zadd(index, {id: at})


class SqliteHand:
    def __init__(self, path: str) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)

    def ready(self, id: str, at: int | None) -> None:
        self._set("ready_at", id, at)
        self._set("since", id, at)

    def timer(self, id: str, at: int | None) -> None:
        self._set("timer_at", id, at)

    def lease(self, id: str, at: int | None) -> None:
        self._set("lease_until", id, at)

    def expiry(self, id: str, at: int | None) -> None:
        self._set("expires_at", id, at)

    def stuck(self, id: str, *, needed: bool) -> None:
        self._set("stuck", id, int(needed))

    def followers_gone(self, id: str) -> None:
        self.db.execute("DELETE FROM follower WHERE x = (SELECT x FROM execution WHERE id = ?)", (id,))

    def record_gone(self, id: str) -> None:
        self.db.execute("DELETE FROM execution WHERE id = ?", (id,))

    def garbled(self, id: str) -> None:
        self._change("UPDATE execution SET status = 'telepathic' WHERE id = ?", id)

    def journal_cut(self, id: str, entry: str) -> None:
        self._change("DELETE FROM entry WHERE x = (SELECT x FROM execution WHERE id = ?) AND id = ?", id, entry)

    def inbox_gone(self, id: str) -> None:
        self._change("DELETE FROM inbox WHERE x = (SELECT x FROM execution WHERE id = ?)", id)

    def schedule_due(self, id: str, at: int | None) -> None:
        self.db.execute("UPDATE schedule SET due_at = ? WHERE id = ?", (at, id))

    def parcel(self, partition: int, kind: str, target: str) -> None:
        self.db.execute(
            "INSERT INTO outbox (ns, p, at, target, request, kind, name, payload, run) VALUES (1, ?, 0, ?, 'r', ?, '', ?, 0)",
            (partition, target, kind, b"\x01\x02"),
        )

    def close(self) -> None:
        self.db.close()

    def _change(self, sql: str, *values: object) -> None:
        self.db.execute(sql, values)

    def _set(self, column: str, id: str, value: int | None) -> None:
        self.db.execute(f"UPDATE execution SET {column} = ? WHERE id = ?", (value, id))


def hand_into(store: Store) -> Hand:
    """A hand of its own connection to what this store is on."""
    match store:
        case RedisStore():
            return RedisHand(store._endpoint.url, store.namespace, store.partitions)
        case SqliteStore() if store._path is not None:
            return SqliteHand(str(store._path))
        case _:
            raise AssertionError(store)
