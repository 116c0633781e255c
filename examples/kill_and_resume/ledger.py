"""What the outside world remembers: a file that the workflow system knows nothing of, and cannot mend."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """`what`: "called" when a step's body began, "money" when money moved, "parcel" when a parcel left."""

    what: str
    step: str
    key: str
    pid: int


class Ledger:
    """Append-only. Each line is one write: a killed process leaves whole lines behind."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, what: str, step: str, key: str = "") -> None:
        line = json.dumps(asdict(Line(what, step, key, os.getpid()))) + "\n"
        with self._path.open("ab", buffering=0) as file:
            file.write(line.encode())

    def lines(self) -> list[Line]:
        if not self._path.exists():
            return []
        return [Line(**json.loads(text)) for text in self._path.read_text().splitlines()]

    def calls(self, step: str) -> list[Line]:
        """One line for each time the step's body was called."""
        return [line for line in self.lines() if (line.what, line.step) == ("called", step)]

    def count(self, what: str) -> int:
        return sum(line.what == what for line in self.lines())
