"""Exploring a workflow: a fault at every durable point of it, and the smallest that it does not bear."""

from runner.testing.exploring.search import Exploration, ExplorationFailed, explore

__all__ = ["Exploration", "ExplorationFailed", "explore"]
