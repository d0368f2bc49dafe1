"""Checkpoints of a fit: when one is due, and the files in their folder."""

from __future__ import annotations

import math
import os
import re
from numbers import Integral, Real
from pathlib import Path
from typing import Any

__all__ = ["Checkpoint", "Position", "file_of", "files_of", "prune"]

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
"""Seconds of a unit."""

DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h)")
NAME = re.compile(r"epoch-(\d{6,18})(?:-row-(\d{12,18}))?\.safetensors")
LEFT = re.compile(r"\.epoch-\d{6,18}(-row-\d{12,18})?\.safetensors\.[0-9a-f]{8}\.tmp")

Position = tuple[int, int]
"""Epochs that are done, and rows of the next one."""


class Checkpoint:
    """Save a fit while it runs, so that it can go on after a crash: ``fit(..., checkpoint=...)``.

    At the end of an epoch the estimator is written as it stands, with its training state, once so
    much time has passed or so many rows were trained on since it was last written. Rows of a source
    that do not fit into ``pool_bytes`` of memory are trained on in windows, and the fit is then
    saved between two windows of an epoch too; a fit on a cluster between two rounds. One that was
    killed, at any moment, goes on with ``fit(X, y, resume=path)`` of an estimator with the same
    parameters, on the same rows, and ends with the bits of one that was never stopped.

    Parameters
    ----------
    path : str or path-like
        A folder, which is made if it is not there. Its files are named by the epochs that are done,
        such as "epoch-000020.safetensors", and by the rows of the next one, such as
        "epoch-000020-row-000001048576.safetensors"; :func:`fastsgd.load` reads each of them.
    every : str, float or None, default="10 min"
        Time between two checkpoints: a text such as "30 s", "10 min" or "2 h", or a number of
        seconds; 0 is after every epoch and every window. None asks for ``rows`` alone.
    rows : int or None, default=None
        Rows between two checkpoints, those of each epoch counted anew; whichever comes first. On a
        cluster, rows of the largest shard.
    keep : int, default=3
        How many files to keep, the newest.

    Raises
    ------
    ValueError
        If an argument is out of its range; the message names it.
    TypeError
        If ``path`` is none.

    See Also
    --------
    load : Reads a checkpoint as a model.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastsgd import Checkpoint, SGDClassifier
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
    >>> model = SGDClassifier(max_iter=5, tol=None, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saving = Checkpoint(folder, every=0, keep=2)
    ...     _ = model.fit(X, y, checkpoint=saving, resume=folder)  # nothing to go on from yet
    ...     sorted(os.listdir(folder))
    ['epoch-000004.safetensors', 'epoch-000005.safetensors']
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: str | float | None = "10 min",
        *,
        rows: int | None = None,
        keep: int = 3,
    ) -> None:
        self.path, self.every, self.rows, self.keep = os.fspath(path), every, rows, keep
        self.seconds = _seconds(every)
        if not _is_count(keep):
            raise ValueError(f"keep must be a whole number from 1, got {keep!r}")
        if rows is not None and not _is_count(rows):
            raise ValueError(f"rows must be a whole number from 1, or None, got {rows!r}")
        if every is None and rows is None:
            raise ValueError("every and rows must not both be None: one says when to save")

    def __repr__(self) -> str:
        others = f"every={self.every!r}, rows={self.rows!r}, keep={self.keep!r}"
        return f"Checkpoint({self.path!r}, {others})"

    def is_due(self, seconds: float, rows: int) -> bool:
        """Whether to save, so long and so many rows after the last time.

        Parameters
        ----------
        seconds : float
            Time since the last checkpoint, or since the fit began.
        rows : int
            Rows that were trained on in that time.

        Returns
        -------
        bool
            Whether one of the two is enough.
        """
        return seconds >= self.seconds or (self.rows is not None and rows >= self.rows)


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _seconds(every: Any) -> float:
    """A duration in seconds; infinite for None."""
    if every is None:
        return math.inf
    if isinstance(every, str):
        found = DURATION.fullmatch(every.strip())
        if found:
            return float(found[1]) * UNITS[found[2]]
    elif isinstance(every, Real) and not isinstance(every, bool) and 0.0 <= float(every) < math.inf:
        return float(every)
    raise ValueError(
        f'every must be a time such as "30 s", "10 min" or "2 h", or seconds from 0, got {every!r}'
    )


def files_of(folder: Path) -> list[tuple[Position, Path]]:
    """Positions and files of the checkpoints in a folder, the oldest first; of none, none."""
    if not folder.is_dir():
        return []
    names = ((NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted(((int(match[1]), int(match[2] or 0)), path) for match, path in names if match)


def file_of(folder: Path, position: Position) -> Path:
    """The file of a checkpoint."""
    epoch, row = position
    return folder / (f"epoch-{epoch:06d}" + f"-row-{row:012d}" * (row > 0) + ".safetensors")


def prune(folder: Path, position: Position, keep: int) -> None:
    """Remove what is older than the newest files, and what a crash has left behind.

    Files of later positions than the one just written are those that could not be read, or of an
    epoch that was begun anew.
    """
    files = files_of(folder)
    old = [path for at, path in files if at <= position][:-keep]
    left = [path for path in folder.iterdir() if LEFT.fullmatch(path.name)]
    for path in (*old, *(path for at, path in files if at > position), *left):
        path.unlink(missing_ok=True)
