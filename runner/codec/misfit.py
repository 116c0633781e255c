"""The one exception inside the codec: what does not fit, and where it lies in the value."""

from __future__ import annotations

from runner.errors import PayloadError


class Misfit(Exception):
    """Raised where the trouble is; every container on the way out adds its step to the path."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self._steps: list[str] = []

    def within(self, step: str) -> Misfit:
        """Adds ``step`` (``.price``, ``[3]``) in front of the path, and returns itself."""
        self._steps.append(step)
        return self

    def at(self, what: str) -> PayloadError:
        """The error that the user sees: ``what`` names the whole value."""
        path = what + "".join(reversed(self._steps))
        return PayloadError(f"{path}: {self.text}", path=path)


def key_step(key: object) -> str:
    """The path's step to the value of ``key`` in a dict: bounded, and without the text of exotic keys."""
    match key:
        case str() if len(key) <= 40:
            return f".{key}" if key.isidentifier() else f"[{key!a}]"
        case bool() | None:
            return f"[{key}]"
        case int() if -(10**18) < key < 10**18:
            return f"[{key}]"
    return f"[<{type_name(type(key))}>]"


def type_name(cls: type) -> str:
    """How messages call a class: bare for builtins, with its module otherwise."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
