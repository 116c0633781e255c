# What Runner uses of msgpack, which ships no types. Two checkers guess differently from its sources.
from collections.abc import Callable
from typing import Any, Self

class ExtType(tuple[int, bytes]):
    code: int
    data: bytes
    def __new__(cls, code: int, data: bytes) -> Self: ...

def packb(
    o: object,
    *,
    default: Callable[[Any], Any] | None = None,
    use_bin_type: bool = True,
    strict_types: bool = False,
    datetime: bool = False,
    unicode_errors: str | None = None,
) -> bytes: ...
def unpackb(
    packed: bytes | bytearray | memoryview,
    *,
    raw: bool = False,
    use_list: bool = True,
    strict_map_key: bool = True,
    timestamp: int = 0,
    ext_hook: Callable[[int, bytes], Any] = ...,
    list_hook: Callable[[list[Any]], Any] | None = None,
    unicode_errors: str | None = None,
    object_pairs_hook: Callable[[list[tuple[Any, Any]]], Any] | None = None,
    max_buffer_size: int = 0,
    max_str_len: int = -1,
    max_bin_len: int = -1,
    max_array_len: int = -1,
    max_map_len: int = -1,
    max_ext_len: int = -1,
) -> Any: ...
