"""The page about operating lists every code of a reason, in the order and with the words of the code, and no other."""

from __future__ import annotations

import re

from runner.why import ReasonCode
from tests.servers import ROOT

ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| .*\|$", re.MULTILINE)


def test_every_code_is_listed_as_it_is() -> None:
    _, _, section = (ROOT / "docs/operating.md").read_text().partition("## Why does it not go on?")
    listed = ROW.findall(section.partition("\n## ")[0])
    assert listed == [(code.value, code.meaning) for code in ReasonCode]
