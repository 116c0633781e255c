"""How the store itself is: what its server says of itself, what it is to promise, and what it is known to have lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Durability = Literal["everysec", "fsync"]
DURABILITIES: tuple[Durability, ...] = ("everysec", "fsync")


def declared_of(word: str) -> Durability | None:
    """What a namespace keeps of its durability, or a person says, back to what it means."""
    match word:
        case "everysec" | "fsync":
            return word
        case _:
            return None


#: By so many wake-ups a store may have gone back at most. A hint that is further ahead tells of no loss: it was forged, and
#: a record that followed it would soon come to numbers that cannot be counted.
LEAP = 1_000_000
#: Ids kept as examples of losses, of each kind in each partition; an orphan among them is not counted again.
KEPT_LOSSES = 1_000
#: Ids shown of each kind.
SHOWN_LOSSES = 10
#: For so long after a purge, in ms, a late hint is known to be late; of so many executions of a partition (SQLite: of all).
GONE_MS, GONE_KEPT = 3_600_000, 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What a process asks of its store's configuration.

    ``durability``: what the store must promise about acknowledged writes. ``everysec``: a power loss takes at most the
    last second or two. ``fsync``: it takes nothing. None: what the namespace was declared with, or nothing.
    ``allow_eviction``: a maxmemory-policy other than ``noeviction``, by name, that is put up with.
    ``refusing`` False: whatever the server is set to keep, nothing is refused, declared or warned of.
    ``looking``: for who writes nothing: opening creates nothing either, asks nothing of the server, a replica will do, and the
    namespace is taken as it is, with the number of partitions that it has. What is not there looks empty (``laid_out``);
    what a newer version has laid out is refused all the same, for it would be misread.
    """

    durability: Durability | None = None
    allow_eviction: str = ""
    refusing: bool = True
    looking: bool = False


#: Of a process that asks for nothing: what the namespace declares is checked all the same.
NO_DEMANDS = Demands()
#: Of who only looks: what is wrong with a store has to be looked at.
LOOKING = Demands(refusing=False, looking=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreVitals:
    """What was read of a store at one moment; ``name`` is its URL with the password masked, or its file.

    ``facts`` has what the server says, under the server's own names; what it did not tell is missing, and ``unread``
    says why by group (``config``). ``skew_ms``: the store's clock minus this process's. ``declared``: the
    namespace's durability. ``breaks`` counts the restarts after which the server promised less than that, the last one
    at ``broken_at`` because of ``broken_why``.
    """

    kind: Literal["redis", "sqlite"]
    name: str
    facts: Mapping[str, str]
    unread: Mapping[str, str] = field(default_factory=dict[str, str])
    now: int
    skew_ms: int
    partitions: int
    declared: Durability | None = None
    breaks: int = 0
    broken_at: int | None = None
    broken_why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Traces of acknowledged writes that are gone, as hints have told them.

    ``rewound``: hints that knew of a later wake-up than the record did; each is counted once. ``orphaned``: executions
    that the store does not know at all. Whoever may publish into the work exchange can forge either. The examples are the
    latest.
    """

    rewound: int = 0
    orphaned: int = 0
    last_at: int | None = None
    rewound_ids: tuple[str, ...] = ()
    orphaned_ids: tuple[str, ...] = ()


class Vitals(Protocol):
    async def laid_out(self) -> bool:
        """Whether anybody has worked in this namespace: False for a name that is mistyped, or that nobody has used yet."""
        ...

    async def vitals(self) -> StoreVitals:
        """As it is now. Settings that may not be read are missing; it never fails for them. Raises StoreUnavailable."""
        ...

    async def declare(self, durability: Durability | None) -> None:
        """Change what the namespace is declared to promise (None: nothing), whatever the server is set to.

        Processes that run keep what they were started with, and are not stopped; who opens the store after this and
        demands something else is refused.
        """
        ...

    async def backlog(self) -> Mapping[str, int]:
        """How many executions are ready and not claimed, by queue; without writing."""
        ...

    async def losses(self) -> Losses:
        """What claims have found lost so far, in all partitions."""
        ...

    async def forget_losses(self) -> None:
        """Begin to count anew, once a person has seen to them."""
        ...
