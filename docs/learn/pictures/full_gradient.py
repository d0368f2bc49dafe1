"""Excess loss against rows read: the whole table, batches and single rows."""

import matplotlib.pyplot as plt
from tables import curvature, diabetes, least

from fastsgd import SGDRegressor
from fastsgd.insight import compare

X, y = diabetes()
n, L, low = len(X), curvature(X), least(X, y)
variants = {
    "all 442 rows": {"batch_size": n, "eta0": 1.0 / L},
    "32 rows": {"batch_size": 32, "eta0": 0.2 / L},
    "1 row": {"batch_size": 1, "eta0": 0.02 / L},
}
model = SGDRegressor(alpha=0.0, learning_rate="constant", random_state=0)
runs = compare(model, X, y, variants=variants, epochs=8).runs
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
for run in runs:
    left.plot(run.step[1:], run.loss[1:] - low, label=run.label)
    right.plot(run.examples / n, run.loss - low, label=run.label)
left.set(xscale="log", yscale="log", xlabel="steps", ylabel="loss - minimum")
right.set(xlabel="rows read, in epochs")
right.legend(title="a step reads", frameon=False)
