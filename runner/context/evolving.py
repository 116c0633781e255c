"""Code that changes under its executions, and executions that begin anew."""

from __future__ import annotations

from typing import Any, Never

from runner.codec import roundtrip
from runner.context.base import Base, checked
from runner.core.calls import Call
from runner.core.commands import Continue
from runner.errors import UsageError


class Evolving(Base):
    """What lasts longer than one version, or one run."""

    def patched(self, id: str) -> bool:
        """True where new code is to run: for every execution but those that had passed this point with the old.

        The answer is recorded, and stays. ``if ctx.patched("v2"): new() else: old()``
        """
        self._place("ctx.patched")
        return self._replay.patched(checked(id, "ctx.patched"))

    def continue_as_new(self, input: Any = None) -> Call[Never]:
        """End this run and begin the next with ``input``: same execution, empty journal.

        Unread signals, children that have not ended and attributes stay. Compensations of this run are done with.
        """
        if not self._definition.takes_input and input is not None:
            raise UsageError(f"ctx.continue_as_new: workflow {self.workflow!r} takes no input")
        payload, _ = roundtrip(input, self._definition.input_type, what="ctx.continue_as_new(input)")
        return Call(self._replay, "ctx.continue_as_new(...)", Continue(self._place("ctx.continue_as_new"), payload))
