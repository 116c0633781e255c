"""A failing case, as a test that fails until it is mended."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Any

from runner.signals import Signal
from runner.testing.env import Sent
from runner.testing.exploring.source import Names
from runner.testing.exploring.trial import Ran, Subject


def report(subject: Subject, ran: Ran, tried: int) -> str:
    """What is wrong, and the smallest case that shows it."""
    said = "" if ran.broken is None else ran.broken.text
    return (
        f"workflow {subject.workflow.name!r}, case {tried}: {ran.case}\n"
        f"{textwrap.indent(said, '    ')}\n\nAs a test:\n\n{source_of(subject, ran)}"
    )


def source_of(subject: Subject, ran: Ran) -> str:
    """The source of a pytest function that fails as this case did."""
    names = Names(subject.workflow.fn.__module__)
    names.add("runner.testing", "TestEnv")
    body = textwrap.indent("\n".join(_body(subject, ran, names)), "    ")
    name = f"test_{_identifier(subject.workflow.name)}_when_{_identifier(str(ran.case))}"
    return "\n".join([*names.lines(), "", "", f"async def {name}() -> None:", body])


def _body(subject: Subject, ran: Ran, names: Names) -> list[str]:
    ledger = [] if subject.ledger is None else [f"{names.of(subject.ledger, 'ledger')}.clear()"]
    lines = [*_run(subject, ran, names), *_rule(subject, ran, names)]
    return [*ledger, f"async with TestEnv({names.of(subject.app, 'app')}) as env:", *(f"    {line}" for line in lines)]


def _run(subject: Subject, ran: Ran, names: Names) -> list[str]:
    case, workflow = ran.case, subject.workflow
    given = f", {names.value(subject.input)}" if workflow.takes_input else ""
    signals = [_pair(sent, names) for sent in case.signals]
    sending = f", signals=[{', '.join(f'({pair})' for pair in signals)}]" if signals and not case.early else ""
    return [
        *(_prepared(subject.prepare, names) if subject.prepare is not None else []),
        *(fault.code for fault in case.faults),
        f"handle = await env.client.start({names.of(workflow, workflow.fn.__name__)}{given})",
        *(f"await handle.signal({pair})" for pair in signals if case.early),
        f"ending = await env.ending(handle{sending})",
    ]


def _prepared(prepare: Any, names: Names) -> list[str]:
    return [f"{'await ' if inspect.iscoroutinefunction(prepare) else ''}{names.of(prepare, 'prepare')}(env)"]


def _pair(sent: Sent, names: Names) -> str:
    signal, payload = sent
    named = names.of(signal, signal.name) if isinstance(signal, Signal) else repr(signal)
    return f"{named}, {names.value(payload)}"


def _rule(subject: Subject, ran: Ran, names: Names) -> list[str]:
    """The line of the broken rule, with the program's own names in it."""
    if ran.broken is None:
        return []
    code = ran.broken.code
    match ran.broken.rule:
        case "steady":
            names.add("runner.testing", "assert_replays")
            return [code.replace("(app,", f"({names.of(subject.app, 'app')},")]
        case "check":
            return [code.replace("check(", f"{names.of(subject.check, 'check')}(")]
        case "once" | "nothing left":
            return [code.replace("ledger.", f"{names.of(subject.ledger, 'ledger')}.")]
        case _:
            return [code]


def _identifier(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_").lower()
