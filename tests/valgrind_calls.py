"""Calls of every kind, once each, for tests/valgrind.sh: small, since each step takes 50 times.

The bytes of what a call gave are written to nowhere: Memcheck says whether all of them were set.
"""

import contextlib
import os
import sys
import warnings

import numpy as np
from public_calls import bits_of, calls

from fastsgd import SGDRegressor

CONTROL = "rows that nobody wrote"
"""A fit that Memcheck must report."""


def bytes_of(bits):
    """All bytes in what ``bits_of`` gave."""
    if isinstance(bits, tuple):
        return b"".join(map(bytes_of, bits))
    return bits if isinstance(bits, bytes) else b""


def main(*names):
    warnings.simplefilter("ignore")
    if names == (CONTROL,):
        with contextlib.suppress(ValueError):  # whatever values are there
            SGDRegressor(max_iter=1, tol=None).fit(np.empty((300, 50)), np.ones(300))
        return
    with open(os.devnull, "wb", buffering=0) as nowhere:
        for name, call in calls(24, 5, 2).items():
            if name in names or not names:
                nowhere.write(bytes_of(bits_of(call.make(call.subject()))))
                print(name, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
