"""Source for things: how a program writes a value, and where it imports a name from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import Any


class Names:
    """The names that a piece of source uses, with their imports. ``home``: the module to look into first."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._imports: dict[str, set[str]] = {}
        self._missing: dict[str, None] = {}  # what cannot be imported, for it lives inside a function

    def of(self, thing: object, otherwise: str) -> str:
        """The name that a module of the program has for it."""
        for module in (self._home, *sys.modules.copy()):
            name = _name_in(sys.modules.get(module), thing)
            if name is not None:
                self.add(module, name)
                return name
        self._missing[otherwise] = None
        return otherwise

    def value(self, value: object) -> str:
        """Its ``repr``, with the classes in it imported."""
        for cls in _classes(value):
            self.add(cls.__module__, cls.__qualname__.partition(".")[0])
        return repr(value)

    def add(self, module: str, name: str) -> None:
        self._imports.setdefault(module, set()).add(name)

    def lines(self) -> list[str]:
        """The imports, and a comment for what has to be seen to by hand."""
        imports = [
            f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(self._imports.items())
        ]
        missing = [f"# {', '.join(self._missing)}: as in the test that was run"] if self._missing else []
        return imports + missing


def _name_in(module: ModuleType | None, thing: object) -> str | None:
    if module is None or module.__name__.partition(".")[0] == "runner":
        return None
    # A module may be anything that somebody put there: only what has a plain namespace is looked into.
    names: Mapping[str, Any] = getattr(module, "__dict__", {})
    return next((name for name, value in list(names.items()) if value is thing and name.isidentifier()), None)


def _classes(value: object) -> list[type]:
    """The classes whose names stand in the ``repr`` of a value."""
    inside: list[object] = []
    if is_dataclass(value) and not isinstance(value, type):
        inside = [getattr(value, field.name) for field in fields(value)]
    elif isinstance(value, Mapping):
        inside = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inside = list(value)
    own = [] if type(value).__module__ == "builtins" else [type(value)]
    return [*own, *(cls for one in inside for cls in _classes(one))]
