"""How far the gradient at the mean row is from the mean of the rows' gradients."""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from fastsgd import MLPClassifier
from fastsgd.network import Network
from fastsgd.reference.network import row_gradients

X, labels = load_digits(return_X_y=True)
X, Y = X / 16.0, labels.astype(float)[:, None]
rng = np.random.default_rng(0)
figure, axis = plt.subplots(figsize=(7, 4))
sizes = [1, 2, 4, 16, 64]
for i, epochs in enumerate((1, 5, 30)):
    model = MLPClassifier((32,), "tanh", max_iter=epochs, tol=None, random_state=0).fit(X, labels)
    network = Network((64, 32, 10), "tanh", "softmax")
    theta = network.pack(model.coefs_, model.intercepts_, np.float64)
    mean = []
    for m in sizes:
        far = []
        for _ in range(20):
            rows = rng.choice(np.flatnonzero(labels == rng.integers(10)), m, replace=False)
            g = row_gradients(network, theta, X[rows], Y[rows]).mean(axis=0)
            one = X[rows].mean(axis=0, keepdims=True)
            of_mean = row_gradients(network, theta, one, Y[rows[:1]])[0]
            far.append(np.linalg.norm(of_mean - g) / np.linalg.norm(g))
        mean.append(np.mean(far))
    axis.plot(
        sizes, mean, "o-", ms=4, color=f"C{i}", label=f"after {epochs} epoch{'s' * (epochs > 1)}"
    )
axis.set(
    xscale="log",
    xlabel="rows of a batch, all of one digit",
    ylabel="distance / |gradient|",
    ylim=(0, None),
)
axis.set_xticks(sizes, [str(m) for m in sizes])
axis.legend(frameon=False)
