"""A payload codec as docs/payloads.md shows it, and a look at everything a store holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

OLD, NEW = os.urandom(32), os.urandom(32)


class AesGcm:
    """The first key seals, all of them open."""

    def __init__(self, **keys: bytes) -> None:
        self._keys = {name.encode(): AESGCM(key) for name, key in keys.items()}
        self._name = next(iter(self._keys))

    def encode(self, payload: bytes) -> bytes:
        nonce = os.urandom(12)
        return self._name + b":" + nonce + self._keys[self._name].encrypt(nonce, payload, self._name)

    def decode(self, payload: bytes) -> bytes:
        name, _, rest = payload.partition(b":")
        if name not in self._keys:
            raise LookupError(f"no key {name!r}")
        return self._keys[name].decrypt(rest[:12], rest[12:], name)


async def held(store_url: str, namespace: str) -> bytes:
    """Every byte that the store keeps for this namespace."""
    if store_url.startswith("sqlite"):
        file = Path(store_url.removeprefix("sqlite:///"))
        return b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
    from redis.asyncio import Redis

    async with Redis.from_url(store_url) as redis:
        return repr([await _value(redis, key) async for key in redis.scan_iter(f"runner:{{{namespace}*")]).encode()


async def _value(redis: Any, key: bytes) -> Any:
    match await redis.type(key):
        case b"string":
            return await redis.get(key)
        case b"hash":
            return await redis.hgetall(key)
        case b"list":
            return await redis.lrange(key, 0, -1)
        case b"set":
            return await redis.smembers(key)
        case b"zset":
            return await redis.zrange(key, 0, -1)
        case b"stream":
            return await redis.xrange(key)
        case other:
            raise AssertionError(other)
