"""Learning rates found from the data: by curvature or a search, and `result_`."""

import inspect
import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import linear_model
from sklearn.base import clone
from sklearn.preprocessing import normalize

from fastsgd import DivergenceError, SGDClassifier, SGDOneClassSVM, SGDRegressor
from fastsgd.learning_rate import search
from fastsgd.learning_rate.choose import (
    ETA0,
    PENALISED,
    START,
    Request,
    is_kept_by_row,
    is_settled,
    rates_of,
)
from fastsgd.learning_rate.search import is_worthwhile, search_rates
from fastsgd.losses import LOSSES
from fastsgd.optimizers import SGD
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import SCHEDULES, Schedule
from fastsgd.solver.stopping import FEW_UPDATES
from fastsgd.statistics import sample
from fastsgd.statistics.curvature import (
    LONG_RUN_UPDATES,
    Curvature,
    adaptive_rate,
    auto_rate,
    bounded,
    curvature_of,
    safe_rate,
    square_of_row,
    stable_rate,
)
from fastsgd.statistics.sample import feature_scales, sample_rows
from fastsgd.statistics.weights import typical_weight

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 6))
SCORE = X @ rng.normal(size=6)
Y = SCORE + 0.3 * rng.standard_t(3, size=300)
LABELS = (SCORE > 0).astype(int)
REAL = [name for name, loss in LOSSES.items() if "real" in loss.targets]
SCALED = [name for name in REAL if is_worthwhile(Settings(loss=name))]


def test_a_trial_is_made_of_bounded_slopes_and_real_targets():
    assert set(SCALED) == {"huber", "epsilon_insensitive", "quantile"}
    for name in SCALED:
        assert bounded(Settings(loss=name))
        assert not is_worthwhile(
            Settings(loss=name, schedule=Schedule("callable", function=lambda t, e: t))
        )
    assert not is_worthwhile(Settings(loss="log_loss", sign_targets=True))


@pytest.mark.parametrize("kind", [kind for kind in SCHEDULES if kind != "callable"])
def test_a_long_run_with_an_end_begins_lower(kind):
    """As the root of its updates, from 50,000 on; other schedules do not look at an end."""
    rates = []
    for epochs in (10.0, 1000.0, 4000.0):
        settings = Settings(schedule=Schedule(kind, total_epochs=epochs))
        rates.append(auto_rate(Data(X, Y), settings)[0])
    ends = settings.schedule.ends
    assert ends == (kind in ("polynomial", "cosine", "one_cycle", "harmonic"))
    longer = np.array([1.0, LONG_RUN_UPDATES / (1000.0 * 300), LONG_RUN_UPDATES / (4000.0 * 300)])
    assert_allclose(rates, rates[0] * np.ones(3) * (np.sqrt(longer) if ends else 1.0))


@pytest.mark.parametrize("alpha", (1e-6, 1e-4, 1e-2))
def test_but_not_where_the_distance_would_be_left(alpha):
    """rate * curvature * updates stays 12 at least in an average direction, or all of the rate is
    taken; it grows with the run. It falls little where few directions have most of the
    curvature."""
    of = np.random.default_rng(8)
    uneven = of.normal(size=(2000, 50)) / np.arange(1.0, 51.0) ** 2
    y = uneven @ of.normal(size=50)
    for epochs in (30, 300, 3000):
        options = {"alpha": alpha, "max_iter": 1, "tol": None, "total_epochs": float(epochs)}
        found = SGDRegressor(random_state=0, **options).fit(uneven, y).result_
        rate, updates = 1.0 / found.curvature.batch_curvature, 2000.0 * epochs
        flat = found.curvature.average * found.curvature.effective_rank
        if alpha > PENALISED * flat:
            assert found.initial_fraction == 1.0
            continue
        way = rate * (flat + alpha) * updates
        root = np.sqrt(min(1.0, LONG_RUN_UPDATES / updates))
        least = root ** np.sqrt(found.curvature.effective_rank)
        assert_allclose(found.initial_fraction, np.clip((12.0 / way) ** 0.75, least, 1.0))
        part = found.initial_fraction[0] * rate
        assert_allclose(found.eta0, part / (1.0 + part * alpha))
        if (alpha, epochs) == (1e-6, 30):
            assert found.initial_fraction[0] == 1.0 > root


@pytest.mark.parametrize("layout", ("dense", "csr"))
@pytest.mark.parametrize("scale", (1e-80, 1e-30, 1.0, 1e80))
def test_effective_rank(scale, layout):
    """(sum of eigenvalues)^2 / (sum of squares) / d: 1 where all are equal, 1/d where one is all;
    of any scale."""
    of = np.random.default_rng(5)
    spectra = np.ones(20), np.eye(20)[0], 1.0 / np.arange(1.0, 21.0), np.ones(300)
    for eigenvalues in spectra:
        d = len(eigenvalues)
        X = of.normal(size=(4000, d)) * np.sqrt(eigenvalues)
        data = Data(sp.csr_array(scale * X) if layout == "csr" else scale * X, X[:, 0])
        exact = eigenvalues.sum() ** 2 / np.square(eigenvalues).sum() / min(d, 100)
        assert_allclose(curvature_of(data, Settings()).effective_rank, min(1.0, exact), rtol=0.4)
        if scale == 1.0:
            mu = auto_rate(data, Settings())[1]
            size = (np.square(X).sum(axis=1).mean() + 1.0) / (d + 1)  # with the intercept's ones
            assert_allclose(mu, 0.2 * size * min(1.0, exact), rtol=0.5)
    for X in (np.zeros((5, 3)), np.ones((1, 3)), np.eye(3)):
        assert curvature_of(Data(X, np.ones(len(X))), Settings()).effective_rank == 1.0


CURVATURE = Curvature(
    smoothness=2.0,
    noise=20.0,
    mean_square=9.0,
    largest=9.0,
    noise_weight=1.0,
    batch=1.0,
    features=6,
    effective_rank=0.5,
)


def test_the_rate_of_adagrad_is_a_length_that_penalties_shorten():
    """Half of 1 / (smoothness * root mean square of |x|), times h / (h + alpha) with h the
    curvature of an average direction; of an alpha and a curvature of 0 all of it."""
    weight, alpha = np.array([1.0, 3.0, 3.0, 0.0]), np.array([0.0, 1e-3, 5.0, 0.0])
    h = weight * 2.0 * 9.0 / 6.0
    part = np.append(h[:3] / (h[:3] + alpha[:3]), 1.0)
    assert_allclose(adaptive_rate(CURVATURE, weight, alpha), 0.5 / (2.0 * 3.0) * part)


def test_the_rate_of_adagrad_makes_up_for_short_rows():
    """By one over their size; the curvature of features is that of size^2."""
    curvature = replace(CURVATURE, mean_square=1.01)
    for alpha in (0.0, 1e-3):
        h = 2.0 * 1.01 * 0.1**2 / 6.0
        expected = 0.5 / (2.0 * np.sqrt(1.01)) / 0.1 * (h / (h + alpha))
        assert_allclose(adaptive_rate(curvature, 1.0, alpha, 0.1), expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_smoothness_is_that_of_the_loss_or_one(loss):
    """Where its slope has jumps, or none that changes; counts have one of their own."""
    known = LOSSES[loss].smoothness
    expected = known if 0.0 < known < np.inf else 1.0
    if LOSSES[loss].targets != {"count"}:
        settings = Settings(loss=loss, sign_targets="real" not in LOSSES[loss].targets)
        assert curvature_of(Data(X, Y), settings).smoothness == expected


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
@pytest.mark.parametrize(("n", "unit"), ((2, 1.0), (12, 1e-3), (12, 30.0), (64, 1.0), (127, 1.0)))
def test_effective_rank_of_few_rows_is_that_of_all_pairs(n, unit, make):
    """Of 64 rows at most, the first ones where there are fewer than 128."""
    rows = unit * np.random.default_rng(n).normal(size=(n, 30)) * np.linspace(0.1, 3.0, 30)
    found = curvature_of(Data(make(rows), np.ones(n)), Settings()).effective_rank
    gram = (rows[:64] @ rows[:64].T) ** 2
    m = len(gram)
    second = (gram.sum() - np.trace(gram)) / (m * (m - 1))
    assert_allclose(found, min(1.0, np.square(rows).sum(axis=1).mean() ** 2 / second / 30.0))


@pytest.mark.parametrize("batch", (1.0, 2.5, 64.0))
def test_the_curvature_that_a_batch_meets(batch):
    """The largest one, and of what the noise is beyond it a part: eta0 is one over it."""
    noise, momentum = 20.0, 0.5
    found = Curvature(2.0, noise, 9.0, 3.0, 0.4, batch, 6, 0.5)
    expected = 2.0 * (3.0 + (1.4 * noise - 3.0) / batch)
    assert_allclose(found.batch_curvature, expected)
    assert_allclose(found.average, 2.0 * 9.0 / 6.0)
    rates = stable_rate(found, Settings(optimizer=SGD(momentum=momentum)))
    assert_allclose(rates, (0.5 / expected, 0.2 * 3.0 * 0.5))


def test_weights_too_small_for_a_rate_are_refused_where_one_is_to_be_found():
    data = Data(X, np.where(Y > 0.0, 1.0, 0.0), np.full(300, 1e-305))
    lanes = Lanes(1, 0.0, 1.0, weight_positive=1e-6, weight_negative=1e-6)
    settings = Settings("log_loss", sign_targets=True, schedule=Schedule("inverse"))
    with pytest.raises(ValueError, match="sample_weight and class_weight are so small"):
        rates_of(Request("auto", None, 0.0, 1, False), data, lanes, settings)
    assert rates_of(Request("auto", 0.1, 0.0, 1, False), data, lanes, settings).eta0 == 0.1


def test_the_safe_rate_of_momentum():
    """Steps of momentum beta add up to 1 / (1 - beta) of one."""
    data, lanes = Data(X, Y), Lanes(1, 0.1, 1.0)
    plain = safe_rate(data, lanes, Settings("squared_error"))
    moving = safe_rate(data, lanes, Settings("squared_error", optimizer=SGD(0.75)))
    assert_allclose(moving, 0.25 * plain)


def test_losses_of_bounded_slope():
    unbounded = {"squared_error", "squared_hinge", "squared_epsilon_insensitive", "poisson"}
    for name in LOSSES:
        signs = "sign" in LOSSES[name].targets
        assert bounded(Settings(name, signs)) == (name not in unbounded), name


def test_rates_of_a_users_loss_that_diverges_are_left_out_by_fours(monkeypatch):
    def losses(data, lanes, settings, rates, most):
        if rates.shape[1] > 9:
            raise DivergenceError("too high", learning_rate=1.0, feature_scale=1.0)
        return np.zeros(rates.shape)

    monkeypatch.setattr(search, "_losses", losses)
    lanes = Lanes(1, 0.0, 1.0)
    data, most = Data(X, Y), np.full(1, np.inf)
    found = search._finite_losses(data, lanes, Settings(), np.ones(1), np.arange(16), most)
    assert_array_equal(np.isfinite(found[0]), np.arange(16) < 8)


def test_largest_curvature_of_batches():
    """A tenth above what power iteration finds of [X 1]'[X 1] / n."""
    wide = X * np.array([3.0, 1.0, 1.0, 0.1, 0.1, 0.1])
    rows = np.hstack([wide, np.ones((len(wide), 1))])
    largest = np.linalg.eigvalsh(rows.T @ rows / len(rows))[-1]
    for make in (np.asarray, sp.csr_array):
        found = curvature_of(Data(make(wide), Y), Settings(batch_size=8)).largest
        assert_allclose(found, 1.1 * largest, rtol=0.02)


@pytest.mark.parametrize("make", (np.asarray, sp.csr_array))
def test_square_of_a_row(make):
    for row in ([3.0, 4.0, 0.0], [0.0, 0.0, 0.0], [0.0, 2.0, 0.0]):
        assert square_of_row(Data(make([row]), np.ones(1))) == np.square(row).sum()
    assert np.isnan(square_of_row(Data(make([row]), np.ones(1), np.ones(1))))


def test_rows_that_are_sampled():
    """Evenly spaced, of positive weight; of wide rows fewer, of CSR a sixteenth of the values."""
    n = 10_000
    for d, most in ((1, 4096), (64, 1024), (10_000, 64)):
        data = Data(np.lib.stride_tricks.as_strided(np.ones(1), (n, d), (0, 0)), np.ones(n))
        found = np.arange(n)[sample_rows(data, 1 << 16)]
        assert_array_equal(found, np.arange(most) * (n // most))
    sparse = sp.random_array((n, 50), density=0.08, format="csr", rng=0)
    found = np.arange(n)[sample_rows(Data(sparse, np.ones(n)), 1 << 16)]
    assert len(found) == (1 << 16) // (16 * sparse.nnz // n)
    weight = np.arange(n) % 2.0
    found = sample_rows(Data(np.ones((n, 64)), np.ones(n), weight), 1 << 16)
    assert_array_equal(found, 1 + 2 * np.arange(1024) * (n // 2 // 1024))


def test_whether_a_loss_has_a_gradient_at_zero():
    """Of the features, or of an intercept that is learnt."""
    y = np.array([1.0, 1.0, 5.0])
    cases = {
        (0.0, True): [True, False],
        (0.0, False): [False, False],
        (1.0, False): [True, True],
    }
    for (size, fit_intercept), expected in cases.items():
        data = Data(
            size * np.array([[1.0], [-1.0], [3.0]]), np.stack([y, [1.0, -1.0, 0.0]], axis=1)
        )
        lanes = Lanes(2, alpha=0.0, eta0=1.0, target=[0, 1])
        settings = Settings("squared_error", fit_intercept=fit_intercept)
        assert_array_equal(search._has_gradient(data, lanes, settings), expected)
        weighted = replace(data, sample_weight=np.zeros(3))
        assert not search._has_gradient(weighted, lanes, settings).any()


@pytest.mark.parametrize(("alpha", "penalised"), ((1e-6, False), (3e-3, True)))
def test_a_rate_of_a_strong_penalty_falls_by_it_alone(alpha, penalised):
    """One that is given by the data where its end is known; others do not fall by a curvature."""
    schedule = Schedule("harmonic", total_epochs=1000.0)
    settings = Settings("squared_error", schedule=schedule, optimizer=SGD(momentum=0.5))
    wide = np.hstack([0.01 * X, np.zeros((300, 600))])
    data, lanes = Data(wide, Y), Lanes(1, alpha, 1.0)
    found = rates_of(Request("auto", None, alpha, 1, False), data, lanes, settings)
    assert found.mu == (alpha / 0.5 if penalised else 0.0)


def test_typical_weights():
    """Sums of squares over sums; 1 where a lane has no rows of weight."""
    weight = np.arange(300.0) % 4
    y = np.where(np.arange(300) < 200, 1.0, 0.0)
    lanes = Lanes(3, 0.0, 1.0, weight_positive=[1.0, 2.0, 0.0], weight_negative=[1.0, 0.5, 0.0])
    settings = Settings("hinge", sign_targets=True)
    found = typical_weight(Data(X, y, weight), lanes, settings)
    s = weight * np.where(y > 0.0, 2.0, 0.5)
    expected = np.square(weight).sum() / weight.sum(), np.square(s).sum() / s.sum(), 1.0
    assert_allclose(found, expected)


@pytest.mark.parametrize("name", ("constant", "invscaling", "adaptive"))
def test_rates_without_data_are_those_of_scikit_learn(name):
    default = inspect.signature(linear_model.SGDRegressor).parameters["eta0"].default
    model = SGDRegressor(learning_rate=name, max_iter=1, tol=None).fit(X, Y)
    assert model.result_.eta0 == ETA0[name] == default
    of = inspect.signature(linear_model.PassiveAggressiveRegressor).parameters["C"].default
    assert ETA0["pa1"] == ETA0["pa2"] == of


@pytest.mark.parametrize("batch_size", (1, 4))
def test_noise_counts_twice_at_most(batch_size):
    """Where an epoch has 2,000 updates or more; in part where it has fewer."""
    for rows in (300, 1000, 2000, 8000, 100_000):
        data, settings = Data(X, Y, epoch_rows=rows), Settings(batch_size=batch_size)
        found = curvature_of(data, settings).noise_weight
        assert_allclose(found, min(1.0, rows / batch_size / 2000.0))


@pytest.mark.parametrize("mean", (0.01, 0.5, 40.0))
def test_the_smoothness_of_counts_is_three_times_their_size(mean):
    """Of their root mean square; at least 1."""
    y = np.random.default_rng(0).poisson(mean, 300).astype(float)
    found = curvature_of(Data(X, y), Settings(loss="poisson")).smoothness
    assert_allclose(found, max(1.0, 3.0 * np.sqrt(np.mean(y**2))))


@pytest.mark.parametrize("make", (np.array, sp.csr_array))
def test_scales_of_features_that_may_differ(make):
    """Root mean squares of what is not zero; none where these cannot differ by the ratio."""
    table = np.ones((100, 2))
    table[1:, 1], table[0, 1] = 0.0, 10.0
    data = Data(make(table), np.ones(100))
    for ratio in (0.0, 5.0, 9.99):
        columns, scales = feature_scales(data, ratio)
        assert_array_equal(columns, [0, 1])
        assert_array_equal(scales, [1.0, 10.0])
    assert feature_scales(data, 101.0) is None
    assert feature_scales(Data(make(np.full((4, 3), 2.0)), np.ones(4)), 2.0) is None


@pytest.mark.parametrize(("make", "part"), ((np.asarray, 8), (sp.csr_array, 32)))
def test_scales_are_those_of_a_part_of_a_sample(make, part, monkeypatch):
    """Of an eighth of the values, of CSR of a 32nd."""
    asked = []
    monkeypatch.setattr(sample, "sample_rows", lambda _, values: asked.append(values) or slice(9))
    feature_scales(Data(make(X), Y))
    assert asked == [(1 << 21) // part]


def test_scales_that_differ_by_the_ratio_itself_are_none():
    assert feature_scales(Data(np.array([[1.0, 3.0]]), np.ones(1)), 3.0) is None


@pytest.mark.parametrize("scale", (1e-2, 1.0, 1e3))
@pytest.mark.parametrize("loss", SCALED)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_targets_of_any_scale(loss, scale):
    """The untouched default comes as near the minimum as the best of rates from far below to far
    above, whose grid knows nothing of the scale."""
    X = rng.normal(size=(2000, 6))
    y = scale * (X @ np.arange(6.0) + rng.standard_t(3, size=2000))
    options = {"loss": loss, "epsilon": 0.1 * scale if loss == "huber" else 0.0, "alpha": 1e-9}
    if loss == "huber":
        options["epsilon"] = 0.1  # a slope that is tiny beside large targets
    terms, parameter = LOSSES[loss], 0.5 if loss == "quantile" else options["epsilon"]

    def value(**more):
        model = SGDRegressor(**options, random_state=0, **more).fit(X, y)
        return float(np.mean(terms.value(model.predict(X), y, parameter)))

    grid = [value(eta0=eta0, tol=None, max_iter=20) for eta0 in 4.0 ** np.arange(-8, 9)]
    assert value() < 1.02 * min(grid)
    assert min(grid) < 0.5 * max(grid)


def test_a_trial_is_of_the_data_and_the_seed_alone():
    """Not of penalties, storage or order of columns; each output has its own."""
    eta0 = np.array([0.1, 0.1])
    both = Lanes(2, alpha=0.0, eta0=1.0, target=[0, 1], label=0.0)
    settings = Settings(loss="huber", loss_parameter=0.1)
    tried = search_rates(Data(X, np.column_stack([Y, 50.0 * Y])), both, settings, eta0)
    assert tried.loss.shape == (2, len(tried.factors))
    assert tried.chosen[1] >= 8.0 * tried.chosen[0]
    for k, y in enumerate((Y, 50.0 * Y)):
        for alpha in (0.0, 1.0):
            one = Lanes(1, alpha=alpha, l1=alpha, eta0=1.0, label=0.0)
            for X_ in (X, sp.csr_array(X)):
                alone = search_rates(Data(X_, y), one, settings, eta0[:1])
                m = len(alone.factors)
                assert_allclose(alone.loss[0], tried.loss[k, :m], rtol=1e-6)
                assert alone.chosen[0] == tried.chosen[k]


@pytest.mark.parametrize("rate", (1e-12, 0.1, 1e12))
def test_rates_that_are_tried_are_powers_of_two_without_a_gap(rate):
    """Sixteen, and sixteen more as long as the best is at the end; the best is among them."""
    settings = Settings(loss="huber", loss_parameter=0.1)
    found = search_rates(Data(X, Y), Lanes(1, 0.0, 1.0), settings, np.full(1, rate))
    exponents = np.log2(found.factors)
    assert_array_equal(np.diff(exponents), 1.0)
    assert exponents[0] <= -4.0 < 11.0 <= exponents[-1]
    assert len(exponents) % 16 == 0
    assert (len(exponents) == 16) == (rate == 0.1)
    assert found.loss[0, found.factors == found.chosen] <= 1.03 * found.loss.min()
    assert exponents[0] < np.log2(found.chosen) < exponents[-1]


@pytest.mark.parametrize(("rows", "batch_size"), ((300, 1), (300, 8), (100, 1), (20, 4), (20, 64)))
def test_a_trial_has_about_as_many_updates_as_rows_of_a_sample(rows, batch_size, monkeypatch):
    """256 of them, and at most ten epochs."""
    seen = []

    def losses(data, lanes, settings, eta0, exponents, most):
        assert (settings.schedule.kind, settings.schedule.power) == ("polynomial", 2.0)
        seen.append((data.n, settings.schedule.total_epochs))
        return np.square(exponents - 1.0)[None]

    monkeypatch.setattr(search, "_finite_losses", losses)
    settings = Settings(loss="huber", loss_parameter=0.1, batch_size=batch_size)
    data = Data(X[:rows], Y[:rows])
    found = search_rates(data, Lanes(1, 0.0, 1.0), settings, np.ones(1))
    n = min(rows, 256)
    updates = -(-n // min(batch_size, n))
    assert seen == [(n, min(10.0, float(-(-256 // updates))))]
    assert found.chosen == 2.0


def test_a_rate_that_was_tried_is_the_stable_one_times_the_best_factor():
    """And one over it has alpha added."""
    data, lanes = Data(X, 1e3 * Y), Lanes(2, [0.0, 0.3], 1.0)
    settings = Settings(loss="huber", loss_parameter=0.1, schedule=Schedule("inverse"))
    found = rates_of(Request("auto", None, 0.1, 1, False), data, lanes, settings)
    assert found.search.chosen[0] != 1.0
    stable = stable_rate(found.curvature, settings)[0]
    assert_allclose(1.0 / found.eta0, 1.0 / (stable * found.search.chosen) + lanes.alpha)


def test_few_rows_after_few_others_have_the_mean_of_their_curvatures():
    """By their numbers: one over the rate is that mean. From 100 rows on a rate stays or falls."""
    lanes, settings = Lanes(1, 0.0, 1.0), Settings(schedule=Schedule("inverse"))
    request = Request("auto", None, 0.0, 1, False)
    parts = Data(X[:20], Y[:20]), Data(3.0 * X[20:50], Y[20:50]), Data(X[50:] / 9.0, Y[50:])
    first, second, third = (rates_of(request, part, lanes, settings) for part in parts)
    both = rates_of(request, parts[1], lanes, settings, first)
    assert both.rows == 50
    assert_allclose(1.0 / both.eta0, (20.0 / first.eta0 + 30.0 / second.eta0) / 50.0)
    assert_allclose(both.mu, (20.0 * first.mu + 30.0 * second.mu) / 50.0)
    kept = rates_of(request, parts[1], lanes, settings, third)
    assert_array_equal([kept.eta0, kept.mu], [second.eta0, second.mu])
    kept = rates_of(
        request, parts[2], lanes, settings, rates_of(request, Data(X, Y), lanes, settings)
    )
    assert kept.eta0 < third.eta0


@pytest.mark.parametrize("alpha", (0.0, 1e-2, 10.0))
def test_a_row_is_known_to_keep_a_rate_where_it_does(alpha):
    """Of lengths around that of which the rate is."""
    lanes, settings = Lanes(1, alpha, 1.0), Settings(schedule=Schedule("inverse"))
    request, kept = Request("auto", None, alpha, 1, False), []
    known = rates_of(request, Data(X, Y), lanes, settings)
    for square in np.geomspace(0.01, 1000.0, 40):
        row = Data(np.full((1, 6), np.sqrt(square / 6.0)), np.ones(1))
        kept.append(is_kept_by_row(square, row, lanes, settings, known))
        assert kept[-1] == (rates_of(request, row, lanes, settings, known).eta0 == known.eta0)
    assert set(kept) == {True, False}


@pytest.mark.parametrize(
    ("rate", "kind", "eta0", "loss", "settled"),
    (
        ("optimal", "inverse", None, "hinge", True),
        (None, "callable", None, "hinge", True),
        ("constant", "constant", 0.1, "squared_error", True),
        ("auto", "inverse", None, "squared_error", False),
        ("auto", "inverse", None, "hinge", True),
        ("invscaling", "inverse", None, "squared_error", True),
        ("auto", "inverse", 0.1, "squared_error", True),
    ),
)
def test_rates_are_settled_where_other_rows_leave_them(rate, kind, eta0, loss, settled):
    """From 100 rows on; a rate that is given by the row is not, since batches may be short."""
    function = {"function": lambda t, e: 0.1} if kind == "callable" else {}
    settings = Settings(loss, sign_targets=loss == "hinge", schedule=Schedule(kind, **function))
    request, lanes = Request(rate, eta0, 0.1, 1, False), Lanes(1, 0.1, 1.0)
    known = rates_of(request, Data(X, Y), lanes, settings)
    steep = rates_of(request, Data(9.0 * X[:50], Y[:50]), lanes, settings, known)
    assert is_settled(request, settings, known) == settled
    assert (steep.eta0 == known.eta0 and steep.mu == known.mu) == settled
    assert not is_settled(replace(request, linear_scaling=True), settings, known)


def test_rows_of_weight_zero_are_not_tried():
    weight = (rng.random(300) < 0.5).astype(float)
    bad = np.where(weight == 0.0, 1e6, Y)
    lanes, settings = Lanes(1, alpha=0.0, eta0=1.0), Settings(loss="huber", loss_parameter=0.1)
    some = search_rates(Data(X, bad, weight), lanes, settings, np.ones(1))
    kept = search_rates(Data(X[weight > 0], Y[weight > 0]), lanes, settings, np.ones(1))
    for name, ours in vars(some).items():
        assert_array_equal(ours, getattr(kept, name))


@pytest.mark.parametrize("n_jobs", (1, 3))
def test_the_same_rates_for_any_threads(n_jobs):
    options = {"loss": "huber", "batch_size": 16, "random_state": 0}
    one = SGDRegressor(**options).fit(X, Y)
    other = SGDRegressor(**options, n_jobs=n_jobs).fit(X, Y)
    assert one.result_.eta0 == other.result_.eta0
    assert_array_equal(one.coef_, other.coef_)


def rows_of_words(n=20_000, d=10_000, each=20):
    """CSR rows of norm 1 with few of many features, and two classes that they tell."""
    of = np.random.default_rng(3)
    columns = np.minimum(d * of.random((n, each)) ** 3, d - 1).astype(np.int32)
    values = np.full(n * each, each**-0.5, dtype=np.float32)
    X = sp.csr_matrix((values, columns.ravel(), each * np.arange(n + 1)), shape=(n, d))
    X.sum_duplicates()
    return X, (X @ of.normal(size=d) > 0.1).astype(int)


def test_a_strong_penalty_makes_the_rate_fall_as_its_inverse():
    """Nearer to the minimum after two passes than with eta0 (1 - x)^2, of which lanes with a weak
    penalty have every bit."""
    X, y = rows_of_words()

    def end(**options):
        options = {"alpha": 1e-3, "tol": None, "max_iter": 2, "random_state": 0, **options}
        return SGDClassifier("log_loss", **options).fit(X, y)

    def objective(model):
        scores = model.decision_function(X) * np.where(y, 1.0, -1.0)
        return np.logaddexp(0.0, -scores).mean() + 0.5e-3 * np.square(model.coef_).sum()

    found, before = end(), end(learning_rate=Schedule("polynomial"))
    least = objective(end(max_iter=200))
    assert objective(found) - least < 0.5 * (objective(before) - least)
    assert (found.result_.mu[0], found.result_.initial_fraction[0]) == (1e-3, START)
    assert "1 / (1 / (eta0 (1 - x)) + mu (t - 1)), mu = 0.001" in str(found.result_)
    weak = {"alpha": 1e-6}
    polynomial = end(**weak, learning_rate=Schedule("polynomial"))
    assert_array_equal(end(**weak).coef_, polynomial.coef_)


def test_lanes_of_strong_and_weak_penalties_have_rates_of_their_own():
    X, y = rows_of_words(2000)
    data = Data(X, y.astype(np.float32))
    settings = Settings("log_loss", sign_targets=True, schedule=Schedule("harmonic"))
    request = Request("auto", None, 1e-3, 1, linear_scaling=False)
    alphas = [1e-6, 1e-4, 1e-3, 1e-2]
    together = rates_of(request, data, Lanes(4, alpha=alphas, eta0=1.0), settings)
    for k, alpha in enumerate(alphas):
        alone = rates_of(request, data, Lanes(1, alpha=alpha, eta0=1.0), settings)
        for name in ("eta0", "mu", "intercept_rate"):
            assert getattr(together, name)[k] == getattr(alone, name)[0], (alpha, name)
    assert together.mu.tolist() == [0.0, 1e-4, 1e-3, 0.0]  # the last one holds the intercept back
    assert (together.intercept_rate[[0, 3]] == 1.0).all()
    assert (together.intercept_rate[1:3] < 1.0).all()


def test_an_intercept_beside_strong_penalties_has_a_twentieth_of_the_mean_square_of_the_rate():
    """Of rows alone, without the intercept's own 1: docs/learning-rate.md."""
    X, y = rows_of_words(2000)
    X = normalize(X).multiply(4.0).tocsr()
    settings = Settings("log_loss", sign_targets=True, schedule=Schedule("harmonic"))
    request = Request("auto", None, 1e-3, 1, linear_scaling=False)
    lanes = Lanes(1, alpha=1e-3, eta0=1.0)
    found = rates_of(request, Data(X, y.astype(np.float32)), lanes, settings)
    assert found.mu[0] == 1e-3
    assert_allclose(found.intercept_rate, 4.0**2 / 20, rtol=1e-5)


@pytest.mark.parametrize("rate", sorted(ETA0))
def test_a_rate_by_name_without_eta0_has_that_of_scikit_learn(rate):
    """Which is 0.01, and 1 for the aggressiveness of passive-aggressive steps."""
    eta0 = 1.0 if rate.startswith("pa") else linear_model.SGDRegressor().eta0
    loss = "hinge" if rate.startswith("pa") else "log_loss"
    options = {"learning_rate": rate, "random_state": 0, "max_iter": 3, "tol": None}
    ours = SGDClassifier(loss, **options).fit(X, LABELS)
    same = SGDClassifier(loss, **options, eta0=eta0).fit(X, LABELS)
    assert_array_equal(ours.coef_, same.coef_)


def test_a_sample_of_csr_has_a_sixteenth_of_the_values_of_a_dense_one():
    """2^17, where a value of CSR takes as long as sixteen."""
    n, each = 5000, 100
    indices = np.tile(np.arange(each), n)
    X = sp.csr_array((np.ones(n * each), indices, each * np.arange(n + 1)), shape=(n, each))
    taken = each * len(range(n)[sample_rows(Data(X, np.ones(n)))])
    assert 2**17 - each < taken <= 2**17
    dense = Data(np.ones((2100, 1000)), np.ones(2100))
    assert 1000 * len(range(2100)[sample_rows(dense)]) == 2**21 // 1000 * 1000


def test_result_of_a_rate_that_was_found():
    model = SGDClassifier("log_loss", random_state=0).fit(X, LABELS)
    found = model.result_
    squares = np.square(X).sum(axis=1) + 1.0
    assert_allclose(found.curvature.noise, squares.mean())
    assert_allclose(found.eta0, 1 / (0.25 * (1 + 300 / 2000) * squares.mean() + 1e-4), rtol=1e-3)
    assert (found.epochs, found.updates, found.stopped) == (model.n_iter_, 300, "tolerance")
    assert found.schedule.kind == "constant"  # few updates, watched
    assert found.average == 0
    text = str(found)
    for part in ("eta0:", "smoothness 0.25", "constant; halved where", "by the tolerance"):
        assert part in text
    assert "that of batches" not in text
    assert "momentum" not in text
    assert str(pickle.loads(pickle.dumps(found))) == text


def test_result_of_several_lanes():
    found = SGDClassifier("log_loss", random_state=0).fit(X, LABELS).result_
    found = replace(found, schedule=Schedule("harmonic", total_epochs=4.0))
    for mu, said in (
        ([0.25, 0.25], "mu = 0.25,"),
        ([0.25, 0.5], "mu = 0.25 to 0.5,"),
        ([0.0, 0.5], "mu = 0 to 0.5, where mu = 0 eta0 (1 - x)^2,"),
    ):
        assert f"1 / (1 / (eta0 (1 - x)) + mu (t - 1)), {said}" in str(
            replace(found, mu=np.array(mu))
        )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_result_says_what_was_asked_for():
    X = rng.normal(size=(FEW_UPDATES + 1, 3))
    y = (X[:, 0] > 0).astype(int)
    cases = {
        "as given": {"eta0": 0.1},
        "sqrt(1 + eta0 mu (t - 1))": {"max_iter": 3, "tol": 1e-9},
        "(1 - x)^2, x the part done of 40 epochs; started at 0.5 of": {"tol": None, "max_iter": 40},
        "of the stable rate, for 200,040 updates": {"tol": None, "max_iter": 40},
        "by max_iter": {"tol": None, "max_iter": 2},
        "from update 1 on": {"average": True, "max_iter": 2, "tol": None},
        "batches of 3 rows": {"batch_size": 3, "max_iter": 2, "tol": None},
        "batches of 31.49 rows": {
            "batch_size": 32,
            "max_iter": 2,
            "tol": None,
        },  # the last is short
        "1 - momentum = 0.1": {"momentum": 0.9, "max_iter": 2, "tol": None},
    }
    for part, options in cases.items():
        model = SGDClassifier("log_loss", random_state=0, **options)
        assert part in str(model.fit(X, y).result_)
    scaled = SGDRegressor("huber", alpha=0.0, random_state=0).fit(X, 1000.0 * X[:, 0])
    assert "rates on a sample" in str(scaled.result_)
    assert SGDOneClassSVM(random_state=0).fit(X).result_.curvature is None


def test_a_validation_score_does_not_let_the_rate_stay():
    model = SGDClassifier("log_loss", random_state=0, early_stopping=True).fit(X, LABELS)
    assert model.result_.schedule.kind == "inverse"
    assert not model.result_.reduces_on_plateau
    later = clone(model).set_params(early_stopping=False).partial_fit(X, LABELS, classes=[0, 1])
    assert later.result_.schedule.kind == "inverse"


def test_the_harmonic_rate_by_its_formulas():
    """Of lanes without mu another one than of lanes with a small mu."""
    schedule = Schedule("harmonic", total_epochs=4.0)
    found = schedule.rate(np.full(3, 0.5), np.array([0.0, 0.2, 3.0]), np.full(3, 11), 1.0)
    rate = 0.5 * 0.75
    assert_allclose(found, [rate * 0.75, rate / (1 + 2 * rate), rate / (1 + 30 * rate)])
