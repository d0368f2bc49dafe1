"""Targets: schedules and functions of the user's, which return, or are, what they must not be."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st
from problems import difference, table, train_core
from support import SIZES, Target, check_model, data_drawn, is_fitted, refusal, strict

import fastsgd
from fastsgd import SGDClassifier, SGDRegressor, reference
from fastsgd.losses import _PROTOTYPE, CompiledLoss
from fastsgd.problem import Lanes, Settings
from fastsgd.schedules import SCHEDULES, Schedule

NUMBERS = st.one_of(
    st.floats(0.001, 4.0),
    st.sampled_from([sign * size for size in SIZES for sign in (1.0, 1.0, -1.0)]),
    st.sampled_from([math.nan, math.inf, -math.inf]),
)
WHOLE = st.sampled_from((0, 1, 3, 7, -1, 2**31, 2**62, 2**63, 0.5, True, None))
ODD = (
    *(None, "0.1", b"1", [], [0.1], np.array([0.1]), np.float32(0.1), 1, True, 1j, {}),
    np.array(0.1),
)
rng = np.random.default_rng(0)
X = rng.normal(size=(20, 3))
Y = X[:, 0] - X[:, 1]
TABLES = (X, X.astype(np.float32), sp.csr_array(X))


class Mine(Exception):
    """An exception of the user's own."""


def function_of(values: list[Any]) -> Any:
    """A schedule that returns these values in turn; an exception among them is raised."""

    def rate(step: int, epoch: float) -> Any:
        value = values[step % len(values)]
        if isinstance(value, Exception):
            raise value
        return value

    return rate


@data_drawn
def _schedules(data: Any) -> None:
    """Constants: refused, or core and twin train alike. Functions: a model, a refusal, or their
    error."""
    kind = data.draw(st.sampled_from(SCHEDULES))
    if kind == "callable":
        values = data.draw(
            st.lists(st.one_of(NUMBERS, st.sampled_from(ODD), st.just(Mine("mine"))), min_size=1)
        )
        model = SGDRegressor(
            learning_rate=function_of(values),
            max_iter=2,
            tol=None,
            random_state=0,
            batch_size=data.draw(st.sampled_from((1, 7))),
            average=data.draw(st.booleans()),
        )
        x = data.draw(st.sampled_from(TABLES))
        with strict():
            try:
                model.fit(x, Y)
            except Mine:
                assert any(isinstance(value, Mine) for value in values)
                assert not is_fitted(model)
                return
            except Exception as error:
                error.add_note(f"{values=}")
                refusal(error)
                assert not is_fitted(model)
                return
            check_model(model, x)
        return
    names = ("power_t", "decay", "step_epochs", "total_epochs", "power", "final", "rise")
    constants: dict[str, Any] = {
        name: data.draw(NUMBERS) for name in names if data.draw(st.booleans())
    }
    if data.draw(st.booleans()):
        constants["warmup_steps"] = data.draw(WHOLE)
    try:
        schedule = Schedule(kind, **constants)
    except (ValueError, TypeError) as error:
        refusal(error)
        return
    eta0, mu = data.draw(st.floats(1e-4, 0.02)), data.draw(st.sampled_from((0.0, 0.5)))
    batch_size = data.draw(st.sampled_from((1, 4, 23)))
    of = Lanes(3, alpha=0.01, eta0=eta0, mu=mu)
    settings = Settings(schedule=schedule, batch_size=batch_size, seed=3)
    if schedule.total_epochs is None:
        return
    examples = table().data(np.float64, "dense", sign=False)
    twin = reference.State(examples, of, settings)
    with np.errstate(all="ignore"):
        try:
            for _ in range(3):
                reference.run_epoch(examples, of, settings, twin)
        except ValueError as error:
            refusal(error)
            assert reaches(lambda: train_core(examples, of, settings)) == "refused"
            return
    core = train_core(examples, of, settings)
    gap = difference(core, twin, settings)
    assert gap < 1e-11, (schedule, eta0, mu, batch_size, gap)


def reaches(work: Any) -> str:
    """ "refused" by a ValueError, or "done"."""
    try:
        work()
    except ValueError:
        return "refused"
    return "done"


class Table:
    """What a user's loss returns: its numbers are set before each fit."""

    values: ClassVar[list[float]] = [0.0]
    slopes: ClassVar[list[float]] = [0.0]
    writes = True


def written(numbers: list[float], z: Any, out: Any, n: int) -> None:
    if Table.writes:
        for i in range(n):
            out[i] = numbers[i % len(numbers)] * (1.0 if i % 2 else z[i])


@_PROTOTYPE
def value(z: Any, y: Any, out: Any, n: int) -> None:
    written(Table.values, z, out, n)


@_PROTOTYPE
def slope(z: Any, y: Any, out: Any, n: int) -> None:
    written(Table.slopes, z, out, n)


@data_drawn
def _losses(data: Any) -> None:
    """A loss of the user's that says anything: a finite model, or a refusal."""
    Table.values = data.draw(st.lists(NUMBERS, min_size=1, max_size=5))
    Table.slopes = data.draw(st.lists(NUMBERS, min_size=1, max_size=5))
    Table.writes = data.draw(st.integers(0, 9)) > 0
    try:
        loss = CompiledLoss(
            value,
            slope,
            name="loss",
            smoothness=data.draw(NUMBERS),
            infimum=data.draw(st.sampled_from((0.0, -math.inf, 1.0, math.nan))),
            targets=data.draw(
                st.sampled_from(("real", "sign", ("real", "sign"), "count", "x", ()))
            ),
        )
    except (ValueError, TypeError) as error:
        refusal(error)
        return
    kind = data.draw(st.sampled_from((SGDRegressor, SGDClassifier)))
    model = kind(
        loss,
        max_iter=data.draw(st.sampled_from((1, 3))),
        tol=data.draw(st.sampled_from((None, 1e-3))),
        random_state=0,
        learning_rate=data.draw(st.sampled_from(("auto", "constant", "invscaling", "adaptive"))),
        eta0=data.draw(st.sampled_from((None, 1e-3))),
        batch_size=data.draw(st.sampled_from((1, 7))),
        penalty=data.draw(st.sampled_from(("l2", "l1", None))),
        optimizer=data.draw(st.sampled_from(("sgd", "adagrad"))),
        on_divergence=data.draw(st.sampled_from(("raise", "backoff"))),
        average=data.draw(st.booleans()),
    )
    x = data.draw(st.sampled_from(TABLES))
    y = np.abs(Y) if kind is SGDRegressor else np.arange(20) % data.draw(st.integers(2, 3))
    with strict():
        try:
            model.fit(x, y)
        except Exception as error:
            error.add_note(f"{model} {Table.values=} {Table.slopes=}")
            refusal(error)
            assert not is_fitted(model)
            return
        check_model(model, x)


@data_drawn
def _minimize(data: Any) -> None:
    """A gradient that returns anything: finite parameters, a refusal, or the user's own error."""
    sizes = data.draw(st.sampled_from((3, (2, 2), "two", "dict", 0, "words")))
    theta0: Any = {
        3: np.zeros(3),
        (2, 2): np.ones((2, 2), dtype=np.float32),
        "two": [np.zeros(2), 1.0],
        "dict": {"w": np.zeros(2), "b": np.zeros(())},
        0: np.zeros(0),
        "words": ["a"],
    }[sizes]
    odd = (*ODD, (0.0,), (1.0, None), (None, np.zeros(3)), ("a", np.zeros(3)), (0.0, np.zeros(4)))
    returned = st.one_of(
        st.sampled_from(odd),
        st.just(Mine("mine")),
        NUMBERS,
    )
    known = data.draw(st.lists(returned, min_size=1, max_size=4))
    calls = [0]

    def like(theta: Any, number: Any) -> Any:
        if isinstance(theta, dict):
            return {name: like(each, number) for name, each in theta.items()}
        if isinstance(theta, (list, tuple)):
            return type(theta)(like(each, number) for each in theta)
        with np.errstate(all="ignore"):
            return np.full_like(theta, number)

    def gradient(theta: Any, rows: Any) -> Any:
        calls[0] += 1
        found = known[calls[0] % len(known)]
        if isinstance(found, Mine):
            raise found
        return (found, like(theta, found)) if type(found) is float else found

    options: dict[str, Any] = {
        "batch_size": data.draw(st.sampled_from((1, 3, 0, -1, 2**62, 1.5, "a"))),
        "optimizer": data.draw(st.sampled_from(("sgd", "adam", "adagrad", "x", None))),
        "learning_rate": data.draw(st.sampled_from(("constant", "cosine", "x", None, len))),
        "eta0": data.draw(st.one_of(st.none(), NUMBERS)),
        "alpha": data.draw(st.one_of(st.just(0.0), NUMBERS, st.sampled_from(ODD))),
        "max_iter": data.draw(st.sampled_from((1, 2, 0, 1.5))),
        "average": data.draw(st.sampled_from((False, True, 0.5, 3, -1))),
        "clip_norm": data.draw(st.one_of(st.none(), NUMBERS)),
    }
    keep = data.draw(st.sets(st.sampled_from(sorted(options)), max_size=3))
    options = {name: options[name] for name in sorted(keep)}
    options.setdefault("max_iter", 2)
    with strict():
        try:
            found = fastsgd.minimize(gradient, theta0, 5, random_state=0, **options)
        except Mine:
            assert any(isinstance(each, Mine) for each in known)
            return
        except Exception as error:
            error.add_note(f"{known=} {options=} {theta0=}")
            refusal(error)
            return
    leaves = found.x.values() if isinstance(found.x, dict) else found.x
    for leaf in leaves if isinstance(leaves, (list, tuple)) else [*leaves]:
        assert np.isfinite(leaf).all(), (known, options)


schedules: Target = _schedules
losses: Target = _losses
minimize: Target = _minimize
