"""Stopping: by the training loss or a validation set, lane by lane; the best weights are kept."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, f1_score, make_scorer, r2_score
from sklearn.model_selection import StratifiedShuffleSplit

from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor, solver
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.solver.stopping import FEW_UPDATES, RELATIVE_GAIN, Stopping, Watch
from fastsgd.solver.training import Training

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 6))
SCORES = X @ rng.normal(size=(6, 3)) + rng.normal(size=(300, 3))
LABELS = SCORES.argmax(axis=1)
NOISY = {"learning_rate": "constant", "eta0": 0.05, "random_state": 1, "max_iter": 40, "tol": None}


def tail(values, count):
    return np.asarray(values[-count:])


# ---------------------------------------------------------------- the watch


def test_watch_counts_as_scikit_learn_does():
    """Above the best minus tol counts; the best is the smallest so far, within tol or not."""
    watch = Watch(1, Stopping(tol=0.1, patience=2))
    values = 1.0, 0.95, 0.86, 0.84, 0.70, np.nan, 0.65
    stops = [bool(watch.see(np.array([value]))[0]) for value in values]
    assert stops == [False, False, True, True, False, False, True]
    assert watch.best == 0.65


def test_each_class_stops_on_its_own():
    """An easy class stops before a hard one, and keeps the weights it had then."""
    y = np.where(X[:, 0] > 1.0, 2, LABELS % 2)
    model = SGDClassifier("log_loss", random_state=0, tol=1e-2, n_iter_no_change=3).fit(X, y)
    losses = np.array(model.history_["losses"])
    last = [int(np.flatnonzero(np.diff(losses[:, k]) != 0.0).max()) + 2 for k in range(3)]
    assert len(set(last)) > 1
    assert model.n_iter_ == max(last) == len(losses)


def test_softmax_stops_as_a_whole():
    options = {"loss": "log_loss", "multi_class": "multinomial", "random_state": 0}
    model = SGDClassifier(**options, n_iter_no_change=2).fit(X, LABELS)
    losses = np.array(model.history_["losses"])
    assert model.n_iter_ == len(losses) < 1000
    assert_array_equal(losses[:, 0], losses[:, 1])
    assert (np.diff(losses, axis=0) != 0.0).all()


def test_softmax_loss_is_the_objective():
    """Mean log loss at the end of a long run, plus the penalty of all classes."""
    options = {"loss": "log_loss", "multi_class": "multinomial", "batch_size": 300, "alpha": 0.1}
    model = SGDClassifier(**options, max_iter=3000, tol=None, random_state=0).fit(X, LABELS)
    p = model.predict_proba(X)[np.arange(300), LABELS]
    objective = -np.log(p).mean() + 0.05 * (model.coef_**2).sum()
    assert model.loss_curve_[-1] == pytest.approx(objective, rel=1e-5)


def test_max_iter_with_a_tolerance_warns():
    for validation in ({}, {"early_stopping": True}):
        model = SGDClassifier(max_iter=2, tol=1e-9, random_state=0, **validation)
        with pytest.warns(ConvergenceWarning, match="Maximum number of iteration reached"):
            model.fit(X, LABELS)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.set_params(tol=None).fit(X, LABELS)


def test_defaults_of_the_solver_are_those_of_the_estimators():
    stopping, model = Stopping(), SGDClassifier()
    assert stopping.max_epochs == model.max_iter
    assert stopping.tol == model.tol
    assert stopping.patience == model.n_iter_no_change
    assert not stopping.backoff and stopping.validate is None


def many_rows(n=4000):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(n, 5))
    return X, (X @ rng.normal(size=(5, 2)) + rng.logistic(size=(n, 2)) > 0).astype(int)


@pytest.mark.parametrize("patience", (1, 5, 10))
def test_auto_eases_its_rate_after_an_epoch_without_gain(patience):
    """By 4 each time, and five times whatever the patience; what a call reduced is as it was at its
    end. A gain is a part of the loss."""
    X, y = many_rows(2 * FEW_UPDATES)
    model = SGDClassifier("log_loss", random_state=0, n_iter_no_change=patience).fit(X, y[:, 0])
    rates, losses = (np.array(model.history_[name]) for name in ("learning_rate", "loss"))
    best = np.minimum.accumulate(losses)
    tol = RELATIVE_GAIN * model.tol * best[:-1]
    waited = np.append(False, losses[1:] > best[:-1] - tol)
    assert waited[-max(5, patience) :].all() and not waited[-max(5, patience) - 1]
    updates = len(X) * np.arange(1, model.n_iter_ + 1)
    eta0, mu = float(model.result_.eta0[0]), float(model.result_.mu[0])
    plain = eta0 / np.sqrt(1 + eta0 * mu * (updates - 1))
    falls = np.log(plain / rates) / np.log(4.0)
    assert_allclose(falls, np.round(falls), rtol=0.0, atol=1e-6)
    assert 3.9 < falls[-1] < 8.0
    assert_array_equal(model._continuation.state.rate_factor[0], 1.0)


@pytest.mark.parametrize("rows", (40, 400, 2000))
def test_auto_halves_its_rate_where_the_objective_no_longer_falls(rows):
    """Of a few updates an epoch; from one checkpoint to the next, and only ever by a half."""
    X, y = many_rows(rows)
    model = SGDClassifier("hinge", alpha=1e-2, random_state=0).fit(X, y[:, 0])
    rates = np.array(model.history_["learning_rate"])
    assert_allclose(rates[0], model.result_.eta0[0])
    steps = rates[1:] / rates[:-1]
    assert set(steps.tolist()) == {0.5, 1.0}
    assert_array_equal(model._continuation.state.rate_factor[0], 1.0)


def test_auto_eases_each_lane_by_its_own_loss():
    X, y = many_rows()
    options = {"loss": "log_loss", "alpha": 1e-4, "random_state": 0}
    both = SGDClassifier(**options).fit(X, y)
    for k in range(2):
        alone = SGDClassifier(**options).fit(X, y[:, k])
        assert_allclose(both.coef_[k], alone.coef_[0], rtol=1e-9)
        assert alone.n_iter_ <= both.n_iter_


def test_auto_does_not_ease_on_a_score():
    X, y = many_rows()
    model = SGDClassifier("log_loss", random_state=0, max_iter=40, early_stopping=True)
    rates = np.array(model.fit(X, y[:, 0]).history_["learning_rate"])
    assert ((rates[1:] / rates[:-1]) > 0.5).all()


def test_auto_falls_to_zero_where_the_end_is_known():
    X, y = many_rows()
    options = {"loss": "log_loss", "random_state": 0, "max_iter": 4}
    ends = SGDClassifier(tol=None, **options).fit(X, y[:, 0])
    given = SGDClassifier(total_epochs=8, tol=None, **options).fit(X, y[:, 0])
    for model, total in ((ends, 4), (given, 8)):
        rates, batches = np.array(model.history_["learning_rate"]), len(X)
        done = np.arange(1, 5) - 1 / batches  # the last update of each epoch
        first = rates[0] / (1 - done[0] / total) ** 2
        assert_allclose(rates, first * (1 - done / total) ** 2, rtol=1e-9)
    for going_on, resume in (({}, True), ({"average": True}, False)):
        model = SGDClassifier(tol=None, **options, **going_on).fit(X, y[:, 0], resume=resume)
        rates = model.history_["learning_rate"]
        assert rates[-1] > 0.4 * rates[0]
    first = SGDClassifier(**options).partial_fit(X, y[:, 0], classes=[0, 1])
    assert first.history_["learning_rate"] == rates[:1]


@pytest.mark.parametrize("loss", ("log_loss", "squared_error"))
@pytest.mark.parametrize("power", (0.0, 1.0))
def test_auto_comes_near_the_minimum(loss, power):
    """Within 1e-2 after 2 epochs and 1e-3 after 5, of easy data; 1e-2 and 3e-3 of eigenvalues that
    fall to 1/400."""
    rng = np.random.default_rng(4)
    n, d, alpha = 30_000, 20, 1e-4
    X = (rng.normal(size=(n, d)) * np.arange(1, d + 1) ** -power) @ np.linalg.qr(
        rng.normal(size=(d, d))
    )[0]
    score = X @ rng.normal(size=d)
    real = loss == "squared_error"
    y = score + rng.normal(size=n) if real else (score + rng.logistic(size=n) > 0).astype(int)

    def objective(w):
        z = X @ w[:-1] + w[-1]
        value = 0.5 * (z - y) ** 2 if real else np.logaddexp(0.0, z) - y * z
        slope = z - y if real else expit(z) - y
        gradient = np.append(X.T @ slope / n + alpha * w[:-1], slope.mean())
        return value.mean() + 0.5 * alpha * w[:-1] @ w[:-1], gradient

    best = minimize(objective, np.zeros(d + 1), jac=True, options={"gtol": 1e-8}).fun
    estimator = SGDRegressor if real else SGDClassifier
    for options, excess in (
        ({"max_iter": 2, "tol": None}, 1e-2),
        ({"max_iter": 5, "tol": None}, 1e-3 if power == 0.0 else 3e-3),
        ({}, 1e-2),
    ):
        for seed in range(3):
            model = estimator(loss, alpha=alpha, random_state=seed, **options).fit(X, y)
            found = objective(np.append(np.ravel(model.coef_), model.intercept_))[0]
            assert found < (1.0 + excess) * best
            assert model.n_iter_ <= 20


def test_adaptive_divides_the_rate_by_five():
    """Where training would stop; it stops where the rate is below 1e-6."""
    model = SGDRegressor(learning_rate="adaptive", eta0=0.05, random_state=0, n_iter_no_change=2)
    model.fit(X, SCORES[:, 0])
    rates = np.array(model.history_["learning_rate"])
    steps = rates[1:][np.diff(rates) != 0.0]
    assert_allclose(steps, 0.05 / 5.0 ** np.arange(1, len(steps) + 1))
    assert rates[0] == 0.05
    assert rates[-1] <= 1e-6 < rates[-1] * 5.0
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    constant = SGDRegressor(learning_rate="constant", eta0=0.05, random_state=0, max_iter=5)
    adaptive = SGDRegressor(learning_rate="adaptive", eta0=0.05, random_state=0, max_iter=5)
    pair = [model.set_params(tol=None).fit(X, SCORES[:, 0]) for model in (constant, adaptive)]
    assert_array_equal(*(model.coef_ for model in pair))


def test_a_tolerance_is_of_losses_whose_rows_weigh_less_than_one():
    """Not of scores, nor of greater weights."""
    unit = np.array([0.25, 1.0, 4.0])
    assert_array_equal(Watch(3, Stopping(tol=0.1), unit).tol, 0.1 * np.array([0.25, 1.0, 1.0]))
    assert Watch(3, Stopping(tol=0.1, validate=lambda coef, intercept: 0.0), unit).tol == 0.1


def test_of_equal_scores_and_losses_the_first_is_the_best():
    watch = Watch(2, Stopping(validate=lambda coef, intercept: 0.0))
    seen = [([1.0, 1.0], [2.0, 2.0]), ([1.0, 1.0], [2.0, 1.0]), ([1.0, 2.0], [1.5, 0.0])]
    better = [watch.see(np.array(value), np.array(tie))[1].tolist() for value, tie in seen]
    assert better == [[True, True], [False, True], [True, False]]


@pytest.mark.parametrize("more", (0, 1))
def test_few_updates_are_annealed(more):
    """Those of an epoch, up to 5,000."""
    data = Data(np.ones((FEW_UPDATES + more, 1)), np.ones(FEW_UPDATES + more))
    lanes, settings = Lanes(1, alpha=0.0, eta0=0.1), Settings()
    state = solver.State(data, lanes, settings)
    progress = solver.Fit()
    training = Training((data, lanes, settings), state, Stopping(plateau_factor=2.0), progress)
    assert (training.annealing is None) == (more == 1)


def test_adaptive_stops_at_its_least_rate():
    """A rate of 1e-6 is not divided any more."""
    model = SGDRegressor(learning_rate="adaptive", eta0=1e-6, tol=1e3, random_state=0)
    model.fit(X, SCORES[:, 0])
    assert set(model.history_["learning_rate"]) == {1e-6}
    assert model.n_iter_ < model.max_iter


@pytest.mark.parametrize("options", ({}, {"early_stopping": True}, {"max_iter": 9}))
def test_training_would_go_on_from_the_weights_that_are_kept(options):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = X[:, 0] + rng.normal(size=60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = SGDRegressor(random_state=0, **options).fit(X, y)
    coef, intercept = model._continuation.state.last_weights()
    assert_array_equal(coef.ravel(), model.coef_)
    assert_array_equal(intercept, model.intercept_)


# ---------------------------------------------------------------- validation


def split(y, seed=1):
    splitter = StratifiedShuffleSplit(n_splits=1, test_size=0.1, random_state=seed)
    train, held_out = next(splitter.split(X, y))
    return train, np.sort(held_out)


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
@pytest.mark.parametrize("batch_size", (1, 16))
def test_rows_held_out_leave_no_trace(make, batch_size):
    """Other rows, targets and weights in the validation set: the same losses, to the bit."""
    y = LABELS % 2
    _, held_out = split(y)
    weight = rng.uniform(0.5, 2.0, 300)
    options = {**NOISY, "max_iter": 6, "learning_rate": "auto", "eta0": None, "average": True}
    model = SGDClassifier("log_loss", early_stopping=True, batch_size=batch_size, **options)
    model.fit(make(X), y, sample_weight=weight)
    other = X.copy()
    other[held_out] *= 1.7
    weight[held_out] *= 0.3
    losses = model.loss_curve_
    scores = model.history_["validation_score"]
    model.fit(make(other), y, sample_weight=weight)
    assert model.loss_curve_ == losses
    assert model.history_["validation_score"] != scores


def test_the_same_seed_holds_out_the_same_rows():
    histories = []
    for seed in (1, 1, 2):
        options = {**NOISY, "random_state": seed}
        model = SGDClassifier(early_stopping=True, **options).fit(X, LABELS)
        histories.append(model.history_["validation_score"])
    assert histories[0] == histories[1] != histories[2]


@pytest.mark.parametrize("average", (False, True))
def test_best_weights_are_restored(average):
    """The model scores, on the rows held out, the best of all epochs."""
    y = LABELS % 2
    _, held_out = split(y)
    options = {**NOISY, "eta0": 0.5, "average": average}
    model = SGDClassifier(early_stopping=True, **options).fit(X, y)
    scores = model.history_["validation_score"]
    assert model.score(X[held_out], y[held_out]) == pytest.approx(max(scores))
    assert max(scores) > scores[-1] or average


def test_best_weights_of_each_lane():
    """Outputs have their best epochs apart; each comes from its own."""
    train, held_out = np.arange(240), np.arange(240, 300)
    options = {**NOISY, "eta0": 0.2}
    model = SGDRegressor(**options)
    model.fit(X[train], SCORES[train], X_val=X[held_out], y_val=SCORES[held_out])
    single = []
    for k in range(3):
        alone = SGDRegressor(**options)
        alone.fit(X[train], SCORES[train, k], X_val=X[held_out], y_val=SCORES[held_out, k])
        single.append(alone)
    best = [int(np.argmax(alone.history_["validation_score"])) for alone in single]
    assert len(set(best)) > 1
    assert_allclose(model.coef_, [alone.coef_ for alone in single], rtol=1e-6)
    scores = r2_score(SCORES[held_out], model.predict(X[held_out]), multioutput="raw_values")
    assert_allclose(scores, [max(alone.history_["validation_score"]) for alone in single])


def test_going_on_from_restored_weights():
    """The state is that of the model that is published."""
    still = {**NOISY, "eta0": 0.5, "momentum": 0.9}
    model = SGDClassifier(early_stopping=True, **still).fit(X, LABELS % 2)
    best = model.coef_.copy()
    model.set_params(early_stopping=False, eta0=1e-9, alpha=0.0, max_iter=1)
    model.fit(X, LABELS % 2, resume=True)
    assert_allclose(model.coef_, best, atol=1e-5)


SCORERS = {
    "accuracy": accuracy_score,
    "f1_macro": lambda y, p: f1_score(y, p, average="macro"),
    "neg_log_loss": None,
    "balanced_accuracy": None,
}


@pytest.mark.parametrize("scoring", SCORERS)
def test_any_scorer_by_name(scoring):
    """One score for all classes: they stop together."""
    val = X[250:], LABELS[250:]
    model = SGDClassifier("log_loss", scoring=scoring, random_state=0, n_iter_no_change=4)
    model.fit(X[:250], LABELS[:250], X_val=val[0], y_val=val[1])
    losses = np.array(model.history_["losses"])
    assert (np.diff(losses, axis=0) != 0.0).all()
    if SCORERS[scoring]:
        best = SCORERS[scoring](val[1], model.predict(val[0]))
        assert max(model.history_["validation_score"]) == pytest.approx(best)


def test_a_scorer_of_the_users_own():
    seen = []

    def count_positive(estimator, X, y):
        seen.append(estimator.coef_.copy())
        return float((estimator.predict(X) == "b").sum())

    y = np.where(LABELS == 1, "b", "a")
    for scoring in (count_positive, make_scorer(accuracy_score)):
        model = SGDClassifier(scoring=scoring, early_stopping=True, random_state=0)
        model.set_params(max_iter=5, tol=None).fit(X, y)
    assert len(seen) == 5
    assert not np.array_equal(seen[0], seen[-1])
    with pytest.raises(ValueError, match="nonsense"):
        SGDClassifier(scoring="nonsense", early_stopping=True).fit(X, y)


def test_default_scores_are_accuracy_and_r2():
    held_out = slice(240, 300)
    classifier = SGDClassifier(random_state=0, max_iter=1, tol=None)
    for y in (LABELS % 2, LABELS):
        classifier.fit(X[:240], y[:240], X_val=X[held_out], y_val=y[held_out])
        scores = np.atleast_2d(classifier.decision_function(X[held_out]).T).T
        signs = y[held_out][:, None] == (np.arange(3) if scores.shape[1] == 3 else [1])
        accuracy = ((scores > 0) == signs).mean()
        assert classifier.history_["validation_score"] == pytest.approx([accuracy])
    regressor = SGDRegressor("poisson", random_state=0, max_iter=1, tol=None)
    counts = np.random.default_rng(0).poisson(np.exp(0.3 * X[:, 0]))
    regressor.fit(X[:240], counts[:240], X_val=X[held_out], y_val=counts[held_out])
    score = regressor.score(X[held_out], counts[held_out])
    assert regressor.history_["validation_score"] == pytest.approx([score])


def test_one_class_watches_the_objective():
    model = SGDOneClassSVM(nu=0.2, random_state=0, max_iter=1, tol=None).fit(X, X_val=X[:50])
    margin = model.decision_function(X[:50])
    objective = np.maximum(0.0, -margin).mean() + 0.1 * (model.coef_**2).sum()
    objective += 0.2 * (1.0 - model.offset_[0])
    assert model.history_["validation_score"] == pytest.approx([-objective])
    model.set_params(early_stopping=True, max_iter=50, tol=1e-3).fit(X)
    assert model.n_iter_ < 50


def test_what_validation_refuses():
    y = LABELS
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        SGDClassifier().fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="`y_val` has classes not in"):
        SGDClassifier().fit(X, y, X_val=X, y_val=y + 1)
    with pytest.raises(ValueError, match="has 5 features"):
        SGDRegressor().fit(X, y, X_val=X[:, :5], y_val=y)
    with pytest.raises(ValueError, match="X_val contains NaN"):
        SGDRegressor().fit(X, y, X_val=np.full_like(X, np.nan), y_val=y)
    with pytest.raises(ValueError, match="y_val must have as many outputs"):
        SGDRegressor().fit(X, SCORES, X_val=X, y_val=SCORES[:, 0])
    with pytest.raises(ValueError, match="sample weights for validation set are all zero"):
        weight = np.zeros(300)
        weight[split(y)[0]] = 1.0
        SGDClassifier(early_stopping=True, random_state=1).fit(X, y, sample_weight=weight)


def test_equal_accuracies_are_told_apart_by_the_loss():
    """With a few rows to validate on, the first epoch of the best accuracy is rarely the best."""
    iris_X, iris_y = load_iris(return_X_y=True)
    parameters = {"early_stopping": True, "n_iter_no_change": 100, "alpha": 1e-3}
    scores = [
        SGDClassifier(**parameters, random_state=seed).fit(iris_X, iris_y).score(iris_X, iris_y)
        for seed in range(10)
    ]
    assert np.mean(scores) > 0.85
