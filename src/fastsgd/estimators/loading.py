"""``fastsgd.load``: an estimator from a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ..losses import CompiledLoss
from ..model_files.container import opened
from ..schedules import Schedule
from .classifier import SGDClassifier
from .mlp_classifier import MLPClassifier
from .mlp_regressor import MLPRegressor
from .model_parts import restore
from .oneclass import SGDOneClassSVM
from .regressor import SGDRegressor

__all__ = ["load"]

CLASSES: dict[str, type] = {
    kind.__name__: kind
    for kind in (MLPClassifier, MLPRegressor, SGDClassifier, SGDOneClassSVM, SGDRegressor)
}
"""The classes that a file may be of."""


def load(
    path: str | os.PathLike[str],
    *,
    loss: CompiledLoss | None = None,
    learning_rate: Schedule | Callable[[int, float], float] | None = None,
    scoring: Callable[..., float] | None = None,
) -> Any:
    """Load a model that its method ``save`` has written.

    Nothing in a file can run code: it holds numbers and text, and names objects of a fixed table
    alone. What it holds is checked before it is used.

    Parameters
    ----------
    path : str or path-like
        The file.
    loss : CompiledLoss, optional
        The loss of your own that the model was trained with, which no file can hold.
    learning_rate : Schedule or callable, optional
        The same of a callable learning rate.
    scoring : callable, optional
        The same of a scorer that is no name.

    Returns
    -------
    SGDClassifier, SGDRegressor, SGDOneClassSVM, MLPClassifier or MLPRegressor
        The fitted estimator. With the training state in the file it goes on, by ``partial_fit`` and
        ``fit(resume=True)``, to the bit as the saved one would.

    Raises
    ------
    ValueError
        If the file is not a whole model file, or was written by a later version; or if one of the
        other arguments is needed, or is given and not needed. The message names it.
    ImportError
        If the package safetensors is not installed.

    See Also
    --------
    SGDClassifier.save : Writes the file.

    Examples
    --------
    >>> import tempfile
    >>> import fastsgd
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
    >>> model = fastsgd.SGDClassifier(random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/model.safetensors")
    ...     loaded = fastsgd.load(f"{folder}/model.safetensors")
    >>> loaded.predict(X).tolist() == model.predict(X).tolist()
    True
    """
    given = {"loss": loss, "learning_rate": learning_rate, "scoring": scoring}
    with opened(path) as (description, tensors):
        model, _, needed = restore(CLASSES, description, tensors, given)
        for name, value in given.items():
            if value is not None and name not in needed:
                raise ValueError(f"{name} is in the file, and must not be given")
    return model
