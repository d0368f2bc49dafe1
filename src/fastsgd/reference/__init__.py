"""The NumPy twin of the compiled core: same nouns, same order of samples, no speed.

It is what the tests compare every kernel with, and the yardstick of the benchmarks.
:mod:`fastsgd.reference.linear` has linear models, lane by lane, and is what the names here are of;
:mod:`fastsgd.reference.network` has back-propagation, and steps of a vector of parameters.
"""

from . import network
from .linear import (
    State,
    accumulate,
    close_batch,
    gradient,
    is_measured,
    objective,
    rate,
    run_epoch,
    score,
    take_in,
    update,
)

__all__ = [
    "State",
    "accumulate",
    "close_batch",
    "gradient",
    "is_measured",
    "network",
    "objective",
    "rate",
    "run_epoch",
    "score",
    "take_in",
    "update",
]
