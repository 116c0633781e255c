"""Names of keys and channels, and what may be in a namespace's name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runner.errors import ConfigError
from runner.store import partition_of

_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Keys:
    """Where a namespace's data is.

    Everything in braces is the hash tag: all keys of a partition are in one slot. Braces and colons
    in a namespace would move the tag or make two namespaces' prefixes one, so they are refused.
    """

    namespace: str
    partitions: int

    def __post_init__(self) -> None:
        if not _NAMESPACE.fullmatch(self.namespace):
            raise ConfigError(
                f"namespace {self.namespace!r}: use letters, digits, '.', '_' and '-', at most 100, letter or digit first"
            )
        if self.partitions < 1:
            raise ConfigError(f"namespace {self.namespace!r}: partitions is {self.partitions}, it must be at least 1")

    @property
    def wide(self) -> str:
        """The prefix of what belongs to the whole namespace."""
        return f"runner:{{{self.namespace}}}:"

    def prefix(self, partition: int) -> str:
        return f"runner:{{{self.namespace}:{partition}}}:"

    def home(self, id: str) -> str:
        """The prefix of the partition that an execution lives in."""
        return self.prefix(partition_of(id, self.partitions))

    def channel(self, topic: str) -> str:
        return f"runner:{self.namespace}:{topic}"
