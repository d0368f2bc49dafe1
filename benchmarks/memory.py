"""``python benchmarks/memory.py LAYOUT``: how far one ``fit`` raises the peak memory.

Prints, as JSON, the growth of the resident set over its size when X and y exist and a small fit has
loaded all code, beside the size of X and the budget: 10 % of X plus 40 bytes a row. Linux only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from fastsgd import SGDClassifier

LAYOUTS = {  # of X, and whether to standardise
    "dense": ("float32", False),
    "csr": ("float32", False),
    "float16": ("float16", False),
    "uint8": ("uint8", False),
    "dense, standardised": ("float32", True),
    "uint8, standardised": ("uint8", True),
}
ROWS, FEATURES, NONZEROS = 1_000_000, 28, 15


def resident(field: str) -> int:
    """Bytes of the resident set: "VmRSS" now, "VmHWM" at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def make_table(layout: str, rows: int) -> Any:
    """Random X: dense (rows, FEATURES) or float32 CSR with NONZEROS a row."""
    rng = np.random.default_rng(0)
    if layout != "csr":
        dtype = LAYOUTS[layout][0]
        X = np.empty((rows, FEATURES), dtype=dtype)
        for first in range(0, rows, 1000):  # no other array as large as X is ever there
            part = X[first : first + 1000]
            part[:] = rng.integers(0, 256, part.shape) / (1 if dtype == "uint8" else 256)
        return X
    values = rng.standard_normal(rows * NONZEROS, dtype=np.float32)
    indices = rng.integers(0, 1000, (rows, NONZEROS), dtype=np.int32)
    indices += 1000 * np.arange(NONZEROS, dtype=np.int32)  # distinct and sorted
    indptr = np.arange(0, values.size + 1, NONZEROS, dtype=np.int32)
    return sp.csr_array((values, indices.ravel(), indptr), shape=(rows, 1000 * NONZEROS))


def measure(layout: str, rows: int = ROWS) -> dict[str, Any]:
    """Fit once; a kernel that lets it reset the peak makes the figure exact."""
    X = make_table(layout, rows)
    y = np.random.default_rng(1).integers(0, 2, rows)
    model = SGDClassifier("log_loss", max_iter=2, tol=None, standardize=LAYOUTS[layout][1])
    model.fit(X[:1000], y[:1000])
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
    before = resident("VmRSS")
    model.fit(X, y)
    growth = resident("VmHWM") - before
    size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes if layout == "csr" else X.nbytes
    return {
        "layout": layout,
        "rows": rows,
        "x_bytes": size,
        "growth_bytes": growth,
        "budget_bytes": size // 10 + 40 * rows,
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
