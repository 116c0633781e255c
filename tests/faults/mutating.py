"""Switches off one mechanism after the other, and looks whether the tests notice: `make mutations ARGS="fence"`.

Each mutation is made in a copy of the tree, where its tests run against servers that all copies share. A test must
fail there, and not for want of a module that can be loaded. Exit code 1 when one was not noticed, or not found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.table import Table

from tests.faults.mutations import ROOT, Mutation, named, table
from tests.servers import start_rabbitmq, start_redis

COPIED = ("runner", "workers", "scheduler", "tests", "examples", "pyproject.toml", "README.md", "LICENSE")
#: With a mechanism off, what is waited for never comes: not for as long as on a machine with much else to do.
PATIENCE_S = 20
#: A test that does not even give up is ended, in seconds.
TIMEOUT_S = 80
#: That all can be loaded, here and by the server: what cannot would fail any test, and prove nothing.
LOADS = """
import dataclasses, os, redis, runner, runner.broker.rabbitmq, runner.cli.root, runner.scheduler, runner.workers
from runner.store.redis.scripts import Scripts, scripts
assert os.path.realpath(runner.__file__).startswith(os.path.realpath(os.getcwd())), runner.__file__
with redis.Redis.from_url(os.environ["RUNNER_TEST_STORE_URL"]) as server:
    for field in dataclasses.fields(Scripts):
        server.script_load(getattr(scripts(), field.name).source)
"""


@dataclass(frozen=True)
class Trial:
    """What came of one: ``noticed`` by these tests, or ``broken``: why that says nothing."""

    mutation: Mutation
    noticed: tuple[str, ...] = ()
    broken: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return bool(self.noticed) and not self.broken


@click.command()
@click.argument("names", nargs=-1)
@click.option("--at-once", type=int, default=2, show_default=True, help="Mutations that are tried at the same time.")
@click.option("--table", "as_table", is_flag=True, help="Print the table of docs/faults.md, and do nothing else.")
def main(names: Sequence[str], at_once: int, as_table: bool) -> None:
    """Try the mutations whose names have one of NAMES in them; all of them without NAMES."""
    if as_table:
        click.echo(table())
        return
    chosen = named(names)
    if not chosen:
        raise click.UsageError(f"no mutation is called {' or '.join(names)}")
    with servers() as environment:
        if why := unsound(chosen, environment):
            click.echo(f"The tests fail without any mutation, so what they say of one is nothing:\n{why}", err=True)
            sys.exit(1)
        with ThreadPoolExecutor(at_once) as pool:
            trials = [told(trial) for trial in pool.map(lambda one: tried(one, environment), chosen)]
    show(trials)
    sys.exit(not all(trial.passed for trial in trials))


@contextmanager
def servers() -> Iterator[Mapping[str, str]]:
    """One pair for all copies: their tests keep to namespaces of their own."""
    with TemporaryDirectory(prefix="runner-mutations-") as folder:
        redis, rabbit = start_redis(Path(folder)), start_rabbitmq(Path(folder))
        try:
            yield {"RUNNER_TEST_STORE_URL": redis.url, "RUNNER_TEST_BROKER_URL": rabbit.url}
        finally:
            redis.kill()
            rabbit.kill()


def unsound(mutations: Sequence[Mutation], environment: Mapping[str, str]) -> str:
    """What the tests say of the tree as it is; empty when they pass."""
    done = run(
        ROOT, list(dict.fromkeys(test for one in mutations for test in one.tests)), points(mutations), environment
    )
    return "" if done.returncode == 0 else done.stdout[-4_000:]


def points(mutations: Sequence[Mutation]) -> str:
    return ",".join(dict.fromkeys(point for one in mutations for point in one.points))


def tried(mutation: Mutation, environment: Mapping[str, str]) -> Trial:
    begun = time.monotonic()
    if (found := mutation.found()) != 1:
        return Trial(mutation, broken=f"its text is {found} times in {mutation.file}")
    with copied() as root:
        mutation.apply(root)
        loads = subprocess.run(
            [sys.executable, "-c", LOADS], cwd=root, env=inside(root, environment), capture_output=True, text=True
        )
        if loads.returncode:
            return Trial(mutation, broken=f"it cannot be loaded: {loads.stderr.strip()[-400:]}")
        done = run(root, list(mutation.tests), points([mutation]), environment)
    failed = tuple(line.split(" - ")[0].removeprefix("FAILED ") for line in done.stdout.splitlines() if is_failed(line))
    broken = "" if done.returncode in (0, 1) else f"pytest ended with {done.returncode}: {done.stdout[-400:]}"
    return Trial(mutation, noticed=failed, broken=broken, seconds=time.monotonic() - begun)


def is_failed(line: str) -> bool:
    return line.startswith("FAILED ")


@contextmanager
def copied() -> Iterator[Path]:
    """All that the tests need, with the links that are in it."""
    with TemporaryDirectory(prefix="runner-mutation-") as folder:
        root = Path(folder)
        for name in COPIED:
            if (ROOT / name).is_dir():
                left_out = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, root / name, symlinks=True, ignore=left_out)
            else:
                shutil.copy2(ROOT / name, root / name)
        yield root


def run(
    root: Path, tests: Sequence[str], only: str, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    options = ("-p", "no:cacheprovider", "-p", "no:randomly", "--tb=short", "-q", "-rf", f"--timeout={TIMEOUT_S}")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=root,
        env=inside(root, environment) | {"RUNNER_TEST_POINTS": only},
        capture_output=True,
        text=True,
    )


def inside(root: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """What is loaded comes from this tree, in the processes that tests launch too."""
    waiting = {"PYTHONPATH": str(root), "RUNNER_TEST_PATIENCE_S": str(PATIENCE_S), "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **environment, **waiting}


def told(trial: Trial) -> Trial:
    said = trial.broken or ("noticed" if trial.noticed else "NOT NOTICED")
    click.echo(f"{trial.seconds:6.1f} s  {trial.mutation.name}: {said}", err=True)
    return trial


def show(trials: Sequence[Trial]) -> None:
    shown = Table("promise", "mechanism, switched off", "noticed by", "s")
    for trial in trials:
        tests = "\n".join(test.rpartition("::")[2] for test in trial.noticed)
        said = trial.broken or tests or "[bold red]nobody[/]"
        shown.add_row(trial.mutation.promise, trial.mutation.mechanism, said, f"{trial.seconds:.0f}")
    console = Console()
    console.print(shown)
    console.print(f"{sum(trial.passed for trial in trials)} of {len(trials)} were noticed")


if __name__ == "__main__":
    main()
