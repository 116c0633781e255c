"""Nothing in the product runs what it reads: looked up in its syntax trees, so that no later line can slip in."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.servers import ROOT

SOURCES = sorted(path for folder in ("runner", "workers", "scheduler") for path in (ROOT / folder).rglob("*.py"))
FILES = {path.relative_to(ROOT).as_posix(): path for path in SOURCES}

#: Modules that rebuild any object from bytes, or run a text.
MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "jsonpickle",
    "yaml",
    "code",
    "codeop",
    "runpy",
}
#: Builtins that run or find code by a text.
BUILTINS = {"eval", "exec", "compile", "__import__"}
IMPORTING = {"import_module", "spec_from_file_location", "module_from_spec", "exec_module"}
#: Who may import by name, and where the name comes from. None of it is data.
IMPORTERS = {
    "runner/__init__.py": "its own public names",
    "runner/testing/__init__.py": "its own public names",
    "runner/cli/root.py": "its own commands",
    "runner/loading.py": "--app, which the operator types",
}
#: The one place where packed bytes are read, behind the limits on values and depth.
READERS = {"runner/codec/wire.py"}


@dataclass(frozen=True)
class Facts:
    """What one source file imports, which names it uses by themselves, and which of a module or with a keyword."""

    imports: frozenset[str]
    plain: frozenset[str]
    used: frozenset[str]
    keywords: frozenset[str]


@cache
def facts_of(path: Path) -> Facts:
    imports: set[str] = set()
    plain: set[str] = set()
    of_modules: set[str] = set()
    keywords: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                imports |= {alias.name.partition(".")[0] for alias in names}
            case ast.ImportFrom(module=module, names=names):
                imports |= {(module or "").partition(".")[0], *(alias.name for alias in names)}
            case ast.Name(id=name):
                plain.add(name)
            case ast.Attribute(value=ast.Name(), attr=name):
                of_modules.add(name)
            case ast.keyword(arg=str(name)):
                keywords.add(name)
    return Facts(frozenset(imports), frozenset(plain), frozenset(imports | plain | of_modules), frozenset(keywords))


def using(*names: str) -> set[str]:
    return {name for name, path in FILES.items() if facts_of(path).used & set(names)}


def test_the_gates_look_at_all_of_it():
    assert {"runner/client.py", "workers/turn.py", "scheduler/scheduler.py"} <= set(FILES)
    assert len(FILES) > 200


def test_nothing_rebuilds_objects_or_runs_texts():
    for name, path in FILES.items():
        assert not facts_of(path).imports & MODULES, name
        assert not facts_of(path).plain & BUILTINS, name


def test_only_what_is_no_data_is_imported_by_name():
    by_name = {name for name, path in FILES.items() if facts_of(path).used & IMPORTING}
    assert by_name == set(IMPORTERS)


def test_no_shell_is_asked():
    assert not using("system", "popen", "create_subprocess_shell", "getoutput")
    assert not [name for name, path in FILES.items() if "shell" in facts_of(path).keywords]


def test_packed_bytes_are_read_in_one_place():
    assert using("unpackb", "Unpacker") == READERS


@pytest.mark.parametrize(
    ("line", "gate"),
    [
        ("import pickle", test_nothing_rebuilds_objects_or_runs_texts),
        ("from yaml import load", test_nothing_rebuilds_objects_or_runs_texts),
        ("eval(text)", test_nothing_rebuilds_objects_or_runs_texts),
        ("import importlib; importlib.import_module(name)", test_only_what_is_no_data_is_imported_by_name),
        ("import os; os.system(text)", test_no_shell_is_asked),
        ("subprocess.run(text, shell=True)", test_no_shell_is_asked),
        ("from msgpack import unpackb", test_packed_bytes_are_read_in_one_place),
        ("import msgpack; msgpack.unpackb(blob)", test_packed_bytes_are_read_in_one_place),
    ],
)
def test_a_gate_closes(line, gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "smuggled.py").write_text(line)
    monkeypatch.setitem(FILES, "runner/smuggled.py", tmp_path / "smuggled.py")
    with pytest.raises(AssertionError):
        gate()
