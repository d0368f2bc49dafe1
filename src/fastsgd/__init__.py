"""fastsgd: stochastic gradient descent on a CPU, as fast as its memory, with scikit-learn's API.

Linear models: :class:`SGDClassifier`, :class:`SGDRegressor`, :class:`SGDOneClassSVM`; networks:
:class:`MLPClassifier`, :class:`MLPRegressor`; searches by cross-validation: :class:`GridSearchCV`,
:class:`RandomizedSearchCV`; :func:`path` for a path of penalties; :func:`minimize` for a model of
one's own. The solver behind the estimators: :mod:`fastsgd.solver`; the same in plain NumPy:
:mod:`fastsgd.reference`. ``FASTSGD_ISA`` (scalar, avx2, avx512, neon) forces an instruction set.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .exceptions import DivergenceError, FeatureScaleWarning, TargetScaleWarning

if TYPE_CHECKING:
    from .estimators import (
        MLPClassifier,
        MLPRegressor,
        SGDClassifier,
        SGDOneClassSVM,
        SGDRegressor,
        load,
    )
    from .minimization import minimize
    from .model_files.checkpoint import Checkpoint
    from .model_selection import GridSearchCV, RandomizedSearchCV, path
    from .versions import show_versions

__version__ = "0.2.0"
__all__ = [
    "Checkpoint",
    "DivergenceError",
    "FeatureScaleWarning",
    "GridSearchCV",
    "MLPClassifier",
    "MLPRegressor",
    "RandomizedSearchCV",
    "SGDClassifier",
    "SGDOneClassSVM",
    "SGDRegressor",
    "TargetScaleWarning",
    "__version__",
    "load",
    "minimize",
    "path",
    "show_versions",
]

_MODULES = {
    ".estimators": (
        *("MLPClassifier", "MLPRegressor"),
        *("SGDClassifier", "SGDOneClassSVM", "SGDRegressor", "load"),
    ),
    ".minimization": ("minimize",),
    ".model_files.checkpoint": ("Checkpoint",),
    ".model_selection": ("GridSearchCV", "RandomizedSearchCV", "path"),
    ".versions": ("show_versions",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import the estimators, and with them scikit-learn, when one is asked for."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
