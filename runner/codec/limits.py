"""What one payload may be: checked when it is written, and again before it is read.

A payload comes from the store, and whoever can write there must not be able to fill a worker's
memory or stop its loop: a megabyte of empty arrays is a million objects.
"""

from __future__ import annotations

from collections.abc import Collection

from runner.codec.misfit import Misfit

#: Bytes of one encoded payload.
MAX_PAYLOAD = 1_048_576
#: Values in one payload: every scalar, container, dict key and type mark counts as one.
MAX_NODES = 100_000
#: Containers within containers.
MAX_DEPTH = 64
#: Members of one set, or keys of one dict, that share their hash with another one.
MAX_COLLISIONS = 1_000

TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels, or contains itself; flatten it"
TOO_MANY = f"holds more than {MAX_NODES:,} values; store them elsewhere and pass a reference"


def check_hashes(members: Collection[object]) -> None:
    """Refuses members made to collide: building their dict or set would take hours.

    Raises Misfit, or TypeError when one has no hash at all.
    """
    if len(members) > MAX_COLLISIONS and len(members) - len(set(map(hash, members))) > MAX_COLLISIONS:
        raise Misfit(f"more than {MAX_COLLISIONS:,} keys or members share a hash; use a list")
