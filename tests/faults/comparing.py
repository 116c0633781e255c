"""What two runs of the same calls were answered and have left in the store, without what is another each time."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any

from redis import Redis

#: What two runs of a case cannot have in common: moments in ms, as text and as msgpack has them, and random ids.
_MOMENT = re.compile(rb"\b1\d{12}\b(?:-\d+)?|[\xcf\xd3]\x00\x00\x01.{5}|\xcb\x42[\x79-\x7b].{6}", re.DOTALL)
_RANDOM = re.compile(rb"[0-9a-f]{32}")


def comparable(said: object, namespace: str) -> str:
    """Without what is another each time, and without what a repeat does not tell again."""
    if isinstance(said, list | tuple):
        return f"[{', '.join(comparable(one, namespace) for one in said)}]"
    if is_dataclass(said) and not isinstance(said, type):
        named = {one.name for one in fields(said)} & {"parcels", "rows"}
        said = replace(said, **dict.fromkeys(named, ()))
    return _plain(said if isinstance(said, bytes) else repr(said).encode(), namespace)


def _plain(text: bytes, namespace: str) -> str:
    without = text.replace(namespace.encode(), b"<namespace>")
    return repr(_MOMENT.sub(b"<moment>", _RANDOM.sub(b"<random>", without)))  # digits are part of random ids as well


def stored(admin: Redis, namespace: str) -> dict[str, str]:
    """All that the server has of a namespace, comparable."""
    found: dict[str, str] = {}
    for key in sorted(admin.scan_iter(f"runner:{{{namespace}*", count=1_000)):
        match admin.type(key):
            case b"hash":
                kept: Any = sorted(admin.hgetall(key).items())
            case b"list":
                kept = admin.lrange(key, 0, -1)
            case b"set":
                kept = sorted(admin.smembers(key))
            case b"zset":
                kept = [
                    (member, f"{score:.0f}".encode()) for member, score in admin.zrange(key, 0, -1, withscores=True)
                ]
            case b"stream":
                kept = [(place, sorted(row.items())) for place, row in admin.xrange(key)]
            case other:
                kept = (other, admin.get(key))
        found[_plain(key, namespace)] = comparable(kept, namespace)
    return found
