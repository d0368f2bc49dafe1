"""A run on rows that nobody wrote: Memcheck must report it. It imports little; see valgrind.sh."""

import contextlib

import numpy as np

from fastsgd import solver
from fastsgd.problem import Data, Lanes, Settings

problem = Data(np.empty((300, 50)), np.ones(300)), Lanes(1, alpha=0.0, eta0=1e-3), Settings()
with contextlib.suppress(ValueError):  # whatever values are there
    solver.run_epoch(*problem, solver.State(*problem))
