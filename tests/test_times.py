"""Times are no numbers, in whatever they come; classes may be times."""

import datetime as dt

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastsgd import (
    GridSearchCV,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    path,
)
from fastsgd.insight import gradient_noise

pd = pytest.importorskip("pandas")

N = 30
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 2))
Y = X[:, 0]
DAYS = np.datetime64("2020-01-01") + np.arange(N) % 3
SPANS = np.arange(N).astype("m8[s]")
MOMENTS = [dt.datetime(2020, 1, 1 + i % 3) for i in range(N)]
ZONE = dt.UTC
FEW = {"max_iter": 2, "tol": None}
GRID = {"alpha": [0.1]}


def polars():
    return pytest.importorskip("polars")


COLUMNS = {
    "array": lambda: DAYS,
    "array of spans": lambda: SPANS,
    "array of objects": lambda: np.array(MOMENTS, dtype=object),
    "one object among numbers": lambda: np.array([*range(N - 1), MOMENTS[0]], dtype=object),
    "list of scalars": lambda: list(DAYS),
    "list of datetimes": lambda: MOMENTS,
    "list of dates": lambda: [moment.date() for moment in MOMENTS],
    "list of hours": lambda: [moment.time() for moment in MOMENTS],
    "list of spans": lambda: [dt.timedelta(i) for i in range(N)],
    "tuple with a zone": lambda: tuple(moment.replace(tzinfo=ZONE) for moment in MOMENTS),
    "list of timestamps": lambda: list(pd.to_datetime(pd.Series(MOMENTS))),
    "series": lambda: pd.to_datetime(pd.Series(MOMENTS)),
    "series of spans": lambda: pd.to_timedelta(pd.Series(SPANS)),
    "series with a zone": lambda: pd.Series(MOMENTS).dt.tz_localize("Europe/Berlin"),
    "series of periods": lambda: pd.Series(pd.period_range("2020", periods=N)),
    "series of objects": lambda: pd.Series(MOMENTS, dtype=object),
    "series of categories": lambda: pd.Series(MOMENTS).astype("category"),
    "index": lambda: pd.DatetimeIndex(MOMENTS),
    "polars": lambda: polars().Series(MOMENTS),
    "polars dates": lambda: polars().Series([moment.date() for moment in MOMENTS]),
    "polars hours": lambda: polars().Series([moment.time() for moment in MOMENTS]),
    "polars spans": lambda: polars().Series([dt.timedelta(i) for i in range(N)]),
    "polars with a zone": lambda: polars().Series([m.replace(tzinfo=ZONE) for m in MOMENTS]),
    "polars objects": lambda: polars().Series(MOMENTS, dtype=polars().Object),
}


def table_of(column, *, alone):
    """Features with the column, in a container of its own kind."""
    if type(column).__module__.startswith("polars"):
        frame = polars().DataFrame({"when": column})
        return frame if alone else frame.with_columns(polars().Series("size", Y))
    if type(column).__module__.startswith("pandas"):
        frame = pd.DataFrame({"when": column})
        return frame if alone else frame.assign(size=Y)
    if isinstance(column, np.ndarray):
        return column[:, None] if alone else np.column_stack([column.astype(object), Y])
    return [[value] if alone else [value, 1.0] for value in column]


@pytest.mark.parametrize("name", COLUMNS)
def test_times_are_no_numbers(name):
    """In y, weights, starts and X, of every estimator, of searches, paths and insight."""
    column = COLUMNS[name]()
    fitted = SGDRegressor(**FEW).fit(X, Y)
    before = fitted.coef_.copy()
    labels = np.arange(N) % 2
    with pytest.raises(ValueError, match="y holds times"):
        fitted.fit(X, column)
    with pytest.raises(ValueError, match="y holds times"):
        fitted.partial_fit(X, column)
    with pytest.raises(ValueError, match="y_val holds times"):
        fitted.fit(X, Y, X_val=X, y_val=column)
    with pytest.raises(ValueError, match="y holds times"):
        GridSearchCV(SGDRegressor(**FEW), GRID).fit(X, column)
    with pytest.raises(ValueError, match="y holds times"):
        path(X, column)
    with pytest.raises(ValueError, match="y holds times"):
        gradient_noise(fitted, X, column)
    with pytest.raises(ValueError, match="sample_weight holds times"):
        SGDClassifier(**FEW).fit(X, labels, sample_weight=column)
    with pytest.raises(ValueError, match="sample_weight holds times"):
        SGDOneClassSVM(**FEW).partial_fit(X, sample_weight=column)
    with pytest.raises(ValueError, match="coef_init holds times"):
        fitted.fit(X, Y, coef_init=column)
    with pytest.raises(ValueError, match="offset_init holds times"):
        SGDOneClassSVM(**FEW).fit(X, offset_init=column)
    with pytest.raises(ValueError, match="alphas holds times"):
        path(X, Y, alphas=column)
    for alone in (True, False):
        table = table_of(column, alone=alone)
        for estimator in (SGDClassifier, SGDRegressor, SGDOneClassSVM):
            with pytest.raises(ValueError, match="X holds times"):
                estimator(**FEW).fit(table, labels)
        with pytest.raises(ValueError, match="X holds times"):
            GridSearchCV(SGDClassifier(**FEW), GRID).fit(table, labels)
        with pytest.raises(ValueError, match="X holds times"):
            fitted.predict(table)
        with pytest.raises(ValueError, match="X_val holds times"):
            fitted.fit(X, Y, X_val=table, y_val=Y)
    assert_array_equal(fitted.coef_, before)


LABELS = {name: make for name, make in COLUMNS.items() if name != "one object among numbers"}


@pytest.mark.parametrize("name", LABELS)
def test_classes_that_are_times(name):
    """Those that are datetime64 or timedelta64 as arrays are classes; others are refused."""
    column, rows = LABELS[name]()[: N // 2], X[: N // 2]
    if np.asarray(column).dtype.kind in "Mm":
        model = SGDClassifier(**FEW).fit(rows, column)
        assert_array_equal(model.classes_, np.unique(np.asarray(column)))
        assert set(model.predict(rows)) <= set(np.asarray(column))
        return
    with pytest.raises(ValueError, match="y holds times that are no datetime64 or timedelta64"):
        SGDClassifier(**FEW).fit(rows, column)


@pytest.mark.parametrize("make", (np.asarray, list, pd.Series, lambda a: polars().Series(a)))
def test_not_a_time_is_no_class(make):
    days = DAYS.copy()
    days[3] = np.datetime64("NaT", "D")
    with pytest.raises(ValueError, match="y contains NaT"):
        SGDClassifier(**FEW).fit(X, make(days))


def test_classes_that_cannot_be_compared():
    numbers, days = np.arange(N) % 3, DAYS
    for first, second in ((numbers, days), (days, numbers)):
        with pytest.raises(ValueError, match=r"y.*which cannot be compared with `self.classes_`"):
            SGDClassifier(**FEW).partial_fit(X, second, classes=np.unique(first))
        with pytest.raises(ValueError, match="`y_val` has classes of"):
            SGDClassifier(**FEW).fit(X, first, X_val=X, y_val=second)


@pytest.mark.parametrize(
    "bad", ("a", ["a", "b"], [1j, 2.0], np.ones(2) * 1j, [10**400, 1], [{}, 1])
)
def test_what_is_no_number_is_named(bad):
    with pytest.raises(ValueError, match="coef_init must be real numbers"):
        SGDRegressor(**FEW).fit(X, Y, coef_init=bad)
    with pytest.raises(ValueError, match="offset_init must be real numbers"):
        SGDOneClassSVM(**FEW).fit(X, offset_init=bad)
    with pytest.raises(ValueError, match="sample_weight"):
        SGDRegressor(**FEW).fit(X[:2], Y[:2], sample_weight=bad)


def test_numbers_in_the_same_containers_are_numbers():
    """What holds no time is taken."""
    expected = SGDRegressor(**FEW, random_state=0).fit(X, Y).coef_
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1].astype(object)})
    tables = X.tolist(), X.astype(object), frame, polars().DataFrame({"a": X[:, 0], "b": X[:, 1]})
    for table in tables:
        for y in (Y, Y.tolist(), Y.astype(object), pd.Series(Y), polars().Series(Y)):
            model = SGDRegressor(**FEW, random_state=0).fit(table, y, sample_weight=[1.0] * N)
            np.testing.assert_allclose(model.coef_, expected, rtol=1e-12)


def test_a_lazy_frame_is_not_collected():
    with pytest.raises(ValueError, match="array element"):
        SGDRegressor(**FEW).fit(polars().DataFrame({"a": Y}).lazy(), Y)
