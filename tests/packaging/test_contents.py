"""What is in the wheel and in the sdist: one package, whole, and nothing beside it."""

from __future__ import annotations

import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.packaging.conftest import build
from tests.servers import ROOT

# Files of the package that are no Python and are read at run time.
DATA = {".lua", ".typed", ".html", ".css", ".js", ".svg"}


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def code(wheel: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(wheel).items() if ".dist-info/" not in name}


def metadata(wheel: Path) -> dict[str, str]:
    [text] = [data.decode() for name, data in contents(wheel).items() if name.endswith(".dist-info/METADATA")]
    return dict(Parser().parsestr(text).items())


def test_the_wheel_holds_one_top_level_name(wheel: Path) -> None:
    assert {name.partition("/")[0] for name in code(wheel)} == {"runner"}


@pytest.mark.parametrize("folder", ["runner", "workers", "scheduler"])
def test_the_wheel_holds_every_file_of_the_package(wheel: Path, folder: str) -> None:
    inside = "runner" if folder == "runner" else f"runner/{folder}"
    expected = {
        f"{inside}/{path.relative_to(ROOT / folder).as_posix()}": path.read_bytes()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", *DATA}
    }
    packed = code(wheel)
    assert expected.keys() <= packed.keys()
    assert all(packed[name] == data for name, data in expected.items())


def test_the_wheel_is_typed_and_brings_its_scripts_and_its_licence(wheel: Path) -> None:
    packed = contents(wheel)
    assert {"runner/py.typed", "runner/workers/py.typed", "runner/scheduler/py.typed"} <= packed.keys()
    assert any(name.startswith("runner/store/redis/lua/") and name.endswith(".lua") for name in packed)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in packed)


def test_nothing_but_code_and_data_is_packed(wheel: Path) -> None:
    assert {Path(name).suffix for name in code(wheel)} <= {".py", *DATA}


def test_the_distribution_and_the_command_have_the_names_that_are_documented(wheel: Path) -> None:
    said = metadata(wheel)
    assert (said["Name"], said["License-Expression"], said["Requires-Python"]) == ("runner-fleet", "MIT", ">=3.11")
    [scripts] = [data.decode() for name, data in contents(wheel).items() if name.endswith("entry_points.txt")]
    assert "runner = runner.cli:main" in scripts


def test_the_sdist_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    build(source, tmp_path / "again", "wheel")
    [again] = (tmp_path / "again").glob("*.whl")
    assert contents(again) == contents(wheel)


def test_the_sdist_holds_files_and_no_links(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        assert [member.name for member in archive if member.issym() or member.islnk()] == []
