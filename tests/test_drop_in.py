"""What a user of scikit-learn relies on: defaults, messages, generators, one outcome of one run."""

import inspect
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.linear_model
from numpy.testing import assert_allclose, assert_array_equal
from scikit_learn_suite import SUITES, Difference, Outcomes, faults
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.preprocessing import scale
from test_continuing import portrait

from fastsgd import DivergenceError, SGDClassifier, SGDOneClassSVM, SGDRegressor, schedules
from fastsgd.insight import compare_schedules
from fastsgd.insight.problem import problem_of
from fastsgd.learning_rate.choose import ETA0

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))
Y = {
    SGDClassifier: (X[:, 0] + rng.normal(size=60) > 0.0).astype(int),
    SGDRegressor: X.sum(axis=1) + rng.normal(size=60),
    SGDOneClassSVM: None,
}
EPOCHS = 12
SIX = np.array([[-2, -1], [-1, -1], [-1, -2], [1, 1], [1, 2], [2, 1]], dtype=np.float64)


# ---------------------------------------------------------------- one run, one outcome


def as_one_fit(model, X, y):
    model.set_params(max_iter=EPOCHS).fit(X, y)


def step_by_step(model, X, y):
    for _ in range(EPOCHS):
        model.partial_fit(X, y)


def in_pieces(model, X, y):
    for _ in range(EPOCHS // 3):
        model.set_params(max_iter=3).fit(X, y, resume=True)


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
@pytest.mark.parametrize("batch_size", (1, 2, 6))
def test_a_run_diverges_at_the_same_epoch_however_it_is_cut(make, batch_size):
    """Of single rows the second epoch has 1e11 times the loss of the first; nothing is infinite."""
    y, errors = np.array([1, 1, 1, 2, 2, 2]), []
    for train in (as_one_fit, step_by_step, in_pieces):
        model = SGDRegressor(learning_rate="optimal", alpha=1e-4, shuffle=False, tol=None)
        model.set_params(batch_size=batch_size)
        with pytest.raises(DivergenceError, match="a million times that of") as e:
            train(model, make(SIX), y)
        errors.append(pickle.loads(pickle.dumps(e.value)))
    for error in errors:
        assert (error.step, error.epoch, error.overflow) == (errors[0].step, errors[0].epoch, False)
        assert_array_equal(error.coef_, errors[0].coef_)
        assert str(error) == str(errors[0])
        assert 1 <= error.epoch < EPOCHS


def test_a_run_that_does_not_run_away_is_not_stopped():
    """Losses that rise a thousandfold and fall again, or that are of other, larger targets."""
    model = SGDRegressor(learning_rate="optimal", alpha=0.1, shuffle=False, tol=None)
    model.set_params(max_iter=200).fit(SIX, [1, 1, 1, 2, 2, 2])
    assert max(model.loss_curve_) > 1e3 * model.loss_curve_[0]
    assert model.score(SIX, [1, 1, 1, 2, 2, 2]) > 0.96


def test_an_overflow_is_told_in_the_words_of_scikit_learn():
    wild = {"learning_rate": "constant", "eta0": 1e3, "tol": None}
    sentence = r"Floating-point under-/overflow occurred at epoch #1\. Scaling input data with "
    with pytest.raises(
        ValueError, match=sentence + "StandardScaler or MinMaxScaler might help"
    ) as e:
        SGDRegressor(**wild).fit(X, Y[SGDRegressor])
    assert e.value.epoch == 1
    assert e.value.overflow
    with pytest.raises(ValueError, match="Floating-point under-/overflow occurred at epoch #0"):
        SGDRegressor().fit(1e300 * X, Y[SGDRegressor])


# ---------------------------------------------------------------- defaults


@pytest.mark.parametrize("name", ("constant", "invscaling", "adaptive"))
@pytest.mark.parametrize("estimator", Y)
def test_eta0_by_default_is_that_of_scikit_learn(estimator, name):
    options = {"learning_rate": name, "shuffle": False, "tol": None, "max_iter": 3}
    ours = estimator(**options).fit(X, Y[estimator])
    peer = getattr(sklearn.linear_model, estimator.__name__)
    theirs = peer(**options)
    if sklearn_eta0(peer) == ETA0[name]:  # 0 before scikit-learn 1.8, for all but the regressor
        assert_allclose(ours.coef_, theirs.fit(X, Y[estimator]).coef_, rtol=1e-9)
    given = estimator(eta0=0.01, **options).fit(X, Y[estimator])
    assert portrait(given) == portrait(ours)
    assert ours.result_.eta0[0] == 0.01


def sklearn_eta0(estimator):
    return inspect.signature(estimator).parameters["eta0"].default


@pytest.mark.parametrize("name", ("pa1", "pa2"))
def test_eta0_of_passive_aggressive_steps_is_one(name):
    for estimator, loss in ((SGDClassifier, "hinge"), (SGDRegressor, "epsilon_insensitive")):
        options = {"loss": loss, "learning_rate": name, "max_iter": 2, "tol": None}
        models = [estimator(random_state=0, eta0=eta0, **options) for eta0 in (None, 1.0)]
        assert_array_equal(*(model.fit(X, Y[estimator]).coef_ for model in models))


def test_a_schedule_object_has_its_rate_from_the_data():
    """So has a name that scikit-learn does not know."""
    for rate in (schedules.constant(), schedules.invscaling(), "linear", "step"):
        model = SGDRegressor(learning_rate=rate, random_state=0).partial_fit(X, Y[SGDRegressor])
        assert model.result_.curvature is not None
        assert model.result_.eta0[0] not in (0.01, 1.0)


def test_schedules_are_compared_at_the_rate_found_from_the_data():
    """0.01 is not the same for a schedule whose name scikit-learn knows and one it does not."""
    y, model = Y[SGDRegressor], SGDRegressor(random_state=0, power_t=0.5)
    names = ("constant", "invscaling", "linear")
    found = compare_schedules(model, X, y, schedules=names, epochs=2)
    for one in found.runs[:2]:
        shaped = clone(model).set_params(**one.parameters)
        assert 0.02 < problem_of(shaped, X, y, fitted=False, rates=True).lanes.eta0[0] < 1.0
    assert found.runs[1].parameters["learning_rate"].power_t == 0.5
    given = compare_schedules(model.set_params(eta0=0.01), X, y, schedules=names, epochs=2)
    for one, other in zip(found.runs, given.runs, strict=True):
        assert one.label == other.label
        assert one.loss[-1] != other.loss[-1]


def test_linear_scaling_multiplies_the_default_too():
    model = SGDRegressor(learning_rate="constant", linear_scaling=True, batch_size=5)
    assert model.partial_fit(X, Y[SGDRegressor]).result_.eta0[0] == pytest.approx(0.05)


@pytest.mark.parametrize("estimator", (SGDClassifier, SGDRegressor))
def test_loss_functions_are_the_losses_there_are(estimator):
    (known,) = (one for one in estimator._parameter_constraints["loss"] if hasattr(one, "options"))
    assert set(estimator.loss_functions) == known.options
    peer = getattr(sklearn.linear_model, estimator.__name__).loss_functions
    assert set(peer) <= set(estimator.loss_functions)
    defaults = inspect.signature(estimator).parameters
    for name, (loss, *parameter) in estimator.loss_functions.items():
        assert loss.name == name
        assert parameter == ([] if loss.parameter is None else [defaults[loss.parameter].default])


# ---------------------------------------------------------------- what is held out


@pytest.mark.parametrize("estimator", (SGDClassifier, SGDRegressor))
def test_a_generator_gives_the_validation_split_first(estimator):
    """The rows are those of the splitter with its seed; the order's seed is its next draw."""
    y, common = Y[estimator], {"max_iter": 4, "tol": None, "learning_rate": "constant"}
    model = estimator(early_stopping=True, random_state=np.random.RandomState(7), **common)
    model.fit(X, y)
    kind = StratifiedShuffleSplit if estimator is SGDClassifier else ShuffleSplit
    generator = np.random.RandomState(7)
    train, held_out = next(kind(test_size=0.1, random_state=generator).split(X, y))
    weight = np.zeros(60)
    weight[train] = 1.0
    seed = generator.randint(np.iinfo(np.int32).max)
    peer = estimator(random_state=seed, **common)
    peer.fit(X, y, sample_weight=weight, X_val=X[held_out], y_val=y[held_out])
    assert_array_equal(model.coef_, peer.coef_)
    assert model.history_["validation_score"] == pytest.approx(peer.history_["validation_score"])
    fixed = estimator(early_stopping=True, random_state=7, sampling="sequential", **common)
    drawn = fixed.set_params().fit(X, y).coef_
    fixed.set_params(random_state=np.random.RandomState(7))
    assert_array_equal(fixed.fit(X, y).coef_, drawn)


def test_the_split_of_a_generator_stays_when_a_run_goes_on():
    common = {"tol": None, "early_stopping": True, "learning_rate": "constant", "eta0": 1e-3}
    y = Y[SGDRegressor]
    whole = SGDRegressor(random_state=np.random.RandomState(3), max_iter=6, **common).fit(X, y)
    parts = SGDRegressor(random_state=np.random.RandomState(3), max_iter=2, **common)
    for _ in range(3):
        parts = pickle.loads(pickle.dumps(parts)).fit(X, y, resume=True)
    assert (np.diff(whole.history_["validation_score"]) > 0.0).all()  # the last weights are best
    assert portrait(parts) == portrait(whole)


def test_weights_that_are_all_zero():
    y, zero = Y[SGDClassifier], np.zeros(60)
    sentence = "The sample weights for validation set are all zero"
    with pytest.raises(ValueError, match=sentence):
        SGDClassifier(early_stopping=True).fit(X, y, sample_weight=zero)
    with pytest.raises(ValueError, match=r"[Ss]ample.weight") as e:
        SGDClassifier().fit(X, y, sample_weight=zero)
    assert sentence not in str(e.value)


def test_weights_that_are_zero_in_all_rows_that_are_trained_on():
    model = SGDRegressor(early_stopping=True, random_state=0)
    held_out = next(ShuffleSplit(test_size=0.1, random_state=0).split(X))[1]
    weight = np.zeros(60)
    weight[held_out] = 1.0
    with pytest.raises(ValueError, match="zero in all rows that early_stopping leaves to train on"):
        model.fit(X, Y[SGDRegressor], sample_weight=weight)


# ---------------------------------------------------------------- what differs


@pytest.mark.parametrize("suite", SUITES)
def test_the_page_for_users_has_the_differences_of_the_suite(suite):
    found = SUITES[suite]
    assert len(found.differences) <= 12
    rows = [line for line in found.page.read_text().splitlines() if line.startswith("* **")]
    assert rows == [f"* **{one.name}.** {one.reason}" for one in found.differences]


def test_the_suite_takes_nothing_but_what_is_listed():
    """A failure that is not listed, a listed test that passes, and one that is gone are errors."""
    outcomes = Outcomes()
    outcomes.ran = {"test_a[x]", "test_a[y]", "test_b"}
    outcomes.failed = {"test_a[x]": "assert 1 == 2"}
    for tests, wrong in (
        (("test_a[[]x]",), []),
        ((), ["test_a[x]: fails, and is not listed\n    assert 1 == 2"]),
        (("test_a[[]*",), ["test_a[y] (name): is listed, but passes"]),
        (("test_a[[]x]", "test_c"), ["test_c (name): there is no such test"]),
    ):
        assert faults(outcomes, [Difference("name", "reason", tests)]) == wrong
    assert faults(Outcomes(), []) == ["no test ran"]


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
@pytest.mark.parametrize("alpha", (1e-3, 1e-2))
def test_a_first_epoch_that_blows_up_is_an_error(alpha, make):
    """ "optimal" begins at rates that squared losses do not bear; R2 was -3e202."""
    X, y = load_diabetes(return_X_y=True)
    model = SGDRegressor(learning_rate="optimal", alpha=alpha, random_state=0)
    with pytest.raises(DivergenceError):
        model.fit(make(scale(X)), y)
    with pytest.raises(DivergenceError):
        model.partial_fit(make(scale(X)), y)
