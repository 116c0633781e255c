"""What travels between the two, as the outbox keeps it."""

from __future__ import annotations

from typing import NamedTuple


class Parcel(NamedTuple):
    """One entry of an outbox. No two are alike: equal ones would be one, and removed together."""

    kind: str  # start, cancel, follow: in the parent's partition; ended, reopened: in the child's
    child: int
    run: int = 0  # of the parent
    asked: int = 0  # of start, cancel, follow: at which of its questions the parent was; of ended: see ``answer``
    status: str = ""  # of ended: how; "unknown" when there is none
    opening: int = 0  # of the child, as it ended or was opened again
    after_end: bool = False  # of reopened: the parent had ended before

    @property
    def request(self) -> tuple[int, int, int, int]:
        """What a notice is recognised by: the end, or that there is none, and the question it answers at once, if any."""
        return self.child, self.opening, self.asked, self.run


def notice(child: int, run: int, status: str, opening: int) -> Parcel:
    """An end is told to a run that follows."""
    return Parcel("ended", child, run, status=status, opening=opening)


def answer(follow: Parcel, status: str, opening: int) -> Parcel:
    """A follow is answered at once: each question has an answer of its own."""
    return Parcel("ended", follow.child, follow.run, follow.asked + 1, status, opening)
