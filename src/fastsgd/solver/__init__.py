"""Training of linear lanes and of networks: epochs of the compiled core, and when a run stops."""

from .._core import State
from .epochs import check_unchanged, gradient, run_epoch, structure_of
from .loop import fit
from .network_loop import NetworkFit, fit_network
from .progress import Fit, Progress
from .stopping import Stopping
from .training import BLOWN_UP
from .windows import next_row, run_windows

__all__ = [
    "BLOWN_UP",
    "Fit",
    "NetworkFit",
    "Progress",
    "State",
    "Stopping",
    "check_unchanged",
    "fit",
    "fit_network",
    "gradient",
    "next_row",
    "run_epoch",
    "run_windows",
    "structure_of",
]
