"""Linear models of rows on a Dask cluster: extra "dask".

Rows are S shards, each of which trains a part of its epoch from common weights; the mean of what
they come to is what the next round starts from (docs/cluster.md). The model does not depend, to the
bit, on how many workers there are, on where shards are, and on whether workers die or come.
"""

from .estimators import SGDClassifier, SGDRegressor
from .search import GridSearchCV, RandomizedSearchCV, path

__all__ = ["GridSearchCV", "RandomizedSearchCV", "SGDClassifier", "SGDRegressor", "path"]
