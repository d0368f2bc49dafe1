"""The explorer: its paths against runs of the solver, its gradients, its page in a browser."""

import json
import re
import shutil
import sys
import time
from dataclasses import replace
from functools import cache

import browser
import numpy as np
import pytest
import scipy.sparse as sp
from browser import Page, media
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from fastsgd import DivergenceError, SGDClassifier, SGDOneClassSVM, SGDRegressor, reference, solver
from fastsgd.__main__ import main
from fastsgd.estimators.parameters import seed_of
from fastsgd.insight import explore, gradient_noise
from fastsgd.insight.explorer.choices import SCHEDULES
from fastsgd.insight.explorer.models import LOSSES_OF_RESIDUALS, NO_CLIP, PROBLEMS
from fastsgd.insight.explorer.plane import FIXED_WEIGHT, Plane
from fastsgd.insight.explorer.sine import sine_loss
from fastsgd.insight.problem import problem_of
from fastsgd.losses import LOSSES
from fastsgd.optimizers import SGD
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.sampling import order
from fastsgd.schedules import Schedule

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

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
    """Of nouns made by hand, not by the explorer: an epoch a call; of some, each step a call."""
    one = found(problem)
    assert len(one.runs) == 3 * 4 * 2 * 3
    data = Data(one.X, one.y)
    moved = 0
    for number, run in enumerate(one.runs):
        constants = {key: run.parameters[key] for key in SCHEDULES[run.schedule](1.0)}
        settings = Settings(
            loss=one.estimator.loss,
            sign_targets=problem == "logistic",
            batch_size=run.batch_size,
            optimizer=SGD(run.momentum),
            fit_intercept=False,
            schedule=Schedule(run.schedule, **constants),
        )
        lanes, last = Lanes(1, alpha=0.0, eta0=run.rate), len(run.weights) - 1
        batches = -(-data.n // run.batch_size)
        stepwise = [(np.inf, 1)] if number % 5 == 0 else []  # every choice is among them
        for clip_norm, most in [(NO_CLIP, batches), *stepwise]:
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
            begin = np.append(begin, FIXED_WEIGHT) if run.fixed_weight is not None else begin
            coef = model.fit(one.X, one.y, coef_init=begin).coef_
            weights = np.ravel(coef)[:2]
        assert_array_equal(weights, run.weights[epochs * batches])
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_twin_goes_the_same_way(problem):
    one = found(problem)
    run = one.runs[len(one.runs) // 2]
    problem = problem_of(
        clone(one.estimator).set_params(**run.parameters), one.X, one.y, fitted=False
    )
    lanes = Lanes(1, alpha=0.0, eta0=run.rate)
    state = reference.State(problem.data, lanes, problem.settings)
    state.W[:, 0] = one.start
    for at in range(20):
        assert_allclose(state.W[:, 0], run.weights[at], rtol=1e-9)
        reference.run_epoch(problem.data, lanes, problem.settings, state, batches=1)


@pytest.mark.parametrize("name", EVERY)
def test_rows_rates_and_examples(name):
    one = exploration(name)
    n = len(one.X)
    for run in one.runs:
        seen = np.concatenate(run.batch_rows[:-1]) if len(run.batch_rows) > 1 else np.zeros(0)
        epochs = -(-len(seen) // n)
        assert_array_equal(
            seen,
            np.concatenate([order("reshuffle", n, seed_of(0), e) for e in range(epochs)])[
                : len(seen)
            ],
        )
        assert_array_equal(np.diff(run.examples), [len(rows) for rows in run.batch_rows[:-1]])
        assert run.examples[0] == 0
        assert len(run.loss) == len(run.weights) == len(run.batch_rows) == len(run.learning_rate)
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
            v = run.momentum * v + run.batch_gradient[t]
            step = run.weights[t + 1].astype(float) - run.weights[t]
            scale = np.abs(run.weights[: t + 2]).max() + np.abs(run.learning_rate[t] * v).max()
            assert np.abs(step + run.learning_rate[t] * v).max() < tolerance * scale


@pytest.mark.parametrize("name", (*PROBLEMS, "regression", "float32", "intercept"))
def test_the_true_gradient_is_the_slope_of_the_landscape(name):
    one = exploration(name)
    problem = problem_of(one.estimator, one.X, one.y, fitted=False)
    plane = Plane(problem, 0 if name == "intercept" else None)
    run = one.runs[-1]
    for t in (0, len(run.weights) // 2):
        w = run.weights[t].astype(float)
        assert_allclose(plane.objective(w), run.loss[t])
        for j in range(2):
            h = 1e-5 * np.eye(2)[j]
            slope = (plane.objective(w + h) - plane.objective(w - h)) / 2e-5
            assert abs(slope - run.full_gradient[t, j]) < 1e-6 * (1.0 + abs(slope))
    assert_allclose(plane.objective(np.array([one.first[3], one.second[7]])), one.landscape[7, 3])
    assert one.minimum <= min(r.loss.min() for r in one.runs)
    assert one.minimum <= plane.objective(one.minimizer) + 1e-12


def test_gradients_against_the_noise_of_insight():
    """A fitted estimator's drift at a point of a run."""
    one = found("logistic")
    run = one.runs[20]
    model = clone(one.estimator).fit(one.X, one.y)
    model.coef_[0] = run.weights[50]
    assert_allclose(gradient_noise(model, one.X, one.y).gradient[0], run.full_gradient[50])


@pytest.mark.parametrize("name", EVERY)
def test_other_batches_scatter_around_the_true_gradient(name):
    one = exploration(name)
    for run in one.runs[::7]:
        if run.batch_size == len(one.X):
            assert run.other_gradients.shape[1] == 0
            assert_allclose(run.batch_gradient, run.full_gradient, rtol=1e-9, atol=1e-12)
            continue
        assert run.other_gradients.shape == (len(run.loss), 60, 2)
        gap = run.other_gradients[0] - run.full_gradient[0]
        assert np.linalg.norm(gap.mean(axis=0)) < 0.5 * np.linalg.norm(gap, axis=1).mean()
    single = next(run for run in one.runs if run.batch_size == 1)
    wide = next(run for run in one.runs if run.batch_size > 1)
    assert single.other_gradients[0].std() > 1.1 * wide.other_gradients[0].std()


# ------------------------------------------------------------------ the user's coordinates


def test_other_weights_are_held_where_they_are():
    """The landscape is that of the whole model, seen along two of its weights."""
    model = SGDRegressor(alpha=0.1, random_state=0).fit(X, Y)
    one, problem = yours("regression"), problem_of(model, X, Y)
    assert one.X.shape == (90, 2)
    run = one.runs[0]
    whole = [model.coef_.copy() for _ in run.loss]
    for coef, w in zip(whole, run.weights, strict=True):
        coef[:2] = w
    lanes = problem.lanes
    loss = reference.objective(
        problem.data,
        Lanes(1, alpha=0.0, eta0=1.0),
        problem.settings,
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
    assert one.estimator.alpha == 0.0 and one.title.endswith("without penalty")
    assert one.X.dtype == (np.float32 if kind == "float32" else np.float64)
    for run in one.runs:
        assert run.weights.dtype == one.X.dtype
        assert (run.fixed_weight == FIXED_WEIGHT).all()
    model = SGDClassifier(one.estimator.loss, random_state=0, penalty=one.estimator.penalty)
    model.set_params(class_weight=one.estimator.class_weight).fit(X.astype(one.X.dtype), LABELS)
    columns = [4, 1] if kind == "hinge on CSR" else [0, 1]
    rest = model.decision_function(X) - X[:, columns] @ model.coef_[0, columns]
    assert_allclose(one.X[:, 2].astype(float) * FIXED_WEIGHT, rest, rtol=1e-3, atol=1e-4)


def test_one_feature_and_the_intercept():
    """Nothing is left to hold: the path is that of the model itself."""
    one = explore(X=X[:, :1], y=LABELS, coordinates=(0, "intercept"), **FEW)
    assert one.X.shape == (90, 1)
    assert one.estimator.alpha > 0.0
    run = one.runs[-1]
    model = SGDClassifier("log_loss", random_state=0, max_iter=3, tol=None, clip_norm=NO_CLIP)
    model.set_params(**run.parameters).fit(X[:, :1], LABELS)
    assert_array_equal(np.append(model.coef_[0], model.intercept_), run.weights[36])


def test_counts():
    """A loss of exp(z), held by a third weight; the far landscape overflows and is drawn."""
    counts = np.random.default_rng(1).poisson(np.exp(0.3 * SCORE / SCORE.std()))
    model = SGDRegressor("poisson", alpha=1e-3, random_state=0)
    one = explore(X=300.0 * X, y=counts, estimator=model, rates=(1e-6,), **FEW)
    assert one.X.shape == (90, 3)
    pytest.importorskip("bokeh")
    assert len(one.html) < 5_000_000


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
        ({"momenta": (1.0,)}, "momenta must"),
        ({"momenta": 0.9}, "momenta must be a sequence of numbers"),
        ({"batch_sizes": 8}, "batch_sizes must be a sequence of numbers"),
        ({"rates": (-1.0,)}, "rates must be positive"),
        ({"rates": (np.nan,)}, "rates must be positive"),
        ({"rates": 0.1}, "rates must be a sequence of numbers"),
        ({"rates": "0.1"}, "rates must be a sequence of numbers"),
        ({"schedules": "constant"}, "schedules must be a sequence of strings"),
        ({"random_state": -1}, "random_state must"),
        ({"random_state": None}, "random_state must"),
        ({"random_state": 2**32}, "random_state must"),
        ({"X": X, "y": np.column_stack([Y, Y]), "problem": "least-squares"}, "one output, got 2"),
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
    assert np.linalg.norm(full.full_gradient[-1]) < 1e-3
    assert full.loss[-1] > one.minimum + 0.2
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
        others = np.frombuffer(base64.b64decode(packed["other_gradients"]), dtype=np.int8)
        largest = np.frombuffer(base64.b64decode(packed["other_largest"]), dtype="<f4")
        back = others.reshape(run.other_gradients.shape) * (largest[:, None, None] / 127.0)
        assert (
            np.abs(back - run.other_gradients).max(initial=0.0) <= largest.max(initial=0.0) / 250.0
        )


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


# ------------------------------------------------------------------ in a browser

chromium = browser.chromium


@pytest.fixture
def explorer(chromium, page):
    """The page at its start: paused, at step 0, nothing zoomed."""
    opened = Page(chromium, page, again=chromium.current_url == page.as_uri())
    if opened.state["playing"]:
        opened.press("play")
    opened.press("first")
    opened.press("reset")
    for name, value in (("batch", 1), ("rate", 2), ("momentum", 0), ("schedule", 0), ("speed", 1)):
        opened.choose(name, value)
    opened.run("document.activeElement.blur()")
    return opened


def chosen(batch=1, rate=2, momentum=0, schedule=0):
    """The run of four choices, by their numbers."""
    return found("logistic").runs[((batch * 4 + rate) * 2 + momentum) * 3 + schedule]


def test_it_opens_at_once_and_asks_for_nothing(chromium, page):
    for _ in range(3):  # other work on the machine may delay one
        opened = Page(chromium, page)
        milliseconds = opened.run("return window.fastsgdExplorer.loaded")
        if milliseconds < 2000.0:
            break
    assert milliseconds < 2000.0
    opened.press("last")
    opened.run("return new Promise(requestAnimationFrame)")
    events = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    urls = [one["request"]["url"] for one in sent if one["documentURL"] == page.as_uri()]
    assert page.as_uri() in urls
    assert not [url for url in urls if not url.startswith(("file:", "data:", "blob:"))]
    wrong = [entry for entry in chromium.get_log("browser") if entry["level"] != "INFO"]
    assert not wrong, wrong
    sizes = opened.run("""return [...document.querySelectorAll(".plot")].map(
        (plot) => [plot.clientWidth, plot.clientHeight, plot.children.length])""")
    assert len(sizes) == 5 and all(w > 200 and h > 150 and n == 1 for w, h, n in sizes)


def test_buttons_step_and_jump(explorer):
    run = chosen()
    assert explorer.at(run, 0)
    explorer.press("forward")
    explorer.press("forward")
    assert explorer.at(run, 2)
    explorer.press("back")
    assert explorer.at(run, 1)
    explorer.press("last")
    assert explorer.at(run, 200)
    explorer.press("forward")
    assert explorer.at(run, 200)
    explorer.press("first")
    assert explorer.at(run, 0)
    explorer.press("back")
    assert explorer.at(run, 0)


def test_what_is_drawn_is_the_run(explorer):
    """Paths up to the step, arrows along the gradients, the cloud, the losses."""
    explorer.run(
        "const s = document.getElementById('seek'); s.value = 30; "
        "s.dispatchEvent(new Event('input'))"
    )
    run = chosen()
    assert explorer.at(run, 30)
    runs = [chosen(batch=b) for b in range(3)] + [chosen(momentum=1)]
    for i, one in enumerate(runs):
        path = explorer.drawn("landscape", f"path{i}")
        assert_array_equal(np.transpose([path["x"], path["y"]]), one.weights[:31].astype("<f4"))
        curve = explorer.drawn("loss-steps", f"path{i}")
        excess = one.loss - found("logistic").minimum
        excess[excess <= 1e-7 * excess[0]] = np.nan  # rounding is not drawn
        y = np.array(curve["y"], dtype=float)
        assert_allclose(y, excess, rtol=1e-4, atol=1e-7)
        assert curve["x"] == list(range(201))
        assert explorer.drawn("loss-examples", f"path{i}")["x"] == one.examples[1:].tolist()
    assert_allclose(explorer.drawn("rate-chart", "path0")["y"], run.learning_rate, rtol=1e-6)
    norms = np.linalg.norm(run.full_gradient, axis=1), np.linalg.norm(run.batch_gradient, axis=1)
    for i in range(2):
        assert_allclose(explorer.drawn("norm", f"path{i}")["y"], norms[i], rtol=1e-5)
    scales = []
    for name, gradient in (
        ("full_gradient", run.full_gradient[30]),
        ("batch_gradient", run.batch_gradient[30]),
    ):
        arrow = {key: value[0] for key, value in explorer.drawn("landscape", name).items()}
        along = np.array([arrow["x1"] - arrow["x0"], arrow["y1"] - arrow["y0"]])
        assert_allclose([arrow["x0"], arrow["y0"]], run.weights[30], rtol=1e-6)
        scales.append(-along / gradient)
    assert_allclose(scales, scales[0][0], rtol=1e-4)
    cloud = explorer.drawn("landscape", "cloud")
    tips = run.weights[30] - scales[0][0] * run.other_gradients[30]
    span = np.abs(scales[0][0] * run.other_gradients[30]).max()
    assert_allclose(np.transpose([cloud["x"], cloud["y"]]), tips, atol=0.01 * span)
    said = explorer.browser.find_element("id", "readout").text
    assert said.startswith("step 30 of 200 · 480 examples (3.75 epochs)")
    assert f"loss {run.loss[30]:.3g}" in said


def test_play_pauses_ends_and_begins_again(explorer):
    explorer.press("play")
    assert explorer.state["playing"]
    explorer.wait(lambda: explorer.state["step"] >= 3)
    explorer.press("play")
    state = explorer.state
    assert not state["playing"] and 3 <= state["step"] < 200
    time.sleep(0.2)
    assert explorer.state["step"] == state["step"]
    explorer.choose("speed", 4)
    explorer.run(
        "const s = document.getElementById('seek'); s.value = 190; "
        "s.dispatchEvent(new Event('input'))"
    )
    explorer.press("play")
    explorer.wait(lambda: not explorer.state["playing"])
    assert explorer.state["step"] == 200
    explorer.press("play")
    assert explorer.state["step"] < 100
    explorer.press("play")


@pytest.mark.parametrize("speed", (0.25, 4))
def test_speeds(explorer, speed):
    """15 steps a second times the speed, by the page's own clock."""
    explorer.choose("speed", speed)
    explorer.run("""document.getElementById("play").click(); window.began = performance.now();""")
    time.sleep(1.2)
    seconds, step = explorer.run("""document.getElementById("play").click();
        return [(performance.now() - window.began) / 1000, window.fastsgdExplorer.state.step]""")
    assert abs(step - 15.0 * speed * seconds) <= 2.0 + 0.1 * step


@pytest.mark.parametrize(
    ("name", "count"), [("batch", 3), ("rate", 4), ("momentum", 2), ("schedule", 3)]
)
def test_every_choice_is_a_run_of_its_own(explorer, name, count):
    explorer.press("last")
    ends = set()
    for value in range(count):
        explorer.choose(name, value)
        assert explorer.at(chosen(**{name: value}), 200)
        ends.add(tuple(explorer.state["weights"]))
        assert explorer.state[name] == value
    assert len(ends) == count
    labels = [o.text for o in explorer.browser.find_elements("css selector", f"#{name} option")]
    assert len(labels) == count and "" not in labels


def test_keys(explorer):
    from selenium.webdriver import Keys

    explorer.type(Keys.ARROW_RIGHT * 3, Keys.ARROW_LEFT)
    assert explorer.state["step"] == 2
    explorer.type(Keys.END)
    assert explorer.state["step"] == 200
    explorer.type(Keys.HOME)
    assert explorer.state["step"] == 0
    explorer.type("+")
    assert explorer.state["speed"] == 2
    assert explorer.run("return document.getElementById('speed').value") == "2"
    explorer.type("+++")
    assert explorer.state["speed"] == 4
    explorer.type("-----")
    assert explorer.state["speed"] == 0.25
    explorer.type(" ")
    assert explorer.state["playing"]
    explorer.type(" ")
    assert not explorer.state["playing"]
    before = explorer.state["view"]
    explorer.type("i")
    assert explorer.state["view"][0] > before[0] and explorer.state["view"][1] < before[1]
    explorer.type("r")
    assert_allclose(explorer.state["view"], before)


def test_controls_are_reached_in_order_and_pressed_by_keys(explorer):
    from selenium.webdriver import Keys

    order = ["theme", "batch", "rate", "momentum", "schedule", "first", "back", "play", "forward"]
    order += ["last", "seek", "speed", "zoom-in", "zoom-out", "reset", "help"]
    explorer.run("window.scrollTo(0, 0); document.body.tabIndex = -1; document.body.focus()")
    met = []
    for _ in range(len(order) + 6):
        explorer.type(Keys.TAB)
        met.append(explorer.run("return document.activeElement.id"))
    assert [name for name in met if name in order] == order
    explorer.run("document.body.removeAttribute('tabindex')")
    named = """return [...document.querySelectorAll("button, select, input")].filter((one) =>
        !(one.ariaLabel || one.textContent.trim() && one.tagName === "BUTTON"
          || one.labels?.length && one.labels[0].textContent.trim())).map((one) => one.id)"""
    assert explorer.run(named) == []
    explorer.run("document.getElementById('forward').focus()")
    explorer.type(Keys.SPACE)
    assert explorer.state["step"] == 1 and not explorer.state["playing"]
    explorer.type(Keys.ENTER)
    assert explorer.state["step"] == 2
    explorer.run("document.getElementById('seek').focus()")
    explorer.type(Keys.ARROW_RIGHT)
    assert explorer.state["step"] == 3
    explorer.run("document.getElementById('momentum').focus()")
    explorer.type(Keys.ARROW_DOWN)
    assert explorer.state["step"] == 3
    explorer.wait(lambda: explorer.state["momentum"] == 1)


def test_zoom_and_pan(explorer):
    from selenium.webdriver import ActionChains, Keys
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    def size():
        x0, x1, y0, y1 = explorer.state["view"]
        return x1 - x0, y1 - y0

    home, whole = explorer.state["view"], size()
    explorer.press("zoom-in")
    assert_allclose(size(), 0.7 * np.array(whole))
    explorer.press("zoom-out")
    assert_allclose(explorer.state["view"], home)
    explorer.press("zoom-out")
    assert size()[0] > whole[0]
    explorer.press("reset")
    assert_allclose(explorer.state["view"], home)
    explorer.run("document.activeElement.blur()")
    ActionChains(explorer.browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(
        Keys.SHIFT
    ).perform()
    assert explorer.state["view"][0] > home[0] and explorer.state["step"] == 0
    assert_allclose(size(), whole)
    explorer.press("reset")
    plot = explorer.browser.find_element("id", "landscape")
    ActionChains(explorer.browser).drag_and_drop_by_offset(plot, 60, 30).perform()
    explorer.wait(lambda: explorer.state["view"][0] < home[0])
    assert_allclose(size(), whole)
    explorer.press("reset")
    origin = ScrollOrigin.from_element(plot)
    ActionChains(explorer.browser).scroll_from_origin(origin, 0, -200).perform()
    explorer.wait(lambda: size()[0] < 0.99 * whole[0])
    x, y = size()
    assert abs(x / y - whole[0] / whole[1]) < 1e-6


def test_units_are_of_one_length_on_both_axes(explorer):
    """So that gradients stand at right angles on contours."""
    x0, x1, y0, y1 = explorer.state["view"]
    w, h = explorer.run("""const one = window.fastsgdExplorer.figures.landscape;
        return [one.inner_width, one.inner_height]""")
    assert abs((x1 - x0) / w - (y1 - y0) / h) < 1e-6 * (x1 - x0)
    (a, b), (c, d) = found("logistic").view
    assert x0 <= a + 1e-9 and x1 >= b - 1e-9 and y0 <= c + 1e-9 and y1 >= d - 1e-9


def test_what_is_shown_can_be_hidden(explorer):
    explorer.press("last")
    boxes = explorer.browser.find_elements("css selector", ".runs input")
    assert len(boxes) == 4
    for i, box in enumerate(boxes):
        box.click()
        shown = len(explorer.drawn("landscape", f"path{i}")["x"])
        assert (shown > 0) == (i == 1)  # the chosen run stays
        box.click()
        assert len(explorer.drawn("landscape", f"path{i}")["x"]) > 1
    for name, source in (("arrows", "batch_gradient"), ("others", "cloud")):
        explorer.press(name)
        assert all(len(v) == 0 for v in explorer.drawn("landscape", source).values())
        explorer.press(name)
        assert all(len(v) > 0 for v in explorer.drawn("landscape", source).values())
    explorer.choose("batch", 2)
    assert explorer.drawn("landscape", "cloud")["x"] == []


def test_a_run_that_diverges_says_so(chromium, tmp_path):
    one = explore("least-squares", rates=(0.1, 5.0), batch_sizes=(1, 128), schedules=("constant",))
    explorer = Page(chromium, one.save(tmp_path / "page.html"))
    explorer.choose("batch", 0)
    explorer.choose("rate", 1)
    explorer.press("last")
    said = explorer.browser.find_element("id", "readout").text
    run = one.runs[2]
    assert run.diverged and said.startswith(f"diverged after {len(run.weights) - 1} steps")
    assert explorer.state["diverged"]
    wrong = [entry for entry in chromium.get_log("browser") if entry["level"] != "INFO"]
    assert not wrong, wrong


def test_light_and_dark(chromium, page):
    """As the system has it, and by the button; with contrast for text and lines in both."""

    for scheme in ("dark", "light"):
        media(chromium, scheme)
        explorer = Page(chromium, page)
        assert explorer.state["theme"] == scheme
        assert explorer.contrast("#readout") > 7.0
        assert explorer.contrast("footer") > 4.5
        paper = explorer.run(
            "return window.fastsgdExplorer.figures.landscape.background_fill_color"
        )
        assert (int(paper[1:3], 16) < 64) == (scheme == "dark")
    media(chromium, "dark")
    explorer.wait(lambda: explorer.state["theme"] == "dark")  # follows while open
    explorer.press("theme")
    assert explorer.state["theme"] == "light"
    assert explorer.run("return document.documentElement.dataset.theme") == "light"
    media(chromium, "light")


def test_a_phone_needs_no_sideways_scrolling(chromium, page):
    size = {"width": 375, "height": 720, "deviceScaleFactor": 2, "mobile": True}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        explorer = Page(chromium, page)
        wide, room = explorer.run("""return [Math.max(document.documentElement.scrollWidth,
            ...[...document.querySelectorAll("body *")].map(
                (one) => one.getBoundingClientRect().right)), innerWidth]""")
        assert room == 375 and wide <= room
        tops = explorer.run("""return [...document.querySelectorAll(".plot")].map(
            (plot) => plot.getBoundingClientRect().top)""")
        assert tops == sorted(set(tops))  # one below the other
        heights = explorer.run("""return [...document.querySelectorAll("button, select")].map(
            (one) => one.getBoundingClientRect().height)""")
        assert min(heights) >= 36.0
        explorer.press("forward")
        assert explorer.state["step"] == 1
    finally:
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_within_a_notebooks_frame(chromium, tmp_path):
    """In an iframe's srcdoc, as a notebook embeds it."""
    outer = tmp_path / "notebook.html"
    outer.write_text(f"<!doctype html><body>{found('logistic')._repr_html_()}</body>", "utf-8")
    chromium.get(outer.as_uri())
    chromium.switch_to.frame(0)
    try:
        end = time.monotonic() + 10.0
        while not chromium.execute_script("return !!window.fastsgdExplorer"):
            assert time.monotonic() < end
            time.sleep(0.05)
        chromium.find_element("id", "forward").click()
        assert chromium.execute_script("return window.fastsgdExplorer.state.step") == 1
    finally:
        chromium.switch_to.default_content()


def test_losses_of_residuals_are_those_that_depend_on_nothing_else():
    """f(z, y) = f(z - y, 0), where real targets are taken; "linear" too, which has no minimum."""
    z, y = np.random.default_rng(0).normal(size=(2, 50), scale=2.0)
    found = {
        name
        for name, loss in LOSSES.items()
        if "real" in loss.targets
        and np.allclose(loss.value(z, y, 0.3), loss.value(z - y, np.zeros(50), 0.3))
    }
    assert found - {"linear"} == LOSSES_OF_RESIDUALS
