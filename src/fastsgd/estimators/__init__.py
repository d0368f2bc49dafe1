"""The estimators: names, labels and shapes as scikit-learn has them, in front of the solver.

A parameter that scikit-learn has means what it means there. What differs is documented where it
stands: ``learning_rate="auto"`` is the default, a stopping loss is the objective itself, a warm
start goes on with everything, and every class of a one-vs-rest problem is a lane of one pass over
X.
"""

from .classifier import SGDClassifier
from .loading import load
from .mlp_classifier import MLPClassifier
from .mlp_regressor import MLPRegressor
from .oneclass import SGDOneClassSVM
from .regressor import SGDRegressor

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
    "SGDClassifier",
    "SGDOneClassSVM",
    "SGDRegressor",
    "load",
]
