"""When does a mini-batch beat single-sample updates, in epochs and in seconds?

    python benchmarks/minibatch.py           prints the tables, writes docs/minibatch.png
    python benchmarks/minibatch.py --quick   a tenth of the rows, one seed, no figure

L2 logistic regression, float32, alpha = 1 / n, rows reshuffled every epoch. For each batch size, with
and without momentum, a grid of learning rates trains as lanes of one pass. What is reported is the
fewest epochs after which

    (f(w) - f*) / (f(0) - f*)

the part of the first gap to the optimum that is left, is at most 1e-2 and 1e-3, with the best
constant rate and the best decaying one, eta0 / (1 + eta0 mu (t - 1)). Seconds are these epochs times the
measured seconds of an epoch of one lane in one thread, since a user trains one model at a time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier as Peer
from sklearn.preprocessing import StandardScaler
from test_speed import dense, text
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from fastsgd import solver
from fastsgd.bench import environment, format_header, interleaved
from fastsgd.problem import Data, Lanes, Settings
from fastsgd.schedules import inverse

BATCH_SIZES = (1, 4, 16, 64, 256, 1024, 4096)
"""And n, the full batch."""

MOMENTA = (0.0, 0.9)
TARGETS = (1e-2, 1e-3)
KINDS = ("constant", "decaying")
SMOOTHNESS = 0.25  # largest second derivative of the logistic loss

FIRST_POINT, POINTS_PER_OCTAVE = 1 / 64, 4
"""f is evaluated after 1/64 epoch and then at positions a factor of 2^(1/4) apart."""

CONSTANT_RATES, FIRST_RATES, DECAYS = np.arange(-12.0, 8.0), np.array([-1.0, 1.0, 3.0, 5.0]), np.arange(-6.0, 1.0)
"""Exponents of 2 of the grid, see make_grid."""

RUNNERS_UP = 2
"""Lanes of each kind and target that the first seed passes on to the other seeds."""

Array = NDArray[Any]


# Problems.


@dataclass(frozen=True)
class Problem:
    """A table and how long a run on it may be.

    Attributes
    ----------
    name : str
    X : ndarray or CSR array of shape (n, d), float32
    y : ndarray of shape (n,)
        Classes 0 and 1.
    alpha : float
        Strength of the L2 penalty.
    cap : int
        Epochs after which a run is given up.
    timed_epochs : int
        Epochs of one timed call; more than one where an epoch is shorter than a call.
    """

    name: str
    X: Any
    y: NDArray[np.int64]
    alpha: float
    cap: int
    timed_epochs: int = 1

    @property
    def n(self) -> int:
        return len(self.y)

    @property
    def data(self) -> Data:
        return Data(self.X, self.y.astype(np.float32))

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        return (*(m for m in BATCH_SIZES if m < self.n), self.n)

    @property
    def mean_square(self) -> float:
        """Mean |x|^2, the intercept's feature of ones included."""
        values = self.X.data if hasattr(self.X, "indptr") else self.X.ravel()
        return 1.0 + float(np.dot(values, values)) / self.n


def correlated(rows: int, features: int) -> tuple[Array, NDArray[np.int64]]:
    """Normal rows whose covariance has eigenvalues 1 / j, in a random basis."""
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.standard_normal((features, features)))
    Z = rng.standard_normal((rows, features), dtype=np.float32)
    X = (Z / np.sqrt(np.arange(1, features + 1, dtype=np.float32))) @ basis.T.astype(np.float32)
    score = Z @ rng.standard_normal(features).astype(np.float32) / np.float32(np.sqrt(features))
    return X, (2.0 * score + rng.logistic(size=rows) > 0).astype(np.int64)


def make_problems(scale: float = 1.0) -> list[Problem]:
    """The four problems; generated ones with ``scale`` times their rows."""
    n_easy, n_hard, n_text = (round(scale * n) for n in (200_000, 100_000, 100_000))
    easy, sparse = dense(n_easy, 28), text(n_text, 47_000, 75)
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X).astype(np.float32)
    return [
        Problem(f"dense {n_easy:,} x 28, independent", easy.X, easy.y, 1e-4, 50),
        Problem(f"dense {n_hard:,} x 200, ill-conditioned", *correlated(n_hard, 200), 1e-4, 50),
        Problem("dense 569 x 30, breast cancer", X, y, 1e-3, 2000, 100),
        Problem(f"CSR {n_text:,} x 47,000, 75 a row", sparse.X, sparse.y, 1e-4, 30),
    ]


class Objective:
    """f, its optimum by L-BFGS in float64, and gaps of many models at once in float32."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        X, alpha, n, d = problem.X.astype(np.float64), problem.alpha, problem.n, problem.X.shape[1]
        sign = 2.0 * problem.y - 1.0  # (n,)

        def value_and_gradient(u: Array) -> tuple[float, Array]:
            w, z = u[:d], sign * (X @ u[:d] + u[d])
            c = -sign * expit(-z) / n
            value = np.logaddexp(0.0, -z).mean() + 0.5 * alpha * w @ w
            return float(value), np.append(X.T @ c + alpha * w, c.sum())

        options = {"maxiter": 5000, "maxfun": 10000, "ftol": 0.0, "gtol": 1e-9, "maxcor": 30}
        start = np.zeros(d + 1)
        best = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
        self.optimum, gradient = value_and_gradient(best.x)
        self.gradient_norm = float(np.linalg.norm(gradient))
        self.first_gap = value_and_gradient(start)[0] - self.optimum
        self._sign = sign.astype(np.float32)[:, None]

    def gaps(self, coef: Array, intercept: Array) -> Array:
        """Parts of the first gap that models (K, d), (K,) leave, shape (K,); infinite if not finite.

        In blocks of rows that fit a cache; terms in float32, their sums in float64.
        """
        X, n = self.problem.X, self.problem.n
        W, total = np.ascontiguousarray(coef.T), np.zeros(len(coef))
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, n, 8192):
                rows = slice(start, start + 8192)
                z = X[rows] @ W
                z += intercept
                z *= self._sign[rows]
                loss = np.log1p(np.exp(-np.abs(z))) - np.minimum(z, 0.0)
                total += loss.sum(axis=0, dtype=np.float64)
            penalty = 0.5 * self.problem.alpha * np.square(coef, dtype=np.float64).sum(axis=1)
            gaps = (total / n + penalty - self.optimum) / self.first_gap
        return np.where(np.isfinite(gaps), gaps, np.inf)


# Epochs.


def make_units(problem: Problem, m: int, momentum: float) -> tuple[float, float]:
    """The rate that theory calls safe for batches of m rows, and the curvature to decay it by.

    (1 - momentum) / (smoothness (lambda_max + (mean |x|^2 - lambda_max) / m)), Ma, Bassily & Belkin
    2018; the mean curvature smoothness mean |x|^2 / d, or alpha where that is more.
    """
    rate, _ = solver.auto_rate(
        problem.data, Settings("log_loss", sign_targets=True, batch_size=m, momentum=momentum)
    )
    curvature = SMOOTHNESS * problem.mean_square / (problem.X.shape[1] + 1)
    return rate, max(curvature, problem.alpha)


def make_grid(problem: Problem, m: int, momentum: float) -> Lanes:
    """48 lanes: 20 constant rates a factor of 2 apart; 7 decays a factor of 2 apart, 4 first rates each.

    Rates are in units of (1 - momentum) times the safe rate: constant ones from 2^-12, what a noise
    floor of 1e-3 may ask of single samples, to 2^7, since momentum bears (1 + momentum) /
    (1 - momentum) times the unit where curvature alone limits it. Decays mu are in units of the
    mean curvature, or of alpha where that is more; what is left of eta0 does not matter once
    eta0 mu t is above 1, so that few first rates do.
    """
    rate_unit, decay_unit = make_units(problem, m, momentum)
    first, mu = (grid.ravel() for grid in np.meshgrid(2.0 ** FIRST_RATES, 2.0 ** DECAYS))
    eta0 = rate_unit * np.append(2.0**CONSTANT_RATES, first)
    mu = decay_unit * np.append(np.zeros(len(CONSTANT_RATES)), mu)
    return Lanes(len(eta0), alpha=problem.alpha, eta0=eta0, mu=mu)


def subset(lanes: Lanes, chosen: Array) -> Lanes:
    return Lanes(len(chosen), alpha=lanes.alpha[chosen], eta0=lanes.eta0[chosen], mu=lanes.mu[chosen])


def trace(
    objective: Objective, lanes: Lanes, settings: Settings, cap: float
) -> Iterator[tuple[float, Array]]:
    """Train; yield the epochs done, with fraction, and the gaps (K,), at ever larger distances."""
    problem = objective.problem
    data = problem.data
    state = solver.State(data, lanes, settings)
    run = solver.Run(data, lanes, settings, state)
    values = problem.X.nnz if hasattr(problem.X, "nnz") else problem.X.size
    budget = max(1, values * lanes.k // 256)
    point, position = FIRST_POINT, 0.0
    while position < cap:
        while position < point:
            run.advance(budget)
            position = state.epoch + state.row / problem.n
        yield position, objective.gaps(*state.last_weights())
        while point <= position:
            point *= 2.0 ** (1.0 / POINTS_PER_OCTAVE)


class Crossings:
    """Epochs at which lanes first reach the targets, log gap interpolated between two points."""

    def __init__(self, k: int) -> None:
        self.epochs = np.full((len(TARGETS), k), np.inf)
        self._position, self._gaps = 0.0, np.ones(k)

    def add(self, position: float, gaps: Array) -> None:
        gaps = np.maximum(gaps, 1e-9)
        for target, epochs in zip(TARGETS, self.epochs, strict=True):
            new = (gaps <= target) & np.isinf(epochs)
            before = np.log(self._gaps[new])
            part = (before - np.log(target)) / (before - np.log(gaps[new]))
            epochs[new] = self._position + part * (position - self._position)
        self._position, self._gaps = position, gaps


@dataclass(frozen=True)
class Best:
    """The fewest epochs of one kind of schedule to one target.

    Attributes
    ----------
    epochs : float
        Infinite if no rate of the grid gets there.
    tried : float
        Epochs after which the search gave up.
    rate, decay : float
        eta0 and mu in the units of the grid.
    """

    epochs: float
    tried: float
    rate: float = np.nan
    decay: float = np.nan

    @property
    def at_edge(self) -> bool:
        """Whether a finer or wider grid could do better in an obvious direction."""
        exponents = CONSTANT_RATES if self.decay == 0.0 else DECAYS
        value = self.rate if self.decay == 0.0 else self.decay
        return any(np.isclose(value, 2.0**e) for e in exponents[[0, -1]])


def search(
    objective: Objective, m: int, momentum: float, seeds: int
) -> dict[tuple[str, float], Best]:
    """Best epochs by (kind, target): medians over the seeds at one rate, the best of the grid.

    The first seed trains the whole grid, until two lanes of each kind are through or the run is
    twice as long as the best took; its best lanes are trained again with the other seeds.
    """
    problem = objective.problem
    lanes = make_grid(problem, m, momentum)
    kinds = np.where(lanes.mu > 0.0, KINDS[1], KINDS[0])  # (K,)

    def settings(seed: int) -> Settings:
        return Settings(
            "log_loss", sign_targets=True, batch_size=m, momentum=momentum, seed=seed, schedule=inverse()
        )

    def is_settled(crossings: Crossings, position: float) -> bool:
        last = crossings.epochs[-1]
        through = all(np.isfinite(last[kinds == kind]).sum() >= RUNNERS_UP for kind in KINDS)
        return through or position > 2.0 * last.min()

    first, tried = Crossings(lanes.k), 0.0
    for tried, gaps in trace(objective, lanes, settings(0), problem.cap):
        assert gaps.min() > -1e-5, "the optimum is none"
        first.add(tried, gaps)
        if is_settled(first, tried):
            break

    chosen = set()
    for kind in KINDS:
        for epochs in first.epochs:
            of_kind = np.flatnonzero((kinds == kind) & np.isfinite(epochs))
            chosen.update(of_kind[np.argsort(epochs[of_kind])][:RUNNERS_UP].tolist())
    if not chosen:
        return {(kind, target): Best(np.inf, tried) for kind in KINDS for target in TARGETS}
    few = np.array(sorted(chosen))
    all_epochs = [first.epochs[:, few]]
    reached = np.isfinite(all_epochs[0])
    for seed in range(1, seeds if m < problem.n else 1):  # a full batch has no order
        again = Crossings(len(few))
        for point in trace(objective, subset(lanes, few), settings(seed), 1.25 * tried):
            again.add(*point)
            if np.isfinite(again.epochs[reached]).all():
                break
        all_epochs.append(again.epochs)
    medians = np.median(all_epochs, axis=0)  # (targets, few)
    update = m / problem.n  # epochs; the last one counts whole
    medians = np.ceil(medians / update - 1e-9) * update

    units = make_units(problem, m, momentum)
    results = {}
    for kind in KINDS:
        for target, epochs in zip(TARGETS, medians, strict=True):
            epochs = np.where(kinds[few] == kind, epochs, np.inf)
            lane = few[np.argmin(epochs)]
            results[kind, target] = (
                Best(epochs.min(), tried, lanes.eta0[lane] / units[0], lanes.mu[lane] / units[1])
                if np.isfinite(epochs).any()
                else Best(np.inf, tried)
            )
    return results


# Seconds.


def time_epochs(problem: Problem, rounds: int) -> tuple[dict[tuple[int, float], float], float]:
    """Seconds of an epoch by (batch size, momentum), and scikit-learn's at batch size 1.

    One lane, one thread; medians of calls in turn.
    """
    data, epochs = problem.data, problem.timed_epochs
    eta0 = 0.1 / problem.mean_square

    def timed(m: int, momentum: float) -> Any:
        same = Lanes(1, alpha=problem.alpha, eta0=eta0)
        settings = Settings("log_loss", sign_targets=True, batch_size=m, momentum=momentum)
        state = solver.State(data, same, settings)
        stopping = solver.Stopping(max_epochs=epochs, tol=None)
        return lambda: solver.fit(data, same, settings, state, stopping)

    keys = [(m, momentum) for m in problem.batch_sizes for momentum in MOMENTA]
    peer_epochs = max(5, epochs)
    peer = Peer(
        "log_loss", alpha=problem.alpha, learning_rate="constant", eta0=eta0, tol=None
    ).set_params(max_iter=peer_epochs)
    functions = [*(timed(*key) for key in keys), lambda: peer.fit(problem.X, problem.y)]
    interleaved(functions, 1)  # warm up
    *ours, theirs = interleaved(functions, rounds)
    seconds = {key: t / epochs for key, t in zip(keys, ours, strict=True)}
    return seconds, theirs / peer_epochs
