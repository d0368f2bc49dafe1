"""A fit that is saved while it runs, and goes on from what was saved."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..losses import CompiledLoss
from ..model_files.checkpoint import Checkpoint, Position, file_of, files_of, prune
from ..model_files.container import library, opened, write
from ..scalars import python_number
from ..solver import Fit, Progress
from .model_parts import check_class, describe, encoder, parameters_of, restore

__all__ = ["Resume", "Resumed", "Saving", "taken_up"]

Resume = bool | str | os.PathLike[str]
"""What ``fit`` takes as ``resume``."""

MAY_DIFFER = ("max_iter", "verbose", "n_jobs", "random_state")
"""Parameters on which no bit of the epochs so far depends."""


@dataclass(frozen=True)
class Resumed:
    """A fit that goes on from a checkpoint.

    Attributes
    ----------
    path : Path
        The file.
    standing : dict
        Where the fit stood beside its state.
    goes_on : bool
        Whether it went on from an earlier run itself.
    rows : int
        Rows of X.
    seen : int
        Rows that were trained on before the fit.
    order : tuple or None
        The pools of rows of a stream: see ``TableStream.order_key``.
    """

    path: Path
    standing: dict[str, Any]
    goes_on: bool
    rows: int
    seen: int
    order: tuple[Any, ...] | None

    @property
    def within(self) -> bool:
        """Whether it stood in the middle of an epoch."""
        return self.standing.get("within") is not None

    def check_rows(self, rows: int, order: tuple[Any, ...] | None = None) -> None:
        """Refuse another X than the one of the fit, as far as its rows tell.

        Raises
        ------
        ValueError
            If it has more or fewer rows, or those of a source are visited in another order.
        """
        if rows != self.rows:
            raise ValueError(
                f"{self.path} is of a fit on {self.rows} rows, and X has {rows}: a fit goes on "
                "with the rows that it began with"
            )
        if order != self.order:
            raise ValueError(
                f"{self.path} is of a fit on rows in the pools {self.order}, and these are in "
                f"{order}: a fit goes on with the cache and the pool_bytes that it began with"
            )


def taken_up(estimator: Any, resume: Any) -> bool | Resumed:
    """Whether, and where, a fit goes on; the estimator is then as it stood in the checkpoint.

    Raises
    ------
    ValueError
        If a file is no whole checkpoint of an estimator with these parameters.
    TypeError
        If ``resume`` is neither a truth value nor a path.
    """
    if isinstance(resume, (bool, np.bool_)):
        return bool(resume)
    if not isinstance(resume, (str, os.PathLike)):
        raise TypeError(f"resume must be True, False or the path of a checkpoint, got {resume!r}")
    path = Path(resume)
    if path.is_file() or path.suffix == ".safetensors":
        return _taken(estimator, path)
    files = [path for _, path in reversed(files_of(path))]
    for file in files:
        try:
            return _taken(estimator, file)
        except _Unlike:
            raise
        except ValueError as error:
            if file == files[-1]:
                raise
            warnings.warn(
                f"resume: {error}. The fit goes on from the checkpoint before it.",
                UserWarning,
                stacklevel=5,
            )
    return False


class _Unlike(ValueError):
    """A whole checkpoint of another fit."""


def _taken(estimator: Any, path: Path) -> Resumed:
    """The fit of a checkpoint, whose model the estimator becomes."""
    kind = type(estimator)
    with opened(path) as (description, tensors):
        given = {name: getattr(estimator, name, None) for name in ("learning_rate", "scoring")}
        given = {name: None if isinstance(one, str) else one for name, one in given.items()}
        given["loss"] = estimator.loss if isinstance(estimator.loss, CompiledLoss) else None
        model, run, _ = restore({kind.__name__: kind}, description, tensors, given)
        found = _checked(path, run)
        if not (model.history_["epoch"] or found.within):
            raise ValueError("it is of a fit before its first epoch")
    _check_parameters(estimator, model, path)
    attributes, names = vars(estimator), kind._get_param_names()
    for name in [one for one in attributes if one.endswith("_") or one == "_class_counts"]:
        del attributes[name]
    attributes.update({name: one for name, one in vars(model).items() if name not in names})
    return found


def _checked(path: Path, run: Any) -> Resumed:
    """Where a fit stood, of what a file says."""
    if run is None:
        raise ValueError(
            "it is a saved model and no checkpoint of a fit: load it, and go on with"
            " fit(resume=True)"
        )
    kinds: dict[str, tuple[type, ...]] = {
        "standing": (dict,),
        "goes_on": (bool,),
        "rows": (int,),
        "seen": (int,),
        "order": (tuple, type(None)),
    }
    right = isinstance(run, dict) and set(run) == set(kinds)
    if not right or not all(type(run[name]) in allowed for name, allowed in kinds.items()):
        raise ValueError("its record of how far the fit had come is missing or broken")
    return Resumed(path, **run)


def _check_parameters(estimator: Any, model: Any, path: Path) -> None:
    """Refuse to go on with other parameters than the fit began with."""
    mine, saved = parameters_of(estimator), parameters_of(model)
    for name in sorted(set(mine) - set(MAY_DIFFER)):
        if _portrait(mine[name]) != _portrait(saved[name]):
            raise _Unlike(
                f"{path} is of a fit with {name}={saved[name]!r}, and the estimator has "
                f"{name}={mine[name]!r}. To go on with other parameters, load the file and call "
                "fit(resume=True)"
            )


def _portrait(value: Any) -> tuple[str, list[tuple[str, bytes]]]:
    """What a parameter is, in a form that compares."""
    parts = encoder()
    text = json.dumps(parts.value(python_number(value), "parameter"))
    return text, [(name, array.tobytes()) for name, array in parts.tensors.items()]


class Saving:
    """Saves a fit under way, as :class:`fastsgd.Checkpoint` says; called after every epoch, and
    by ``between_windows`` within one.

    Parameters
    ----------
    checkpoint : Checkpoint
    estimator : estimator
    publish : callable
        ``publish(estimator, progress)`` makes an estimator what the fit would return now.
    first : tuple of (int, int)
        Epochs of the run before this call, and rows of the next one.
    run : dict
        What a :class:`Resumed` is made of, beside the standing.
    resumed : Resumed or None
    """

    def __init__(
        self,
        checkpoint: Any,
        estimator: Any,
        publish: Callable[[Any, Any], None],
        first: Position,
        run: dict[str, Any],
        resumed: Resumed | None,
    ) -> None:
        if not isinstance(checkpoint, Checkpoint):
            raise TypeError(f"checkpoint must be a fastsgd.Checkpoint or None, got {checkpoint!r}")
        library()
        check_class(estimator)
        for name, value in parameters_of(estimator).items():
            encoder().value(value, f"parameters.{name}")  # or it is refused now
        self.checkpoint, self.estimator, self.publish = checkpoint, estimator, publish
        self.run, self.folder = run, Path(checkpoint.path)
        self.folder.mkdir(parents=True, exist_ok=True)
        files = files_of(self.folder)
        same = resumed is not None and resumed.path.parent.resolve() == self.folder.resolve()
        if files and files[-1][0] > first and not same:
            raise ValueError(
                f"{self.folder} has checkpoints of another fit, up to epoch {files[-1][0][0]}: go "
                "on from them with resume=, or take another folder"
            )
        self.last, self.rows, self.counted = time.monotonic(), 0, first[1]

    def __call__(self, progress: Progress) -> None:
        self._count(self.run["rows"])
        self.counted = 0
        if self._is_due():
            self._save(progress, 0)

    def between_windows(self, progress: Fit) -> None:
        """Save the fit in the middle of an epoch, where its state stands, if it is time."""
        state = progress.state
        assert state is not None
        row = state.row + state.batch_row
        if row == self.counted:
            return
        self._count(row)
        # A fit that is about to diverge is not worth a file.
        if self._is_due() and all(map(_are_finite, (*state.last_weights(), state.loss_sum))):
            self._save(progress, row)

    def _count(self, row: int) -> None:
        """Count the rows up to one of the epoch, which began anew if it was further already."""
        self.rows += row - self.counted if row >= self.counted else row
        self.counted = row

    def _is_due(self) -> bool:
        return self.checkpoint.is_due(time.monotonic() - self.last, self.rows)

    def _save(self, progress: Progress, row: int) -> None:
        """Write the file of this row of the epoch under way; 0 is the end of the last one."""
        model: Any = object.__new__(type(self.estimator))
        vars(model).update(vars(self.estimator))
        self.publish(model, progress)
        assert progress.standing is not None
        run = {"standing": progress.standing(), **self.run}
        epoch = model._continuation.state.epoch if row else model.history_["epoch"][-1]
        write(file_of(self.folder, (epoch, row)), *describe(model, state=True, run=run))
        prune(self.folder, (epoch, row), self.checkpoint.keep)
        self.last, self.rows = time.monotonic(), 0


def _are_finite(numbers: Any) -> bool:
    return bool(np.isfinite(numbers).all())
