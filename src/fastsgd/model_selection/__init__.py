"""Model selection: many models of the same rows in shared passes over X."""

from .candidates import ALPHAS
from .path import Path, path
from .search import GridSearchCV, RandomizedSearchCV

__all__ = ["ALPHAS", "GridSearchCV", "Path", "RandomizedSearchCV", "path"]
