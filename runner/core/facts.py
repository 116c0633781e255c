"""What a store can tell of itself to be checked: where each execution stands, and what stands nowhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runner.records import Status, Wait


def shown(name: str) -> str:
    """A name for people and for documents: bytes in it that are no text are spelled out."""
    return name.encode(errors="backslashreplace").decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One execution at the moment ``now``: what its record says, and where it stands in the indexes. Read atomically.

    ``ready_at``: in the ready set of its own queue. ``listed``: that queue is among those that are looked through for
    lost hints. ``news``: something reached it since its last turn ended. ``missing``, ``surplus``: listings that it should be in, or should not. ``fading``: keys of its own
    that a time to live will take away.
    """

    id: str
    status: Status
    now: int
    run: int
    owned: bool
    claimed: bool  # ever
    deadline: int | None
    timeout_ms: int | None = None
    news: bool = False
    waits: tuple[Wait, ...] = ()
    lease_until: int | None = None
    ready_at: int | None = None
    listed: bool = True
    timer_at: int | None = None
    expires_at: int | None = None
    missing: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    fading: tuple[str, ...] = ()
    children: tuple[str, ...] = ()  # not known to have ended
    entries: int = 0  # that its journal must have
    recorded: int = 0  # that it has
    arrived: int | None = None  # that its inbox must have at least; None: not known
    inbox: int = 0  # that it has

    @property
    def earliest(self) -> int | None:
        """When something must happen to it at the latest, while nobody owns it."""
        ends = [] if self.ready_at is not None else [wait.deadline for wait in self.waits]
        return min((moment for moment in (*ends, self.deadline) if moment is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Something that is there and cannot be made out, for the reason ``why``.

    ``id``: of the execution whose record it is; "" for an index or another key. ``place``: where it is in the store, by the name
    that its own tools know it by.
    """

    id: str
    place: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """Something that belongs to nothing. ``kind``: ``data`` (of an execution that is not there), ``entry`` (of the index
    ``place``, whose record does not say so), ``fading`` (a key that a time to live will take away), ``foreign`` (a
    key that is not the store's).
    """

    kind: str
    place: str
    id: str = ""
    partition: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFacts:
    """``due_at``: as the schedule says; ``index_at``: when a scheduler will look at it."""

    id: str
    due_at: int | None
    index_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One page of a survey; ``share`` of the whole was looked at so far, 0 to 1, roughly."""

    facts: tuple[Facts, ...] = ()
    strays: tuple[Stray, ...] = ()
    schedules: tuple[ScheduleFacts, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    share: float = 0.0


def joined(looks: Iterable[Look]) -> Look:
    """One page of several: their executions, and what cannot be read of them."""
    all_looks = tuple(looks)
    return Look(
        facts=tuple(one for look in all_looks for one in look.facts),
        unreadable=tuple(one for look in all_looks for one in look.unreadable),
    )
