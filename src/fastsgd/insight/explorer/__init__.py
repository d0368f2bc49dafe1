"""Runs of the solver, recorded, and the pages that show them step by step."""

from .exploration import Exploration, explore
from .network_exploration import NetworkExploration
from .records import RecordedNetworkRun, RecordedRun

__all__ = ["Exploration", "NetworkExploration", "RecordedNetworkRun", "RecordedRun", "explore"]
