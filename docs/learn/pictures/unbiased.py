"""Gradients of single rows and of batches in two weights, and their mean."""

import matplotlib.pyplot as plt
import numpy as np
from tables import diabetes

X, y = diabetes()
pair = X[:, [2, 8]]  # body mass index and a blood value
rows = (pair @ [0.1, 0.1] - y)[:, None] * pair
rng = np.random.default_rng(0)
figure, axes = plt.subplots(1, 3, figsize=(9.5, 3.6), sharex=True, sharey=True)
for axis, m in zip(axes, (1, 16, 128), strict=True):
    means = np.array([rows[rng.choice(len(X), m, replace=False)].mean(axis=0) for _ in range(400)])
    axis.plot(*means.T, ".", ms=4, alpha=0.5, label="gradients of 400 batches")
    axis.plot(*means.mean(axis=0), "x", ms=11, mew=2.5, color="C1", label="their mean")
    axis.plot(*rows.mean(axis=0), "+", ms=15, mew=1.5, color="black", label="full gradient")
    axis.set(
        title=f"{m} row{'s' * (m > 1)}", xlabel="gradient in weight 1", xlim=(-4, 3), ylim=(-4, 3)
    )
axes[0].set_ylabel("gradient in weight 2")
axes[2].legend(frameon=False, loc="lower left", fontsize=8)
