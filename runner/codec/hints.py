"""What annotations say, as far as it can be found out: never an error, ``Any`` where it cannot."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from types import FunctionType, SimpleNamespace
from typing import Any, TypeVar
from weakref import WeakKeyDictionary


@dataclass(frozen=True, slots=True)
class Hints:
    """The parameters of a callable by name, in order (without what is bound already), and what it returns."""

    params: dict[str, Any]
    returns: Any


_known: WeakKeyDictionary[Any, Hints] = WeakKeyDictionary()


def resolve_hints(fn: Callable[..., Any]) -> Hints:
    """The hints of any callable: function, method, partial, class, object with ``__call__``.

    Names are looked up in the globals and the closure of the function. What cannot be resolved, or
    is not annotated, is ``Any``. What an ``async def`` returns is what awaiting it gives.
    """
    if isinstance(fn, type):  # its hints name it: cached, it would keep itself alive
        return _resolve(fn)
    try:
        if fn not in _known:
            _known[fn] = _resolve(fn)
        return _known[fn]
    except TypeError:  # no hash, or no weak references
        return _resolve(fn)


def _resolve(fn: Callable[..., Any]) -> Hints:
    body = _body(fn)
    found = _evaluated(_raw(body), getattr(body, "__globals__", {}), _closure(body))
    try:
        names = list(inspect.signature(fn).parameters)
    except (TypeError, ValueError, NameError):  # built in, without a signature
        names = []
    params = {name: found.get(name, Any) for name in names}
    returns = fn if isinstance(fn, type) else _awaited(found.get("return", Any))
    return Hints(params, returns)


def _body(fn: Callable[..., Any]) -> Any:
    """The function whose annotations count."""
    while True:
        fn = inspect.unwrap(fn)
        match fn:
            case partial():
                fn = fn.func
            case type():
                return getattr(fn, "__init__")  # noqa: B009 - spelled out, checkers take it for an instance's
            case FunctionType():
                return fn
            case _ if inspect.ismethod(fn):
                fn = fn.__func__
            case _:
                call = getattr(type(fn), "__call__", None)  # noqa: B004 - the function itself is wanted
                return inspect.unwrap(call) if inspect.isfunction(call) else fn


def _awaited(hint: Any) -> Any:
    """``T`` for the return annotations ``Awaitable[T]`` and ``Coroutine[..., T]``."""
    if typing.get_origin(hint) in (Awaitable, Coroutine):
        return typing.get_args(hint)[-1]
    return hint


def _raw(owner: Any) -> Mapping[str, Any]:
    try:
        return getattr(owner, "__annotations__", None) or {}
    except NameError:  # annotations that are computed when asked for
        return {}


def _closure(fn: Any) -> dict[str, Any]:
    """What the function sees around it: the classes that were defined where it was."""
    names = getattr(getattr(fn, "__code__", None), "co_freevars", ())
    found: dict[str, Any] = {}
    for name, cell in zip(names, getattr(fn, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found


def _evaluated(raw: Mapping[str, Any], globals_: dict[str, Any], locals_: dict[str, Any]) -> dict[str, Any]:
    try:
        return _get(raw, globals_, locals_)
    except Exception:  # noqa: BLE001 - an annotation is any expression: it can raise anything
        return {name: _one(hint, globals_, locals_) for name, hint in raw.items()}


def _one(hint: Any, globals_: dict[str, Any], locals_: dict[str, Any]) -> Any:
    try:
        return _get({"it": hint}, globals_, locals_)["it"]
    except Exception:  # noqa: BLE001 - as in _evaluated
        return Any


def _get(raw: Mapping[str, Any], globals_: dict[str, Any], locals_: dict[str, Any]) -> dict[str, Any]:
    owner = SimpleNamespace(__annotations__=dict(raw))
    return typing.get_type_hints(owner, globals_, locals_, include_extras=True)


@lru_cache(maxsize=4096)
def class_hints(cls: type) -> dict[str, tuple[type, Any]]:
    """The fields of a class and its bases, each with the class that declares it and its hint."""
    found: dict[str, tuple[type, Any]] = {}
    for owner in reversed(cls.__mro__):
        module = vars(inspect.getmodule(owner) or SimpleNamespace())
        # The module goes first: a field `date: date = None` would otherwise hide the class that it names.
        resolved = _evaluated(_raw(owner), {**vars(owner), owner.__name__: owner}, module)
        found |= {name: (owner, hint) for name, hint in resolved.items()}
    return found


def field_hints(hint: Any) -> dict[str, Any]:
    """The hints of a class's fields, with the type arguments of ``hint`` (as in ``Page[Order]``) put in."""
    cls: type = typing.get_origin(hint) or hint
    bound = _bindings(hint)
    return {name: substitute(it, bound.get(owner, {})) for name, (owner, it) in class_hints(cls).items()}


def _bindings(hint: Any) -> dict[type, dict[Any, Any]]:
    """What the type variables of a generic class and of each generic base stand for."""
    cls = typing.get_origin(hint) or hint
    parameters = getattr(cls, "__parameters__", ())
    mine = dict(zip(parameters, typing.get_args(hint), strict=False))
    found: dict[type, dict[Any, Any]] = {cls: mine}
    for base in getattr(cls, "__orig_bases__", ()):
        for owner, theirs in _bindings(base).items():
            found[owner] = {variable: substitute(it, mine) for variable, it in theirs.items()}
    return found


def substitute(hint: Any, variables: Mapping[Any, Any]) -> Any:
    """``hint`` with its type variables replaced; those that stand for nothing become ``Any``."""
    if isinstance(hint, TypeVar):
        return variables.get(hint, Any)
    parameters = getattr(hint, "__parameters__", ())
    if not parameters or typing.get_origin(hint) is None:
        return hint
    try:
        return hint[tuple(variables.get(parameter, Any) for parameter in parameters)]
    except TypeError:  # a parameter that takes no type, as ParamSpec
        return Any
