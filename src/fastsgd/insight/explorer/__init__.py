"""Runs of the solver that are recorded, and the page on which they are stepped through."""

from .recording import Exploration, RecordedRun, explore

__all__ = ["Exploration", "RecordedRun", "explore"]
