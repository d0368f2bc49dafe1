"""Paths of full batches in a narrow valley, with and without momentum."""

import matplotlib.pyplot as plt
import numpy as np
from tables import curvature, diabetes, least

from fastsgd import SGDRegressor
from fastsgd.insight import compare, trajectory

X, y = diabetes()
n, L = len(X), curvature(X)
variants = {
    "without": {"eta0": 1.0 / L},
    "momentum 0.9": {"eta0": 1.0 / L, "momentum": 0.9},
}
model = SGDRegressor(alpha=0.0, learning_rate="constant", batch_size=n, random_state=0)
found = trajectory(model, X, y, variants=variants, coordinates=(4, 5), epochs=400)
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4))
levels = found.loss.min() + (found.loss.max() - found.loss.min()) * np.linspace(0.01, 1, 14) ** 2
left.contour(found.first, found.second, found.loss, levels, colors="0.7", linewidths=0.8)
for i, (label, path) in enumerate(found.paths.items()):
    left.plot(*path.T, ".-", color=f"C{i}", lw=1, ms=4, label=label)
left.set(xlabel="weight of s1", ylabel="weight of s2")
for i, run in enumerate(compare(model, X, y, variants=variants, epochs=400).runs):
    right.plot(run.step, run.loss - least(X, y), color=f"C{i}", label=run.label)
right.set(yscale="log", xlabel="steps", ylabel="loss - minimum", ylim=(1e-9, None))
right.legend(frameon=False)
