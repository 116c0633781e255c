"""From ``module:attr`` to an App, with errors that show the user's own code and nothing of ours."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from runner.app import App
from runner.errors import AppNotFound

_OURS = str(Path(__file__).resolve().parent) + os.sep
_IMPORT_MACHINERY = str(Path(importlib.__file__).resolve().parent) + os.sep


def load_app(target: str, directory: Path | None = None) -> App:
    """The App that ``module:attr`` names; ``attr`` may be dotted, and a function without arguments is called.

    ``directory`` (default: the current one) goes to the front of ``sys.path`` and stays there: child modules may
    be imported much later. In front, so that a project's own ``workers/`` is found before anybody else's.

    Raises AppNotFound, naming what is wrong and what there is instead; an error of the user's code is shown with
    its own lines.
    """
    module_name, attribute = _split(target)
    _make_importable(directory or Path.cwd())
    module = _import(module_name, directory or Path.cwd())
    return _as_app(_resolve(module, attribute), target)


def _split(target: str) -> tuple[str, str]:
    module, colon, attribute = target.partition(":")
    if not colon:
        raise AppNotFound(f"--app {target!r} has no colon: write module:attribute, such as {target}:app")
    parts = [*module.split("."), *attribute.split(".")]
    if not all(part.isidentifier() for part in parts):
        raise AppNotFound(
            f"--app {target!r}: write module:attribute, such as shop.flows:app (dots, no slashes, no .py)"
        )
    return module, attribute


def _make_importable(directory: Path) -> None:
    if not directory.is_dir():
        raise AppNotFound(f"--app-dir {str(directory)!r} is not a directory")
    place = str(directory.resolve())
    if place in sys.path:
        sys.path.remove(place)
    sys.path.insert(0, place)


def _import(name: str, directory: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if _frames(error):
            raise _broken(f"importing {name!r}", error) from None
        raise AppNotFound(_no_module(name, error.name or name, directory)) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a module may raise anything, SystemExit included
        raise _broken(f"importing {name!r}", error) from None


def _no_module(name: str, missing: str, directory: Path) -> str:
    package = sys.modules.get(missing.rpartition(".")[0])
    if package is None:
        return f"there is no module {name!r}: looked in {str(directory)!r} first (--app-dir names another directory)"
    # Perhaps another package of this name than the one that was meant: say which.
    places = ", ".join(map(repr, getattr(package, "__path__", []))) or f"{package.__name__!r}, which is no package"
    return f"there is no module {missing!r} in {places} (--app-dir names another directory to look in first)"


def _resolve(module: ModuleType, attribute: str) -> Any:
    if module.__name__.partition(".")[0] == "runner" and _is_ours(module.__file__ or ""):
        raise AppNotFound(f"module {module.__name__!r} is Runner itself: give the module with your app another name")
    found: Any = module
    walked = module.__name__
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise AppNotFound(f"{walked} has no attribute {part!r}{_instead(module, part)}")
        found = getattr(found, part)
        walked = f"{walked}.{part}"
    return found


def _instead(module: ModuleType, wanted: str) -> str:
    apps = [name for name, value in vars(module).items() if isinstance(value, App)]
    if not apps:
        return f"; module {module.__name__!r} holds no App (a function that returns one is fine too)"
    # The nearest name first; the others may still be what was meant.
    nearest_first = get_close_matches(wanted, apps, n=len(apps), cutoff=0.0)
    return f"; the Apps there: {', '.join(f'{module.__name__}:{name}' for name in nearest_first)}"


def _as_app(found: Any, target: str) -> App:
    if isinstance(found, App):
        return found
    if inspect.isroutine(found):
        return _made_by(found, target)
    raise AppNotFound(f"{target!r} is {_what(found)}, not an App")


def _made_by(factory: Callable[..., Any], target: str) -> App:
    required = _required(factory)
    if required:
        raise AppNotFound(f"{target!r} is a function that wants {', '.join(required)}: a factory takes no arguments")
    if inspect.iscoroutinefunction(factory):
        raise AppNotFound(f"{target!r} is an async function: a factory is a plain `def`")
    try:
        made = factory()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - as on import
        raise _broken(f"calling {target!r}", error) from None
    if isinstance(made, App):
        return made
    raise AppNotFound(f"{target!r} returned {_what(made)}, not an App")


def _required(factory: Callable[..., Any]) -> list[str]:
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    params = inspect.signature(factory).parameters.values()
    return [param.name for param in params if param.default is param.empty and param.kind not in optional]


def _what(value: Any) -> str:
    if inspect.isclass(value):
        return f"the class {value.__qualname__}"
    if inspect.ismodule(value):
        return f"the module {value.__name__}"
    return "None" if value is None else f"an object of type {type(value).__qualname__}"


# -- errors of the user's code ------------------------------------------------------------------------


def _broken(doing: str, error: BaseException) -> AppNotFound:
    lines = [*traceback.format_list(_frames(error)), *traceback.format_exception_only(error)]
    return AppNotFound(f"{doing} failed:\n{''.join(lines).rstrip()}")


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Where in the user's code (and the libraries it calls) the error came from."""
    return list(_foreign(traceback.extract_tb(error.__traceback__)))


def _foreign(frames: Iterable[traceback.FrameSummary]) -> Iterable[traceback.FrameSummary]:
    return (frame for frame in frames if not (_is_ours(frame.filename) or _is_importing(frame.filename)))


def _is_ours(filename: str) -> bool:
    return os.path.realpath(filename).startswith(_OURS) or filename.startswith(_OURS)


def _is_importing(filename: str) -> bool:
    return filename.startswith(("<frozen importlib", _IMPORT_MACHINERY))
