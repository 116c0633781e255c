"""The Lua scripts: one file each, behind a common prelude with the status table and the protocol's limits.

What several scripts need, and not all, is in ``lua/parts``: a script names its parts in its line "Needs".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

from runner.core.status import TRANSITIONS
from runner.core.wakefulness import READY_WITHIN_MS
from runner.records import TERMINAL
from runner.store import GRACE_MS, HEARD_MS, PASS_FIRST_MS, PASS_LAST_MS
from runner.store.vitals import GONE_KEPT, GONE_MS, KEPT_LOSSES, LEAP

#: A start with a parent is running work: the same script, but never refused for want of memory.
_VARIANTS = {"start_child": ("start", "#!lua flags=allow-oom")}
_NEEDS = re.compile(r"^-- Needs +(.+)$", re.MULTILINE)
_LIMITS = {
    "grace": GRACE_MS,
    "pass_first": PASS_FIRST_MS,
    "pass_last": PASS_LAST_MS,
    "ready_within": READY_WITHIN_MS,
    "leap": LEAP,
    "losses": KEPT_LOSSES,
    "gone": GONE_KEPT,
    "gone_ms": GONE_MS,
    "heard": HEARD_MS,
}


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text as the server gets it, and the digest it is called by."""

    name: str
    source: str
    sha: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripts:
    """All scripts by name: ``lua/<name>.lua`` says keys, arguments, answer and guarantee of each."""

    abdicate: Script
    astray: Script
    backlog: Script
    break_off: Script
    broken: Script
    cancel: Script
    claim: Script
    commit: Script
    drop_schedule: Script
    due: Script
    due_schedules: Script
    facts: Script
    follow: Script
    followed: Script
    heartbeat: Script
    lead: Script
    leader: Script
    line: Script
    list: Script
    mend: Script
    losses: Script
    meta: Script
    next_due: Script
    notice: Script
    operate: Script
    overdue: Script
    pass_over: Script
    purge: Script
    put_schedules: Script
    read: Script
    reap: Script
    recall: Script
    record: Script
    relay: Script
    release: Script
    renew: Script
    reopened: Script
    rush: Script
    schedules: Script
    signal: Script
    standing: Script
    start: Script
    start_child: Script
    stir_schedule: Script
    sweep: Script
    workers: Script


@cache
def scripts() -> Scripts:
    return Scripts(**{field.name: _load(field.name) for field in fields(Scripts)})


def _load(name: str) -> Script:
    text, other_shebang = _VARIANTS.get(name, (name, ""))
    shebang, _, body = _text(text).partition("\n")
    parts = [_text(f"parts/{part}") for part in parts_of(body)]
    source = "\n".join((other_shebang or shebang, _tables(), _text("prelude"), *parts, body))
    return Script(name, source, sha1(source.encode(), usedforsecurity=False).hexdigest())


def parts_of(text: str) -> list[str]:
    """The parts that a script needs, in their order."""
    needs = _NEEDS.search(text)
    return needs[1].split(", ") if needs else []


@cache
def _text(name: str) -> str:
    return (files("runner.store.redis") / "lua" / f"{name}.lua").read_text("utf-8")


def _tables() -> str:
    """The status table and the limits as Lua, so that there is one of each."""
    table = {
        status: _table({move: f"'{target}'" for move, target in moves.items()}) for status, moves in TRANSITIONS.items()
    }
    terminal = _table(dict.fromkeys(sorted(TERMINAL), "true"))
    return f"local AFTER = {_table(table)}\nlocal TERMINAL = {terminal}\nlocal LIMITS = {_table(_LIMITS)}"


def _table(fields: Mapping[Any, object]) -> str:
    return f"{{ {', '.join(f'{name} = {value}' for name, value in fields.items())} }}"
