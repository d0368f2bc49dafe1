"""Runs of the solver on two weights, recorded, and the page that shows them step by step."""

from .exploration import Exploration, explore
from .records import RecordedRun

__all__ = ["Exploration", "RecordedRun", "explore"]
