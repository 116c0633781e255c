"""The lock file is for everybody: it agrees with the project and names the public index only."""

from __future__ import annotations

import re
import tomllib
from urllib.parse import urlsplit

import pytest

from tests.servers import ROOT

LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOSTS = {"files.pythonhosted.org"}


def normal(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


@pytest.mark.parametrize("package", LOCK["package"], ids=lambda package: package["name"])
def test_a_package_comes_from_the_public_index(package: dict[str, dict[str, str]]) -> None:
    assert package["source"] in ({"registry": "https://pypi.org/simple"}, {"editable": "."})
    files = [package["sdist"]] if "sdist" in package else []
    files += package.get("wheels", [])
    for file in files:
        assert urlsplit(file["url"]).hostname in HOSTS
        assert file["hash"].startswith("sha256:")


def test_the_lock_is_of_this_project() -> None:
    [own] = [package for package in LOCK["package"] if package["name"] == PROJECT["project"]["name"]]
    locked = {entry["name"] for entry in own["metadata"]["requires-dist"] if "marker" not in entry}
    assert locked == {normal(requirement) for requirement in PROJECT["project"]["dependencies"]}
    groups = {entry["name"] for entry in own["metadata"]["requires-dev"]["dev"]}
    assert groups == {normal(requirement) for requirement in PROJECT["dependency-groups"]["dev"]}
    assert LOCK["requires-python"] == PROJECT["project"]["requires-python"]
