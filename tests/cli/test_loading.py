"""`--app module:attr`: what is found, and what is said when nothing is."""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import uuid4

import pytest

from runner.errors import AppNotFound
from runner.loading import load_app


@pytest.fixture
def module(tmp_path: Path):
    """Writes a module under a name that nothing else has; it is forgotten afterwards."""
    path, known = sys.path[:], set(sys.modules)
    name = f"shop_{uuid4().hex}"

    def write(text: str, *, inside: str = "") -> str:
        file = tmp_path / name / f"{inside}.py" if inside else tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return f"{name}.{inside}" if inside else name

    yield write
    sys.path[:] = path
    for imported in set(sys.modules) - known:
        if imported.startswith(name):
            del sys.modules[imported]


def refusal(target: str, directory: Path) -> str:
    with pytest.raises(AppNotFound) as refused:
        load_app(target, directory)
    return str(refused.value)


APP = "from runner import App\napp = App('shop')\n"


def test_an_app_by_name(module, tmp_path):
    assert load_app(f"{module(APP)}:app", tmp_path).name == "shop"


def test_a_dotted_attribute(module, tmp_path):
    name = module(APP + "class Holder:\n    inner = App('inner')\n")
    assert load_app(f"{name}:Holder.inner", tmp_path).name == "inner"


def test_a_factory_without_arguments(module, tmp_path):
    name = module(APP + "def make(name='made'):\n    return App(name)\n")
    assert load_app(f"{name}:make", tmp_path).name == "made"


def test_a_module_in_a_folder(module, tmp_path):
    assert load_app(f"{module(APP, inside='flows')}:app", tmp_path).name == "shop"


def test_the_directory_goes_to_the_front_and_stays(module, tmp_path):
    load_app(f"{module(APP)}:app", tmp_path)
    load_app(f"{module(APP)}:app", tmp_path)
    assert sys.path[0] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_no_colon(tmp_path):
    assert "has no colon: write module:attribute, such as shop:app" in refusal("shop", tmp_path)


@pytest.mark.parametrize("target", ["shop.py:app", "src/shop:app", "shop:", ":app", "shop:a-b"])
def test_what_is_no_module_or_attribute(target, tmp_path):
    text = refusal(target, tmp_path)
    assert "write module:attribute" in text or "there is no module" in text


def test_a_directory_that_is_none(tmp_path):
    assert "is not a directory" in refusal("shop:app", tmp_path / "nowhere")


def test_a_missing_module_names_where_it_was_looked_for(tmp_path):
    text = refusal("nowhere_at_all:app", tmp_path)
    assert "there is no module 'nowhere_at_all'" in text
    assert str(tmp_path) in text
    assert "Traceback" not in text


def test_a_missing_module_in_a_package_names_the_package_that_was_found(module, tmp_path):
    name = module(APP, inside="flows").partition(".")[0]
    text = refusal(f"{name}.flws:app", tmp_path)
    assert f"there is no module '{name}.flws'" in text
    assert str(tmp_path / name) in text


def test_an_import_inside_the_module_that_fails_is_another_thing(module, tmp_path):
    name = module("import nowhere_at_all\n")
    text = refusal(f"{name}:app", tmp_path)
    assert f"importing '{name}' failed" in text
    assert "line 1" in text
    assert "import nowhere_at_all" in text
    assert "No module named 'nowhere_at_all'" in text


def test_a_missing_attribute_names_the_apps_that_are_there(module, tmp_path):
    name = module(APP + "shop = App('other')\n")
    assert f"the Apps there: {name}:app, {name}:shop" in refusal(f"{name}:ap", tmp_path)
    assert f"the Apps there: {name}:shop, {name}:app" in refusal(f"{name}:shap", tmp_path)


def test_a_missing_attribute_where_there_is_no_app(module, tmp_path):
    assert "holds no App" in refusal(f"{module('x = 1')}:app", tmp_path)


@pytest.mark.parametrize(
    ("made", "what"),
    [
        ("app = 7", "an object of type int"),
        ("app = None", "None"),
        ("from runner import App as app", "the class App"),
        ("import json as app", "the module json"),
        ("def app(): return 'shop'", "returned an object of type str"),
        ("async def app(): ...", "is an async function"),
        ("def app(config): ...", "wants config"),
    ],
)
def test_what_is_no_app_is_called_what_it_is(module, tmp_path, made, what):
    assert what in refusal(f"{module(made)}:app", tmp_path)


def test_an_error_on_import_shows_the_users_lines_and_none_of_ours(module, tmp_path):
    name = module("from runner import App\n\ndef make():\n    return App('not a name')\n\napp = make()\n")
    text = refusal(f"{name}:app", tmp_path)
    assert f'File "{tmp_path / name}.py", line 6' in text
    assert f'File "{tmp_path / name}.py", line 4, in make' in text
    assert "app = make()" in text
    assert "not a name" in text
    assert "loading.py" not in text
    assert "runner/app.py" not in text
    assert "importlib" not in text


@pytest.mark.parametrize("end", ["raise SystemExit(3)", "def app(:", "1 / 0"])
def test_however_an_import_ends(module, tmp_path, end):
    name = module(end)
    text = refusal(f"{name}:app", tmp_path)
    assert f"{name}.py" in text
    assert "line 1" in text


def test_an_error_in_a_factory(module, tmp_path):
    name = module("def app():\n    raise LookupError('no settings')\n")
    text = refusal(f"{name}:app", tmp_path)
    assert f"calling '{name}:app' failed" in text
    assert "line 2, in app" in text
    assert "LookupError: no settings" in text


def test_runner_itself_is_no_app(tmp_path):
    assert "is Runner itself" in refusal("runner:app", tmp_path)
