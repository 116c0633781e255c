"""Leases renewed over a connection of its own, from a thread that a busy event loop cannot hold up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

from redis import RedisError
from redis import exceptions as redis

from runner.errors import StoreUnavailable
from runner.records import WorkerInfo
from runner.store import partition_of
from runner.store.keys import Keys
from runner.store.redis.connection import Endpoint, Reply, Word
from runner.store.redis.encode import worker_blob
from runner.store.redis.failures import is_passing, translate
from runner.store.redis.scripts import Script, scripts
from runner.transactions import Lease, Renewed

#: Leases per script call, so that no call holds the server for long.
_PER_CALL = 200

_Command = tuple[Script, str, tuple[Word, ...]]


class RedisRenewer:
    """Renews leases and tells that the worker lives. Blocking; for one thread."""

    def __init__(self, endpoint: Endpoint, keys: Keys) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._client = endpoint.blocking_client()

    def renew(self, leases: Sequence[Lease], lease_ms: int) -> list[Renewed]:
        """All of them in one write; the answers come in the order asked.

        Raises StoreUnavailable; the next call connects afresh.
        """
        groups = list(self._groups(leases))
        commands = [(scripts().renew, prefix, _renew_words(group, lease_ms)) for prefix, group in groups]
        answers: dict[Lease, Renewed] = {}
        for (_, group), flat in zip(groups, self._run(commands), strict=True):
            for lease, held, inbox in zip(group, flat[::2], flat[1::2], strict=True):
                answers[lease] = Renewed(id=lease.id, held=bool(held), inbox=inbox)
        return [answers[lease] for lease in leases]

    def heartbeat(self, worker: WorkerInfo) -> None:
        """Record the worker as alive now. Raises StoreUnavailable."""
        self._run([(scripts().heartbeat, self._keys.wide, (worker.id, worker_blob(worker)))])

    def close(self) -> None:
        self._client.close()

    def _groups(self, leases: Sequence[Lease]) -> Iterator[tuple[str, list[Lease]]]:
        """Leases of one partition, at most so many at once, with its prefix."""
        homes: defaultdict[int, list[Lease]] = defaultdict(list)
        for lease in leases:
            homes[partition_of(lease.id, self._keys.partitions)].append(lease)
        for partition, members in homes.items():
            rest = iter(members)
            while group := list(islice(rest, _PER_CALL)):
                yield self._keys.prefix(partition), group

    def _run(self, commands: Sequence[_Command]) -> list[Reply]:
        """Asked once more when the connection was found dead: it may have been so since the last call."""
        if not commands:
            return []
        try:
            return self._ask(commands)
        except redis.ConnectionError as error:
            if not is_passing(error):
                raise self._unavailable(error) from None
        except RedisError as error:
            raise self._unavailable(error) from None
        try:
            return self._ask(commands)
        except RedisError as error:
            raise self._unavailable(error) from None

    def _ask(self, commands: Sequence[_Command]) -> list[Reply]:
        replies = self._send(commands)
        missing = {
            script.sha: script
            for (script, _, _), reply in zip(commands, replies, strict=True)
            if isinstance(reply, redis.NoScriptError)
        }
        for script in missing.values():
            self._client.script_load(script.source)
        if missing:
            replies = self._send(commands)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    def _send(self, commands: Sequence[_Command]) -> list[Reply]:
        with self._client.pipeline(transaction=False) as pipeline:
            for script, prefix, words in commands:
                pipeline.execute_command("EVALSHA", script.sha, 1, prefix, *words)  # type: ignore[no-untyped-call]
            return pipeline.execute(raise_on_error=False)

    def _unavailable(self, error: RedisError) -> StoreUnavailable:
        self._client.connection_pool.disconnect()
        said = translate(error, self._endpoint.name, self._endpoint.tls)
        return said if isinstance(said, StoreUnavailable) else StoreUnavailable(str(said))


def _renew_words(leases: Sequence[Lease], lease_ms: int) -> tuple[Word, ...]:
    return (lease_ms, *(word for lease in leases for word in (lease.id, lease.nonce)))
