"""The noise of a network's gradients equals brute force; estimates from samples are unbiased."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from test_network import start, targets

from fastsgd.descent import VectorDescent
from fastsgd.insight.network_noise import network_noise
from fastsgd.network import ACTIVATIONS, NETWORK_LOSSES, Network
from fastsgd.problem import Data
from fastsgd.reference import network as twin

N = 120


def problem_of(loss, activation="tanh", *, weighted=False, layout="dense", alpha=0.5):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 7)) * (rng.random((N, 7)) < 0.5)
    network = Network((7, 5, 4, 3), activation, loss, alpha)
    y = targets(loss, N, 3, rng)
    weight = rng.choice([0.0, 1.0, 3.0], N) if weighted else None
    data = Data(sp.csr_array(X) if layout == "csr" else X, y, weight)
    return data, network, VectorDescent(batch_size=10), start(network, rng)


def brute_force(data, network, descent, theta):
    """Gradients of all rows, as (n, P); tr Sigma and |grad L|^2 by layers."""
    weight = np.ones(N) if data.sample_weight is None else data.sample_weight
    used = np.flatnonzero(weight)
    share = (weight / weight[used].mean())[used]
    each = share[:, None] * twin.row_gradients(network, theta, data.rows(used), data.y[used])
    penalised = network.pack([1.0] * network.layers, [0.0] * network.layers, np.float64)
    alpha = network.alpha / (descent.batch_size * weight[used].mean())
    full = each.mean(axis=0) + alpha * penalised * theta
    stops = np.cumsum([(inputs + 1) * outputs for inputs, outputs in network.shapes])[:-1]
    deviations = np.split(each - each.mean(axis=0), stops, axis=1)
    trace = [np.square(part).sum(axis=1).mean() for part in deviations]
    return each, trace, [np.square(part).sum() for part in np.split(full, stops)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", NETWORK_LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("layout", ["dense", "csr"])
def test_exact_noise_is_brute_force(layout, weighted, loss, activation):
    problem = problem_of(loss, activation, weighted=weighted, layout=layout)
    noise = network_noise(*problem)
    _, trace, squared = brute_force(*problem)
    assert_allclose(noise.trace, trace, rtol=1e-11)
    assert_allclose(noise.squared_norm, squared, rtol=1e-11)
    assert_allclose(noise.total_noise_scale, sum(trace) / sum(squared), rtol=1e-11)
    assert_allclose(noise.batch_trace(10), noise.trace * (noise.n - 10) / (noise.n - 1) / 10)
    assert [g.shape for g in noise.coef_gradients] == problem[1].shapes


def test_batches_have_the_variance_of_the_law():
    """Over many batches of 10 rows, drawn without replacement."""
    data, network, descent, theta = problem_of("softmax")
    each, trace, _ = brute_force(data, network, descent, theta)
    rng = np.random.default_rng(1)
    batches = np.array([each[rng.choice(N, 10, replace=False)].mean(axis=0) for _ in range(4000)])
    found = np.square(batches - each.mean(axis=0)).sum(axis=1).mean()
    expected = network_noise(data, network, descent, theta).batch_trace(10).sum()
    assert_allclose(found, expected, rtol=0.05)
    assert_allclose(sum(trace) * (N - 10) / (N - 1) / 10, expected, rtol=1e-11)


@pytest.mark.parametrize("weighted", [False, True])
def test_samples_are_unbiased_and_their_errors_are_right(weighted):
    problem = problem_of("log_loss", weighted=weighted)
    exact = network_noise(*problem)
    weight = problem[0].sample_weight
    used = np.arange(N) if weight is None else np.flatnonzero(weight)
    rng = np.random.default_rng(2)
    found = [network_noise(*problem, rng.choice(used, 40, replace=False)) for _ in range(400)]
    for name in ("trace", "squared_norm", "total_trace", "total_squared_norm"):
        values = np.array([getattr(one, name) for one in found])
        error = values.std(axis=0) / np.sqrt(len(found))
        assert (np.abs(values.mean(axis=0) - getattr(exact, name)) < 4.0 * error).all()
        claimed = np.array([one.errors[name] for one in found]).mean(axis=0)
        assert_allclose(claimed, values.std(axis=0), rtol=0.35)
    held = 0
    for one in found:
        low, high = one.interval("total_noise_scale")
        held += bool(low <= exact.total_noise_scale <= high)
    assert held >= 0.9 * len(found)
    assert_allclose(network_noise(*problem, used).trace, exact.trace, rtol=1e-11)


def test_gradients_that_are_too_large_are_refused():
    data, network, descent, theta = problem_of("squared_error", "identity")
    with pytest.raises(ValueError, match="finite"):
        network_noise(data, network, descent, theta * 1e80)
