"""The explorer: its paths against runs of the solver, its gradients, its page in a browser."""

import json
import re
import shutil
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from fastsgd import DivergenceError, SGDClassifier, SGDOneClassSVM, SGDRegressor, reference, solver
from fastsgd.__main__ import main
from fastsgd.insight import explore, gradient_noise
from fastsgd.insight.explore import HELD, NO_CLIP, PROBLEMS, SCHEDULES, sine_loss
from fastsgd.insight.posed import pose
from fastsgd.parameters import seed_of
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.sampling import order
from fastsgd.schedules import Schedule

rng = np.random.default_rng(0)
X = rng.normal(size=(90, 5)) @ rng.normal(size=(5, 5))
SCORE = X @ [1.0, -2.0, 0.5, 0.0, 1.0] + 0.7
Y = SCORE + rng.normal(size=90)
LABELS = np.where(SCORE + 2.0 * rng.normal(size=90) > 0, "up", "down")
FEW = {"steps": 40, "schedules": ("constant", "cosine"), "batch_sizes": (1, 8)}


@cache
def found(problem):
    """The default exploration of a built-in problem."""
    return explore(problem)


@cache
def yours(kind):
    """An exploration of a user's own model."""
    if kind == "regression":
        return explore(X=X, y=Y, estimator=SGDRegressor(alpha=0.1, random_state=0), **FEW)
    if kind == "float32":
        model = SGDClassifier("log_loss", random_state=0, class_weight="balanced")
        return explore(X=X.astype(np.float32), y=LABELS, estimator=model, **FEW)
    if kind == "intercept":
        coordinates = ("intercept", 3)
        return explore(X=X, y=Y, estimator=SGDRegressor(), coordinates=coordinates, **FEW)
    assert kind == "hinge on CSR"
    model = SGDClassifier("hinge", random_state=0, penalty="l1")
    return explore(X=sp.csr_array(X), y=LABELS, estimator=model, coordinates=(4, 1), **FEW)


KINDS = ("regression", "float32", "intercept", "hinge on CSR")
EVERY = (*PROBLEMS, *KINDS)


def exploration(name):
    return found(name) if name in PROBLEMS else yours(name)


# ------------------------------------------------------------------ paths


@pytest.mark.parametrize("problem", PROBLEMS)
def test_paths_are_those_of_the_solver_bit_for_bit(problem):
    """Of nouns made by hand, not by the explorer: an epoch a call, and each step a call."""
    one = found(problem)
    assert len(one.runs) == 3 * 4 * 2 * 3
    data = Data(one.X, one.y)
    moved = 0
    for run in one.runs:
        constants = {key: run.parameters[key] for key in SCHEDULES[run.schedule](1.0)}
        settings = Settings(
            loss=one.estimator.loss,
            sign_targets=problem == "logistic",
            batch_size=run.batch_size,
            momentum=run.momentum,
            fit_intercept=False,
            schedule=Schedule(run.schedule, **constants),
        )
        lanes, last = Lanes(1, alpha=0.0, eta0=run.rate), len(run.weights) - 1
        batches = -(-data.n // run.batch_size)
        for clip_norm, most in ((NO_CLIP, batches), (np.inf, 1)):
            settings = replace(settings, clip_norm=clip_norm)
            state, at = solver.State(data, lanes, settings), 0
            state.set_weights([one.start], [0.0])
            while at < last:
                count = min(most, batches - at % batches, last - at)
                solver.run_epoch(data, lanes, settings, state, batches=count)
                at += count
                assert_array_equal(state.last_weights()[0][0], run.weights[at])
        moved += not np.array_equal(run.weights[0], run.weights[-1])
    assert moved == len(one.runs)


@pytest.mark.filterwarnings("ignore::fastsgd.exceptions.FeatureScaleWarning")
@pytest.mark.parametrize("name", EVERY)
def test_a_fit_ends_where_an_epoch_of_its_run_does(name):
    """Through the estimators alone."""
    one = exploration(name)
    compared = 0
    for run in one.runs[:: 5 if name in PROBLEMS else 3]:
        batches = -(-len(one.X) // run.batch_size)
        epochs = (len(run.weights) - 1) // batches
        if not epochs or run.diverged:
            continue
        model = clone(one.estimator).set_params(**run.parameters, max_iter=epochs, tol=None)
        begin = one.start
        if name == "intercept":
            pieces = {"coef_init": [begin[1]], "intercept_init": [begin[0]]}
            fitted = model.fit(one.X, one.y, **pieces)
            weights = np.append(fitted.intercept_, fitted.coef_)
        else:
            begin = np.append(begin, HELD) if run.held is not None else begin
            coef = model.fit(one.X, one.y, coef_init=begin).coef_
            weights = np.ravel(coef)[:2]
        assert_array_equal(weights, run.weights[epochs * batches])
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_twin_goes_the_same_way(problem):
    one = found(problem)
    run = one.runs[len(one.runs) // 2]
    posed = pose(clone(one.estimator).set_params(**run.parameters), one.X, one.y, fitted=False)
    lanes = Lanes(1, alpha=0.0, eta0=run.rate)
    state = reference.State(posed.data, lanes, posed.settings)
    state.W[:, 0] = one.start
    for at in range(20):
        assert_allclose(state.W[:, 0], run.weights[at], rtol=1e-9)
        reference.run_epoch(posed.data, lanes, posed.settings, state, batches=1)


@pytest.mark.parametrize("name", EVERY)
def test_rows_rates_and_examples(name):
    one = exploration(name)
    n = len(one.X)
    for run in one.runs:
        seen = np.concatenate(run.rows[:-1]) if len(run.rows) > 1 else np.zeros(0)
        epochs = -(-len(seen) // n)
        assert_array_equal(
            seen,
            np.concatenate([order("reshuffle", n, seed_of(0), e) for e in range(epochs)])[
                : len(seen)
            ],
        )
        assert_array_equal(np.diff(run.examples), [len(rows) for rows in run.rows[:-1]])
        assert run.examples[0] == 0
        assert len(run.loss) == len(run.weights) == len(run.rows) == len(run.learning_rate)
        assert run.diverged or len(run.weights) == one.steps + 1
        if run.schedule == "constant":
            assert (run.learning_rate == run.rate).all()
        if run.schedule == "cosine":
            assert run.learning_rate[0] == run.rate
            assert run.diverged or run.learning_rate[-1] < 0.05 * run.rate


# ------------------------------------------------------------------ losses and gradients


@pytest.mark.parametrize("name", (*PROBLEMS, "regression", "float32", "intercept"))
def test_steps_are_made_of_the_gradients_shown(name):
    """w - eta v with v = beta v + g_B, g_B that of the rows drawn."""
    one = exploration(name)
    tolerance = 1e-4 if name == "float32" else 1e-9
    for run in one.runs:
        v = np.zeros(2)
        for t in range(len(run.weights) - 1):
            v = run.momentum * v + run.sampled[t]
            step = run.weights[t + 1].astype(float) - run.weights[t]
            scale = np.abs(run.weights[: t + 2]).max() + np.abs(run.learning_rate[t] * v).max()
            assert np.abs(step + run.learning_rate[t] * v).max() < tolerance * scale


@pytest.mark.parametrize("name", (*PROBLEMS, "regression", "float32", "intercept"))
def test_the_true_gradient_is_the_slope_of_the_landscape(name):
    from fastsgd.insight.explore import _Plane

    one = exploration(name)
    posed = pose(one.estimator, one.X, one.y, fitted=False)
    plane = _Plane(posed, 0 if name == "intercept" else None)
    run = one.runs[-1]
    for t in (0, len(run.weights) // 2):
        w = run.weights[t].astype(float)
        assert_allclose(plane.objective(w), run.loss[t])
        for j in range(2):
            h = 1e-5 * np.eye(2)[j]
            slope = (plane.objective(w + h) - plane.objective(w - h)) / 2e-5
            assert abs(slope - run.true[t, j]) < 1e-6 * (1.0 + abs(slope))
    assert_allclose(plane.objective(np.array([one.first[3], one.second[7]])), one.landscape[7, 3])
    assert one.least <= min(r.loss.min() for r in one.runs)
    assert one.least <= plane.objective(one.best) + 1e-12


def test_gradients_against_the_noise_of_insight():
    """A fitted estimator's drift at a point of a run."""
    one = found("logistic")
    run = one.runs[20]
    model = clone(one.estimator).fit(one.X, one.y)
    model.coef_[0] = run.weights[50]
    assert_allclose(gradient_noise(model, one.X, one.y).gradient[0], run.true[50])


@pytest.mark.parametrize("name", EVERY)
def test_other_batches_scatter_around_the_true_gradient(name):
    one = exploration(name)
    for run in one.runs[::7]:
        if run.batch_size == len(one.X):
            assert run.others.shape[1] == 0
            assert_allclose(run.sampled, run.true, rtol=1e-9, atol=1e-12)
            continue
        assert run.others.shape == (len(run.loss), 60, 2)
        gap = run.others[0] - run.true[0]
        assert np.linalg.norm(gap.mean(axis=0)) < 0.5 * np.linalg.norm(gap, axis=1).mean()
    single = next(run for run in one.runs if run.batch_size == 1)
    wide = next(run for run in one.runs if run.batch_size > 1)
    assert single.others[0].std() > 1.1 * wide.others[0].std()


# ------------------------------------------------------------------ the user's coordinates


def test_other_weights_are_held_where_they_are():
    """The landscape is that of the whole model, seen along two of its weights."""
    model = SGDRegressor(alpha=0.1, random_state=0).fit(X, Y)
    one, posed = yours("regression"), pose(model, X, Y)
    assert one.X.shape == (90, 2)
    run = one.runs[0]
    whole = [model.coef_.copy() for _ in run.loss]
    for coef, w in zip(whole, run.weights, strict=True):
        coef[:2] = w
    lanes = posed.lanes
    loss = reference.objective(
        posed.data,
        Lanes(1, alpha=0.0, eta0=1.0),
        posed.settings,
        np.array(whole).T,
        model.intercept_,
    )
    penalty = 0.5 * lanes.alpha * np.square(run.weights).sum(axis=1)
    assert_allclose(loss + penalty, run.loss)
    assert (penalty[1:] > 0).all()


@pytest.mark.parametrize("kind", ("float32", "hinge on CSR"))
def test_a_third_weight_holds_them_and_never_moves(kind):
    one = yours(kind)
    assert one.X.shape == (90, 3)
    assert one.estimator.alpha == 0.0
    assert one.X.dtype == (np.float32 if kind == "float32" else np.float64)
    for run in one.runs:
        assert run.weights.dtype == one.X.dtype
        assert (run.held == HELD).all()
    model = SGDClassifier(one.estimator.loss, random_state=0, penalty=one.estimator.penalty)
    model.set_params(class_weight=one.estimator.class_weight).fit(X.astype(one.X.dtype), LABELS)
    columns = [4, 1] if kind == "hinge on CSR" else [0, 1]
    rest = model.decision_function(X) - X[:, columns] @ model.coef_[0, columns]
    assert_allclose(one.X[:, 2].astype(float) * HELD, rest, rtol=1e-3, atol=1e-4)


def test_names_of_coordinates():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde"))
    one = explore(X=frame, y=Y, problem="least-squares", coordinates=("c", 0), steps=2)
    assert one.names == ("weight of c", "weight of a")
    assert yours("intercept").names == ("intercept", "weight of 3")


def test_an_estimator_is_not_touched():
    model = SGDRegressor(random_state=0, standardize=True)
    explore(X=X, y=Y, estimator=model, steps=2)
    assert not hasattr(model, "coef_")
    model.fit(X, Y)
    before = model.coef_.copy()
    one = explore(X=X, y=Y, estimator=model, steps=2, start=(1.0, 2.0), rates=[0.1])
    assert_array_equal(model.coef_, before)
    assert_array_equal(one.runs[0].weights[0], [1.0, 2.0])
    assert_allclose(one.X.std(axis=0), 1.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"problem": "nothing"}, "problem must be"),
        ({"y": Y}, "X must be given"),
        ({"X": X}, "y must be given"),
        ({"X": X, "y": Y, "problem": "sine"}, "problem must be"),
        ({"X": X, "y": None, "estimator": SGDOneClassSVM()}, "y must"),
        ({"X": X, "y": Y, "estimator": SGDOneClassSVM()}, "estimator must be an SGD"),
        ({"X": X, "y": np.arange(90) % 3, "estimator": SGDClassifier()}, "one output, got 3"),
        ({"X": X, "y": LABELS, "coordinates": (0, 5)}, "coordinates must"),
        ({"X": X, "y": LABELS, "coordinates": (1, 1)}, "coordinates must"),
        ({"X": X, "y": LABELS, "coordinates": ("intercept", "b")}, "coordinates must"),
        ({"X": X, "y": LABELS, "coordinates": 3}, "coordinates must"),
        ({"batch_sizes": ()}, "batch_sizes must"),
        ({"batch_sizes": (0, 3)}, "batch_sizes must"),
        ({"batch_sizes": (200,)}, "batch_sizes must"),
        ({"momenta": (0.5, 0.5)}, "momenta must"),
        ({"momenta": (1.0,)}, "momentum"),
        ({"rates": (-1.0,)}, "eta0"),
        ({"schedules": ("auto",)}, "schedules must"),
        ({"steps": 0}, "steps must"),
        ({"start": (1.0, np.nan)}, "start must"),
    ],
)
def test_bad_input(arguments, said):
    with pytest.raises(ValueError, match=said):
        explore(**arguments)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_runs(schedule):
    one = explore("least-squares", schedules=[schedule], steps=12, momenta=(0.0,), rates=(0.1,))
    assert {run.schedule for run in one.runs} == {schedule}
    rates = one.runs[0].learning_rate
    assert (rates == rates[0]).all() == (schedule == "constant")


def test_a_run_that_diverges_ends():
    one = found("least-squares")
    ended = [run for run in one.runs if run.diverged]
    assert ended and len(ended) < len(one.runs) / 2
    for run in ended:
        assert len(run.weights) < one.steps + 1
        assert np.isfinite(run.weights).all() and np.isfinite(run.loss).all()
    with pytest.raises(DivergenceError):
        worst = max(one.runs, key=lambda run: (run.rate, run.momentum, -run.batch_size))
        model = clone(one.estimator).set_params(**worst.parameters, max_iter=50)
        model.fit(one.X, one.y, coef_init=one.start)


# ------------------------------------------------------------------ the sine problem


def test_full_batches_stay_in_a_shallow_minimum_that_others_leave():
    """What the sine problem is there for: at 0.5 / L, single samples get out of it."""
    one = found("sine")
    at = {
        (r.batch_size, r.momentum): r
        for r in one.runs
        if r.rate == one.rates[2] and r.schedule == "constant"
    }
    full, single = at[128, 0.0], at[1, 0.0]
    assert np.linalg.norm(full.true[-1]) < 1e-3
    assert full.loss[-1] > one.least + 0.2
    assert single.loss[-1] < full.loss[-1] - 0.1
    inner = one.landscape[1:-1, 1:-1]
    around = [
        np.roll(one.landscape, by, (0, 1))[1:-1, 1:-1]
        for by in [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    ]
    minima = inner[(inner < np.array(around)).all(axis=0)]
    assert len(minima) > 4
    assert minima.max() - minima.min() > 0.2


def test_sine_without_a_compiler(monkeypatch):
    """By numba where that is installed; else the error names both."""
    z, y = rng.normal(size=(2, 50))
    expected = 0.5 * (np.sin(z) - y) ** 2, (np.sin(z) - y) * np.cos(z)
    assert_allclose(sine_loss().value(z, y), expected[0], atol=1e-14)
    assert_allclose(sine_loss().slope(z, y), expected[1], atol=1e-14)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    made = sine_loss.__wrapped__
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "numba", None)
        with pytest.raises(ImportError, match=r"C compiler.*numba"):
            made()
    pytest.importorskip("numba")
    assert_allclose(made().value(z, y), expected[0], atol=1e-14)
    assert_allclose(made().slope(z, y), expected[1], atol=1e-14)


# ------------------------------------------------------------------ the page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    pytest.importorskip("bokeh")
    return found("logistic").save(tmp_path_factory.mktemp("explore") / "explore.html")


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_page_is_one_small_document(problem):
    pytest.importorskip("bokeh")
    text = found(problem).html
    assert len(text.encode()) < 5_000_000
    body = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"(src|href)=\"(?!data:,)", body)
    assert not re.search(r"<script[^>]+src=|@import|url\(", body)
    assert not re.search(r"<(link|script|img|iframe)[^>]+(src|href)=\"?(http|//)", text)


def test_what_is_drawn_is_the_path_rounded_to_float32(page):
    import base64

    text = page.read_text("utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    for packed, run in zip(data["runs"], found("logistic").runs, strict=True):
        weights = np.frombuffer(base64.b64decode(packed["weights"]), dtype="<f4")
        assert_array_equal(weights.reshape(-1, 2), run.weights.astype("<f4"))
        others = np.frombuffer(base64.b64decode(packed["others"]), dtype=np.int8)
        largest = np.frombuffer(base64.b64decode(packed["largest"]), dtype="<f4")
        back = others.reshape(run.others.shape) * (largest[:, None, None] / 127.0)
        assert np.abs(back - run.others).max(initial=0.0) <= largest.max(initial=0.0) / 250.0


def test_a_notebook_shows_it(page):
    frame = found("logistic")._repr_html_()
    assert frame.startswith("<iframe ") and 'srcdoc="' in frame
    assert frame.count('"') == 6  # title, document and style: none of the document's own


def test_without_bokeh(monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh.embed", None)
    with pytest.raises(ImportError, match=r"fastsgd\[plot\]"):
        explore("least-squares", steps=2, rates=(0.1,), batch_sizes=(1,)).html  # noqa: B018


def test_command(tmp_path, capsys):
    pytest.importorskip("bokeh")
    target = tmp_path / "runs.html"
    assert main(["explore", "--problem", "least-squares", "--output", str(target)]) == 0
    said = capsys.readouterr().out
    assert str(target) in said and "72 runs" in said
    assert target.read_text("utf-8").startswith("<!doctype html>")
    assert main(["explore", "--output", str(tmp_path / "no" / "such.html")]) == 1
    assert "such.html" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["explore", "--problem", "cubic"])
