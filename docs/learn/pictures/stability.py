"""A range test: the loss after short runs at many constant rates."""

import matplotlib.pyplot as plt
import numpy as np
from tables import curvature, diabetes

from fastsgd import SGDRegressor
from fastsgd.insight import rate_range

X, y = diabetes()
figure, axis = plt.subplots(figsize=(7, 4))
for i, m in enumerate((1, 16, len(X))):
    model = SGDRegressor(alpha=0.0, batch_size=m, random_state=0)
    rates = np.geomspace(1e-4, 3, 40)
    found = rate_range(model, X, y, rates=rates, epochs=3 if m < 400 else 30)
    finite = np.isfinite(found.loss)
    axis.plot(
        rates[finite],
        found.loss[finite],
        ".-",
        color=f"C{i}",
        label=f"{m} row{'s' * (m > 1)} a step",
    )
axis.axvline(2 / curvature(X), color="C2", ls="--", lw=1)
axis.text(2 / curvature(X), 1.05, " 2 / L of all rows", color="C2", va="bottom", fontsize=9)
axis.axhline(found.start_loss, color="0.5", lw=0.8, ls=":")
axis.set(xscale="log", ylim=(0.2, 1.2), xlabel="constant learning rate", ylabel="loss at the end")
axis.legend(frameon=False, loc="center left")
