"""The doctor: facts are gathered, pure functions make checks of them, in the order in which to read them.

``gather`` asks store and broker, in bounded time, and says what it could not reach; ``diagnose`` decides. Nothing is changed: the store is opened
to be looked at (``runner.store.vitals.LOOKING``), so that one that takes no writes, or too small a promise, is looked at too.
"""

from __future__ import annotations

from runner.checks import Check, Verdict
from runner.doctor.diagnosis import SECTIONS, diagnose, section_of
from runner.doctor.facts import Facts, Setting
from runner.doctor.gather import gather

__all__ = ["SECTIONS", "Check", "Facts", "Setting", "Verdict", "diagnose", "gather", "section_of"]
