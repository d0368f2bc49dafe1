"""Back-propagation: the twin against scikit-learn, the core against the twin."""

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

from fastsgd.descent import VectorDescent
from fastsgd.network import ACTIVATIONS, NETWORK_LOSSES, Network
from fastsgd.optimizers import SGD, Adam
from fastsgd.problem import Data
from fastsgd.reference import network as twin

OPTIMIZERS = {
    "plain": SGD(),
    "momentum": SGD(0.9),
    "nesterov": SGD(0.9, nesterov=True),
    "adam": Adam(),
}


def targets(loss, n, outputs, rng):
    """Targets (n, n_targets) that a loss takes."""
    if loss == "softmax":
        return rng.integers(0, outputs, (n, 1)).astype(float)
    if loss == "log_loss":
        return (rng.random((n, outputs)) < 0.4).astype(float)
    if loss == "poisson":
        return rng.poisson(2.0, (n, outputs)).astype(float)
    return rng.normal(size=(n, outputs))


def start(network, rng, scale=0.5):
    """Parameters to start from, in a vector."""
    coefs = [scale * rng.normal(size=shape) for shape in network.shapes]
    intercepts = [scale * rng.normal(size=shape[1]) for shape in network.shapes]
    return network.pack(coefs, intercepts, np.float64)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", NETWORK_LOSSES)
def test_twin_is_scikit_learns(loss, activation, optimizer):
    """Weights and losses after three epochs from the same start, with weights of rows."""
    rng, how = np.random.default_rng(0), OPTIMIZERS[optimizer]
    outputs = 1 if loss == "poisson" else 3
    X, y, weight = rng.normal(size=(53, 5)), targets(loss, 53, outputs, rng), rng.random(53)
    kind = MLPClassifier if loss in ("log_loss", "softmax") else MLPRegressor
    options = {
        "hidden_layer_sizes": (7, 4),
        "activation": activation,
        "solver": "adam" if optimizer == "adam" else "sgd",
        "momentum": getattr(how, "momentum", 0.9),
        "nesterovs_momentum": optimizer == "nesterov",
        "alpha": 0.3,
        "batch_size": 10,
        "learning_rate_init": 0.01,
        "shuffle": False,
        "random_state": 1,
        "tol": 0.0,
        "warm_start": True,
        "max_iter": 1,
        "n_iter_no_change": 100,
    }
    if kind is MLPRegressor:
        options["loss"] = loss
    of_user = y[:, 0] if y.shape[1] == 1 else y
    peer = kind(**options | {"learning_rate_init": 1e-300})
    network = Network((5, 7, 4, outputs), activation, loss, alpha=0.3)
    with pytest.warns(match="Maximum iterations"):
        peer.fit(X, of_user)
        theta = network.pack(peer.coefs_, peer.intercepts_, np.float64)
        peer = kind(**options | {"max_iter": 3}).fit(X, of_user, sample_weight=weight)
    descent = VectorDescent(eta0=0.01, batch_size=10, sampling="sequential", optimizer=how)
    state = twin.State(network.length(), descent)
    state.theta, losses = theta, []
    for _ in range(3):
        twin.run_epoch(Data(X, y, weight), network, descent, state)
        losses.append(state.objective_sum / state.row_count)
    expected = network.pack(peer.coefs_, peer.intercepts_, np.float64)
    np.testing.assert_allclose(state.theta, expected, rtol=0, atol=1e-13)
    if loss != "squared_error":  # of which scikit-learn shows the mean over outputs, not the sum
        np.testing.assert_allclose(losses, peer.loss_curve_, rtol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", NETWORK_LOSSES)
def test_row_gradients_are_finite_differences(loss, activation):
    rng = np.random.default_rng(1)
    network = Network((4, 6, 5, 3), activation, loss)
    X, y, theta = rng.normal(size=(8, 4)), targets(loss, 8, 3, rng), start(network, rng)

    def losses(at):
        return twin.row_losses(network, twin.forward(network, at, X)[-1], y)

    gradients = twin.row_gradients(network, theta, X, y)
    for p in range(network.length()):
        h = np.zeros_like(theta)
        h[p] = 1e-6
        slope = (losses(theta + h) - losses(theta - h)) / 2e-6
        np.testing.assert_allclose(gradients[:, p], slope, rtol=1e-6, atol=1e-7)
