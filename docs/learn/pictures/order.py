"""Orders of the rows: excess loss against epochs, at a rate that falls to 0."""

import matplotlib.pyplot as plt
import numpy as np
from tables import diabetes, least

from fastsgd import SGDRegressor

X, y = diabetes()
by_target = np.argsort(y)
kinds = {
    "with replacement": ("replacement", X, y),
    "without, a new order each epoch": ("reshuffle", X, y),
    "one order": ("once", X, y),
    "sorted by y": ("sequential", X[by_target], y[by_target]),
}
lengths = [1, 2, 4, 8, 16, 32, 64]
figure, axis = plt.subplots(figsize=(7, 4))
for i, (label, (sampling, A, b)) in enumerate(kinds.items()):
    excess = []
    for epochs in lengths:
        of_seeds = []
        for seed in range(10):
            model = SGDRegressor(
                alpha=0.0,
                learning_rate="linear",
                eta0=0.02,
                sampling=sampling,
                tol=None,
                max_iter=epochs,
                random_state=seed,
            )
            z = model.fit(A, b).predict(A)
            of_seeds.append(0.5 * np.mean((z - b) ** 2) - least(A, b))
        excess.append(of_seeds)
    excess = np.array(excess)
    axis.plot(lengths, excess.mean(axis=1), "o-", ms=4, color=f"C{i}", label=label)
    axis.fill_between(lengths, excess.min(axis=1), excess.max(axis=1), color=f"C{i}", alpha=0.15)
axis.set(xscale="log", yscale="log", xlabel="epochs of the run", ylabel="loss at its end - minimum")
axis.set_xticks(lengths, [str(k) for k in lengths])
axis.legend(frameon=False, title="mean and range of ten seeds", fontsize=9)
