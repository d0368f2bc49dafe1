"""Batches of m rows at m times the rate: the same, until the rate is too large."""

import matplotlib.pyplot as plt
from tables import curvature, diabetes, least

from fastsgd import SGDRegressor
from fastsgd.insight import linear_scaling

X, y = diabetes()
L, low, eta = curvature(X), least(X, y), 0.003
sizes = (1, 8, 64, 160, 221)
found = linear_scaling(
    SGDRegressor(alpha=0.0, random_state=0), X, y, eta0=eta, batch_sizes=sizes, epochs=12
)
figure, axis = plt.subplots(figsize=(7, 4))
for run, m in zip(found.runs, sizes, strict=True):
    label = f"{m} row{'s' * (m > 1)}, {m * eta * L / 2:.2f} of 2 / L"
    axis.plot(run.examples / len(X), run.loss - low, label=label, lw=1.3)
axis.set(yscale="log", xlabel="rows read, in epochs", ylabel="loss - minimum", ylim=(1e-4, 3))
axis.legend(title="a step has", frameon=False, fontsize=9)
