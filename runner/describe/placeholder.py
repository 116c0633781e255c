"""What stands for a value that only a run can tell."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from types import FrameType

#: Characters that a placeholder says of itself.
_LONGEST = 60


class Placeholder:
    """Whatever is done with it gives another one, as far as Python lets it.

    It is no instance of anything, equal to nothing and false, so no pattern, case or condition takes it for a value it
    knows. It counts as one: loops over it, or over a ``range`` of it, run once. As text it says where it came from.
    """

    __slots__ = ("__said",)

    def __init__(self, said: str) -> None:
        object.__setattr__(self, "_Placeholder__said", said[:_LONGEST])

    def __repr__(self) -> str:
        return f"<{self.__said}>"

    def __format__(self, spec: str) -> str:
        return repr(self)

    # -- what leads to others ---------------------------------------------------------------------

    def __getattr__(self, name: str) -> Placeholder:
        # Python asks for these to find out what a thing can do: it can do nothing special.
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Placeholder(f"{self.__said}.{name}")

    def __getitem__(self, key: object) -> Placeholder:
        return Placeholder(f"{self.__said}[{key!r:.20}]")

    def __call__(self, *_: object, **__: object) -> Placeholder:
        return Placeholder(f"{self.__said}()")

    def __iter__(self) -> Iterator[Placeholder]:
        """One item, or as many as the code unpacks it into."""
        wanted = _unpacked(sys._getframe(1))  # noqa: SLF001 - who iterates is known nowhere else
        return iter([Placeholder(f"{self.__said}[]") for _ in range(wanted)])

    def __setattr__(self, name: str, value: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    # -- what it is equal to, and worth -------------------------------------------------------------

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return False

    def __lt__(self, other: object) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__

    def __contains__(self, item: object) -> bool:
        return False

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 1

    def __index__(self) -> int:
        return 1

    __int__ = __index__

    def __float__(self) -> float:
        return 1.0


def _same(self: Placeholder, *_: object) -> Placeholder:
    return Placeholder(repr(self)[1:-1])


_TWO_SIDED = "add sub mul truediv floordiv mod divmod pow matmul and or xor lshift rshift"
_ONE_SIDED = "neg pos abs invert round"
for _name in (*_TWO_SIDED.split(), *(f"r{name}" for name in _TWO_SIDED.split()), *_ONE_SIDED.split()):
    setattr(Placeholder, f"__{_name}__", _same)


def _unpacked(frame: FrameType) -> int:
    """How many values ``a, b = value`` in this frame takes; 1 where nothing is unpacked."""
    code, at = frame.f_code.co_code, frame.f_lasti
    match dis.opname[code[at]]:
        case "UNPACK_SEQUENCE":
            return code[at + 1]
        case (
            "UNPACK_EX"
        ):  # `a, *b, c = value`: what stands behind the star is in the instruction before; the star takes one
            behind = code[at - 1] if dis.opname[code[at - 2]] == "EXTENDED_ARG" else 0
            return code[at + 1] + 1 + behind
        case _:
            return 1
