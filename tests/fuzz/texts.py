"""Targets: text of svmlight and CSV files."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.datasets import load_svmlight_file
from support import check_model, refusal

from fastsgd import SGDClassifier, SGDRegressor
from fastsgd.data import open_source

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-", dir=MEMORY))
FEW: dict[str, Any] = {"max_iter": 1, "tol": None, "random_state": 0}
MOST_FEATURES = 10_000


def rows_of(path: Path, **options: Any) -> Any:
    """All blocks of a file, or None if it is refused."""
    try:
        return list(open_source(path, **options).blocks())
    except Exception as error:
        refusal(error)
        return None


def fit(path: Path, blocks: Any, **options: Any) -> None:
    """A fit of a file that could be read: a model, or a refusal."""
    X = blocks[0].X
    if X.shape[1] > MOST_FEATURES:
        return
    for kind in (SGDRegressor, SGDClassifier):
        model = kind(**FEW)
        try:
            model.fit(path, **options)
        except Exception as error:
            refusal(error)
            continue
        check_model(model, X)


def svmlight(data: bytes) -> None:
    """What is read is what scikit-learn reads of the whole text; a fit is a model or refused."""
    path = FOLDER / "rows.svmlight"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        blocks = rows_of(path)
        if blocks is None:
            return
        X, y = load_svmlight_file(str(path), dtype=blocks[0].X.dtype)
        found = sp.vstack([block.X for block in blocks], format="csr")
        assert found.nnz == X.nnz
        assert np.array_equal(found.data, X.data)
        assert np.array_equal(np.concatenate([block.y for block in blocks]), y)
        fit(path, blocks)


def csv(data: bytes) -> None:
    """Numbers that are finite, or a refusal; and a fit is a model or a refusal."""
    path = FOLDER / "rows.csv"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        blocks = rows_of(path, target="y")
        if not blocks:
            return
        for block in blocks:
            values = block.X.data if sp.issparse(block.X) else block.X
            assert np.isfinite(values).all()
            assert block.y is not None and len(block.y) == block.X.shape[0]
        fit(path, blocks, target="y")
