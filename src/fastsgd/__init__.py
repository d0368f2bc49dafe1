"""fastsgd: stochastic gradient descent on a CPU, as fast as its memory, with scikit-learn's API.

Estimators: :class:`SGDClassifier`, :class:`SGDRegressor`, :class:`SGDOneClassSVM`. The solver
behind them, lane by lane: :mod:`fastsgd.solver`; the same in plain NumPy:
:mod:`fastsgd.reference`. ``FASTSGD_ISA`` (scalar, avx2, avx512, neon) forces an instruction set.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .exceptions import CostWarning, DivergenceError, FeatureScaleWarning

if TYPE_CHECKING:
    from .estimators import SGDClassifier, SGDOneClassSVM, SGDRegressor

__version__ = "0.1.0"
__all__ = [
    "CostWarning",
    "DivergenceError",
    "FeatureScaleWarning",
    "SGDClassifier",
    "SGDOneClassSVM",
    "SGDRegressor",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import the estimators, and with them scikit-learn, when one is asked for."""
    if name.startswith("SGD") and name in __all__:
        return getattr(importlib.import_module(".estimators", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
