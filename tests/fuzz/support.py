"""What fuzz targets share: a target is a function of bytes that raises where there is a bug."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastsgd import DivergenceError

Target = Callable[[bytes], object]

FUZZED = settings(
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)

OWN = ("eta . alpha reached 1", "SGD diverged")
"""Beginnings of the RuntimeWarnings that are the library's own, and not NumPy's."""

SIZES = (
    *(0.0, -0.0, 5e-324, 1e-300, 1e-150, 1e-45, 1e-38, 1e-8, 0.1, 0.5, 1.0, 2.0, 10.0, 1e3),
    *(1e8, 1e15, 1e19, 1e38, 1e39, 1e100, 1e150, 1e160, 1e300, 1.7e308),
)
"""Sizes at which squares and casts of float32 and float64 begin to under- and overflow."""


def drawn(strategy: st.SearchStrategy[Any]) -> Callable[[Callable[[Any], object]], Target]:
    """Make a target of a check of a value that the strategy draws, from bytes instead of chance."""

    def target_of(check: Callable[[Any], object]) -> Target:
        @FUZZED
        @given(strategy)
        def test(value: Any) -> None:
            try:
                check(value)
            except BaseException as error:
                error.add_note(f"{check.__name__}: {value!r:.2000}")
                raise

        target: Target = test.hypothesis.fuzz_one_input  # type: ignore[attr-defined]
        return target

    return target_of


def data_drawn(check: Callable[[Any], object]) -> Target:
    """Make a target of a check that draws as it goes."""
    return drawn(st.data())(check)


@contextlib.contextmanager
def strict() -> Iterator[None]:
    """NumPy's RuntimeWarnings are errors; warnings of the library's own are not shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        for words in OWN:
            warnings.filterwarnings("ignore", words, RuntimeWarning)
        yield


def numbers_of(model: Any) -> list[Any]:
    """All the numbers that a fitted model predicts by."""
    if hasattr(model, "coefs_"):
        return [*model.coefs_, *model.intercepts_]
    end = model.offset_ if hasattr(model, "offset_") else model.intercept_
    return [model.coef_, end]


def check_model(model: Any, X: Any) -> None:
    """A fitted model is of finite numbers, and predicts every row."""
    assert all(np.isfinite(each).all() for each in numbers_of(model))
    predicted = model.predict(X)
    assert predicted.shape[0] == X.shape[0]
    if np.issubdtype(predicted.dtype, np.number):
        assert not np.isnan(predicted).any()


def is_fitted(model: Any) -> bool:
    return hasattr(model, "coef_") or hasattr(model, "coefs_")


def is_of_others(error: Exception) -> bool:
    """Whether an error came up in scikit-learn's code, not in the library's."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    ours = [place for place, file in enumerate(files) if "/fastsgd/" in file]
    theirs = [place for place, file in enumerate(files) if "/sklearn/" in file]
    return bool(theirs) and (not ours or theirs[-1] > ours[-1])


def refusal(error: Exception) -> str:
    """What kind of refusal an error is; it must say something.

    Raises
    ------
    AssertionError
        If it is neither a ValueError nor a TypeError, or says next to nothing.
    """
    if isinstance(error, RuntimeWarning) and is_of_others(error):
        return "a warning of scikit-learn's"
    assert isinstance(error, (ValueError, TypeError)), repr(error)
    assert len(str(error)) > 10, repr(error)
    if isinstance(error, DivergenceError):
        for each in (error.coef_, error.intercept_):
            assert each is None or np.isfinite(each).all()
        return "diverged"
    return "refused"
