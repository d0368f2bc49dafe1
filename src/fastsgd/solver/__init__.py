"""Training, lane by lane: epochs of the compiled core, and when the lanes of a run stop."""

from .._core import State
from .epochs import check_unchanged, gradient, run_epoch, structure_of
from .loop import fit
from .progress import Fit
from .stopping import Stopping
from .training import BLOWN_UP
from .windows import next_row, run_windows

__all__ = [
    "BLOWN_UP",
    "Fit",
    "State",
    "Stopping",
    "check_unchanged",
    "fit",
    "gradient",
    "next_row",
    "run_epoch",
    "run_windows",
    "structure_of",
]
