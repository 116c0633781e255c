"""A stand-in for the outside world: accounts that steps add to, and that remember who added what."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from runner.errors import MisplacedCall
from runner.step import CurrentStep, current_step


@dataclass(frozen=True, slots=True)
class Post:
    """One effect: so much was added to an account, by a call of a step (None: by something else)."""

    account: str
    amount: float
    by: CurrentStep | None

    @property
    def step(self) -> str:
        """The idempotency key of the step that did it."""
        return "" if self.by is None else self.by.idempotency_key


class Ledger:
    """What steps have done to the world, for tests: the bodies of steps, or stubs for them, ``add`` to it.

    Given to ``explore``, it is cleared before each run; afterwards no step may have had its effect twice, and where
    the execution failed or was cancelled, every account must be back at 0.
    """

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self._keys: set[str] = set()

    def add(self, account: str, amount: float = 1, *, key: str | None = None) -> None:
        """Have an effect; with a ``key`` that was here before, none: as an outside service with idempotency keys."""
        if key is not None and key in self._keys:
            return
        if key is not None:
            self._keys.add(key)
        self.posts.append(Post(account, amount, _running()))

    def balance(self, account: str) -> float:
        return sum(post.amount for post in self.posts if post.account == account)

    @property
    def outstanding(self) -> dict[str, float]:
        """The accounts that are not at 0."""
        accounts = dict.fromkeys(post.account for post in self.posts)
        return {account: balance for account in accounts if (balance := self.balance(account))}

    @property
    def repeated(self) -> list[str]:
        """The idempotency keys of steps that had the same effect in several calls: they are not idempotent."""
        calls: dict[tuple[str, str], set[int]] = defaultdict(set)
        for post in self.posts:
            if post.by is not None:
                calls[post.step, post.account].add(id(post.by))
        return [step for (step, _), by in calls.items() if len(by) > 1]

    def clear(self) -> None:
        """As new."""
        self.posts.clear()
        self._keys.clear()


def _running() -> CurrentStep | None:
    try:
        return current_step()
    except MisplacedCall:
        return None
