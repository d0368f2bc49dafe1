"""Model selection: many models of the same rows in shared passes over X."""

from .path import Path, path
from .search import SGDClassifierCV, SGDRegressorCV

__all__ = ["Path", "SGDClassifierCV", "SGDRegressorCV", "path"]
