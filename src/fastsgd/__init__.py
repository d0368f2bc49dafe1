"""fastsgd: stochastic gradient descent on a CPU, as fast as its memory, with scikit-learn's API.

Estimators: :class:`SGDClassifier`, :class:`SGDRegressor`, :class:`SGDOneClassSVM`; with a search by
cross-validation :class:`SGDClassifierCV`, :class:`SGDRegressorCV`; :func:`path` for a path of
penalties. The solver behind them, lane by lane: :mod:`fastsgd.solver`; the same in plain NumPy:
:mod:`fastsgd.reference`. ``FASTSGD_ISA`` (scalar, avx2, avx512, neon) forces an instruction set.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .exceptions import (
    CostWarning,
    DivergenceError,
    FeatureScaleWarning,
    TargetScaleWarning,
)

if TYPE_CHECKING:
    from .estimators import (
        SGDClassifier,
        SGDClassifierCV,
        SGDOneClassSVM,
        SGDRegressor,
        SGDRegressorCV,
        path,
    )

__version__ = "0.1.0"
__all__ = [
    "CostWarning",
    "DivergenceError",
    "FeatureScaleWarning",
    "SGDClassifier",
    "SGDClassifierCV",
    "SGDOneClassSVM",
    "SGDRegressor",
    "SGDRegressorCV",
    "TargetScaleWarning",
    "__version__",
    "path",
]


def __getattr__(name: str) -> Any:
    """Import the estimators, and with them scikit-learn, when one is asked for."""
    if name in __all__:
        return getattr(importlib.import_module(".estimators", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
