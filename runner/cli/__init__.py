"""The command line: ``runner --help`` loads click and nothing else; each command loads what it needs."""

from runner.cli.root import main

__all__ = ["main"]
