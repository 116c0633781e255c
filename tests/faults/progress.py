"""How far a run has come, by its ledger: every line is looked at once, whoever asks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.e2e.ledger import Tail


class Progress:
    """Ask after ``look``. All of it is of use to faults, which strike in the middle of something."""

    def __init__(self, path: Path) -> None:
        self.counts: Counter[str] = Counter()  # of lines, by kind
        self.started: list[str] = []  # the executions whose starts were acknowledged
        self.steps: Counter[tuple[int, str, str]] = Counter()  # what was called and effected, by process and step
        self._known: set[str] = set()
        self._tail = Tail(path)

    def look(self) -> None:
        for line in self._tail.news():
            self.counts[line["kind"]] += 1
            match line["kind"]:
                case "started" if line["execution"] not in self._known:
                    self._known.add(line["execution"])
                    self.started.append(line["execution"])
                case "called" | "effect" as kind:
                    self.steps[line["pid"], kind, line["step"]] += 1
