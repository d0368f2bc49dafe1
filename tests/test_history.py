"""What a fit shows: history, lines, a progress bar, scikit-learn's callbacks."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor, reference
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.solver import epoch_lines
from fastsgd.solver.history import FIELDS, mean

rng = np.random.default_rng(0)
X = rng.normal(size=(80, 5))
Y = X @ rng.normal(size=5) + 0.3 * rng.normal(size=80)
RATE = {"learning_rate": "constant", "eta0": 0.02, "random_state": 1, "shuffle": False}


@pytest.mark.parametrize(
    "penalty", ({"penalty": "l2"}, {"penalty": "l1"}, {"penalty": "elasticnet"}, {"penalty": None})
)
@pytest.mark.parametrize("batch_size", (1, 16))
def test_history_is_that_of_the_twin(batch_size, penalty):
    """Loss with its penalty, rate, norms of batch gradients and of the weights, epoch by epoch."""
    alpha, ratio = 0.05, 0.3
    options = {**RATE, **penalty, "alpha": alpha, "l1_ratio": ratio, "batch_size": batch_size}
    model = SGDRegressor(**options, max_iter=3, tol=None).fit(X, Y)
    share = {"l2": 0.0, "l1": 1.0, "elasticnet": ratio, None: 0.0}[penalty["penalty"]]
    alpha = alpha if penalty["penalty"] else 0.0
    problem = (
        Data(X, Y),
        Lanes(1, alpha=alpha * (1.0 - share), l1=alpha * share, eta0=0.02),
        Settings(batch_size=batch_size, sampling="sequential"),
    )
    twin = reference.State(*problem)
    for epoch in range(3):
        reference.run_epoch(*problem, twin)
        w = twin.W[:, 0]
        loss = twin.loss_sum[0] / 80 + 0.5 * problem[1].alpha[0] * w @ w
        loss += problem[1].l1[0] * np.abs(w).sum()
        row = {name: column[epoch] for name, column in model.history_.items()}
        assert row["epoch"] == epoch + 1
        assert row["loss"] == pytest.approx(loss, rel=1e-10)
        assert row["losses"] == pytest.approx([loss], rel=1e-10)
        assert row["learning_rate"] == pytest.approx(0.02)
        norm = np.sqrt(twin.norm_sum[0] / twin.norm_count[0])
        assert row["gradient_norm"] == pytest.approx(norm, rel=1e-10)
        assert row["weight_norm"] == pytest.approx(np.linalg.norm(w), rel=1e-10)
        assert np.isnan(row["validation_score"])
        assert row["seconds"] > 0.0
        assert row["rows_per_second"] == pytest.approx(80 / row["seconds"])


@pytest.mark.parametrize("estimator", (SGDClassifier, SGDRegressor, SGDOneClassSVM))
def test_history_has_its_fields_and_goes_on(estimator):
    y = (Y > 0).astype(int)
    model = estimator(random_state=0, max_iter=3, tol=None).fit(X, y)
    assert tuple(model.history_) == tuple(FIELDS)
    model.partial_fit(X, y).fit(X, y, resume=True)
    assert {len(column) for column in model.history_.values()} == {7}
    assert model.history_["epoch"] == list(range(1, 8))
    assert model.loss_curve_ is model.history_["loss"]
    for warm in (False, True):
        model.set_params(warm_start=warm).fit(X, y)
        assert len(model.loss_curve_) == 3


def test_a_failed_call_leaves_no_trace_in_the_history():
    model = SGDRegressor(random_state=0).partial_fit(X, Y)
    before = pickle.dumps(model.history_)
    model.set_params(learning_rate="constant", eta0=1e200)
    with pytest.raises(ValueError, match="diverged"):
        model.partial_fit(X, Y)
    assert pickle.dumps(model.history_) == before


def test_history_of_many_lanes_is_their_mean():
    y = np.digitize(Y, (-1.0, 1.0))
    model = SGDClassifier("log_loss", max_iter=2, tol=None, random_state=0).fit(X, y)
    losses = np.array(model.history_["losses"])
    assert losses.shape == (2, 3)
    assert_allclose(model.loss_curve_, losses.mean(axis=1))
    assert model.history_["weight_norm"][-1] == pytest.approx(
        np.linalg.norm(model.coef_, axis=1).mean()
    )


# ---------------------------------------------------------------- what is printed


def test_nothing_is_printed_unasked(capfd):
    SGDRegressor(random_state=0).fit(X, Y)
    assert capfd.readouterr() == ("", "")


def test_verbose_prints_a_line_an_epoch(capfd):
    model = SGDRegressor(verbose=1, max_iter=3, tol=None, random_state=0)
    model.fit(X, Y, X_val=X[:9], y_val=Y[:9])
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert len(lines) == 3
    for part in ("epoch    2", f"loss {model.loss_curve_[1]:.6g}", "validation", "rate", "rows/s"):
        assert part in lines[1]
    assert err == ""


def test_a_long_fit_has_a_bar(capfd, monkeypatch):
    monkeypatch.setattr(epoch_lines, "BAR_DELAY", 0.0)
    SGDRegressor(verbose=1, max_iter=50, tol=None, random_state=0).fit(X, Y)
    out, err = capfd.readouterr()
    assert len([line for line in out.splitlines() if line.startswith("epoch")]) == 50
    rows = 50 * len(X)
    assert f"{rows / 1000:.2f}k/{rows / 1000:.2f}k" in err
    assert "rows/s" in err
    assert "<00:00" in err  # the time that is left


# ---------------------------------------------------------------- scikit-learn's callbacks


class Recorder:
    """Counts hooks, and keeps what the last one was given."""

    def __init__(self, stop_at=None):
        self.calls, self.models, self.stop_at = [], [], stop_at

    def setup(self, estimator, context):
        self.calls.append("setup")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.calls.append(("end", context.task_name))
        if context.task_name == "epoch":
            self.models.append((fitted_estimator.score(X, y), fitted_estimator.n_iter_))
        self.metadata = metadata
        return context.task_name == "epoch" and len(self.models) == self.stop_at

    def teardown(self, estimator, context):
        self.calls.append("teardown")


@pytest.fixture
def sklearn_callback():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9")


def test_hooks_are_called_in_pairs(sklearn_callback):
    recorder = Recorder()
    y = (Y > 0).astype(int)
    model = SGDClassifier(random_state=0, max_iter=4, tol=None).set_callbacks(recorder)
    weight = np.ones(80)
    model.fit(X, y, sample_weight=weight)
    assert recorder.calls[:2] == ["setup", ("begin", "fit")]
    assert recorder.calls[2:-2] == [("begin", "epoch"), ("end", "epoch")] * 4
    assert recorder.calls[-2:] == [("end", "fit"), "teardown"]
    assert recorder.models[-1] == (model.score(X, y), 4)
    assert [n_iter for _, n_iter in recorder.models] == [1, 2, 3, 4]
    assert recorder.metadata["sample_weight"] is weight
    assert not [name for name in vars(model) if name.startswith("_callback")]


def test_a_callback_ends_the_fit(sklearn_callback):
    """Without a warning that max_iter was too small."""
    model = SGDRegressor(random_state=0, tol=1e-12).set_callbacks(Recorder(stop_at=3)).fit(X, Y)
    assert model.n_iter_ == len(model.loss_curve_) == 3


def test_scoring_monitor(sklearn_callback):
    monitor = sklearn_callback.ScoringMonitor(scoring="r2")
    model = SGDRegressor(random_state=0, max_iter=3, tol=None).set_callbacks(monitor).fit(X, Y)
    rows = monitor.get_logs().data
    scores = [row["r2"] for row in rows if row["task_name"] == "epoch"]
    assert len(scores) == 3
    assert scores[-1] == pytest.approx(model.score(X, Y))


def test_progress_bar(sklearn_callback, capfd):
    pytest.importorskip("rich")
    bar = sklearn_callback.ProgressBar()
    SGDRegressor(random_state=0, max_iter=3, tol=None).set_callbacks(bar).fit(X, Y)
    assert "SGDRegressor - fit" in capfd.readouterr().out


def test_callbacks_of_a_grid_search_reach_the_fits(sklearn_callback):
    from sklearn.model_selection import GridSearchCV

    monitor = sklearn_callback.ScoringMonitor(scoring="r2")
    model = SGDRegressor(random_state=0, max_iter=2, tol=None).set_callbacks(monitor)
    GridSearchCV(model, {"alpha": [0.1, 0.01]}, cv=2).fit(X, Y)
    assert len(monitor.get_logs().data) >= 4
    assert clone(model).fit(X, Y).n_iter_ == 2


def test_a_failing_callback_leaves_the_model(sklearn_callback):
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("no")

    model = SGDRegressor(random_state=0, max_iter=2, tol=None).fit(X, Y)
    before = model.coef_
    failing = Failing()
    model.set_callbacks(failing)
    with pytest.raises(RuntimeError, match="no"):
        model.fit(2.0 * X, Y)
    assert model.coef_ is before
    assert failing.calls[-1] == "teardown"


def test_the_mean_of_few_numbers():
    for count in (1, 2, 3):
        assert mean(np.arange(1.0, count + 1.0)) == (count + 1) / 2
