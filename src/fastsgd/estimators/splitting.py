"""What a run draws and finds once: its seed, the rows it holds out, the scales of its features."""

from __future__ import annotations

import copy
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..problem import computed_in
from .input import InputValidation, real_targets
from .parameters import seed_of
from .standardise import Scaling, scaling_of, standardising
from .task import Task
from .validation import split

__all__ = ["Run", "Splitting"]


class Run(Protocol):
    """What is known of a run that goes on: see :class:`Continuation`."""

    seed: int
    split: np.random.RandomState | None
    scaling: Scaling


class Splitting(InputValidation):
    """Seeds, rows held out, and standardised features."""

    random_state: int | np.random.RandomState | None
    validation_fraction: float
    standardize: bool

    def _draw(
        self, task: Task, previous: Run | None, *, holds_out: bool
    ) -> tuple[int, np.random.RandomState | None, NDArray[np.int64] | None]:
        """Seed of a run, what its validation split is drawn from (None: the seed), and its rows.

        A generator gives the split first and then the seed, as in scikit-learn.
        """
        if previous is not None:
            source = previous.split
            draws = previous.seed if source is None else copy.deepcopy(source)
            return previous.seed, source, self._held_out(task, draws) if holds_out else None
        if not (holds_out and isinstance(self.random_state, np.random.RandomState)):
            seed = seed_of(self.random_state)
            return seed, None, self._held_out(task, seed) if holds_out else None
        source = copy.deepcopy(self.random_state)
        rows = self._held_out(task, self.random_state)
        return seed_of(self.random_state), source, rows

    def _held_out(self, task: Task, source: int | np.random.RandomState) -> NDArray[np.int64]:
        """Training rows that early stopping holds out."""
        return split(
            task.user_y,
            task.weight,
            self.validation_fraction,
            source,
            stratify=task.sign_targets and task.user_y.ndim == 1,
        )

    def _scaling(
        self, task: Task, weight: NDArray[np.floating] | None, previous: Run | None
    ) -> Scaling:
        """With ``standardize``, that of the training rows of the first call."""
        if not self.standardize:
            return Scaling()
        if sp.issparse(task.X):
            raise ValueError(
                "standardize=True needs dense X: centring would make a sparse X dense. Scale it "
                "without centring, for example with MaxAbsScaler."
            )
        if previous is not None and previous.scaling.scale is not None:
            return previous.scaling
        if task.stream is not None:
            return scaling_of(*task.stream.moments(), computed_in(task.X))
        return standardising(task.X, weight)

    def _check_partial(self) -> None:
        if self.early_stopping:
            raise ValueError("early_stopping should be False with partial_fit")

    def _validation_set(self, X_val: Any, y_val: Any, task: Task) -> tuple[Any, Any]:
        """A validation set of the user's own, of real targets."""
        X_val, y_val = self._validate(X_val, y_val, reset=False, names=("X_val", "y_val"))
        y_val = real_targets(y_val, computed_in(task.X), "y_val")
        if y_val.shape[1:] != task.y.shape[1:]:
            raise ValueError(
                f"y_val must have as many outputs as y: it has shape {y_val.shape}, and y has "
                f"shape {task.y.shape}"
            )
        return X_val, y_val

    def _has_validation_set(self, X_val: Any, y_val: Any) -> bool:
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together")
        return X_val is not None
