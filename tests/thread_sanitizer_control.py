"""A data race that ThreadSanitizer must report: a thread overwrites the rows that a fit reads."""

import ctypes
import threading

import numpy as np

from fastsgd import SGDRegressor

X = np.ones((2000, 50))
over = threading.Event()
memset = ctypes.CDLL(None).memset  # ThreadSanitizer's, which says what it writes
memset.argtypes = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t


def overwrite() -> None:
    while not over.is_set():
        memset(X.ctypes.data, 0, X.nbytes)


thread = threading.Thread(target=overwrite)
thread.start()
SGDRegressor(max_iter=20, tol=None, random_state=0).fit(X, np.ones(2000))
over.set()
thread.join()
