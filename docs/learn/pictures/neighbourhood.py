"""Constant rates: runs end in a neighbourhood of the minimum, whose size is that of the rate."""

import matplotlib.pyplot as plt
import numpy as np
from tables import diabetes, least

from fastsgd import SGDRegressor
from fastsgd.insight import gradient_noise, noise_floor

X, y = diabetes()
low = least(X, y)
rates = (0.02, 0.005, 0.00125)
runs = noise_floor(SGDRegressor(alpha=0.0, random_state=0), X, y, rates=rates, epochs=60).runs
exact = SGDRegressor(alpha=0.0, learning_rate="constant", eta0=1e-12, max_iter=1, tol=None)
w = np.linalg.lstsq(X, y)[0]
trace = gradient_noise(exact.fit(X, y, coef_init=w, intercept_init=[0.0]), X, y).trace[0]
figure, axis = plt.subplots(figsize=(7, 4))
for i, (run, eta) in enumerate(zip(runs, rates, strict=True)):
    axis.plot(run.examples / len(X), run.loss - low, color=f"C{i}", lw=1, label=f"rate {eta}")
    axis.axhline(eta * trace / 4, color=f"C{i}", ls="--", lw=1)
axis.set(yscale="log", xlabel="epochs", ylabel="loss - minimum")
axis.legend(title="dashed: rate * tr Sigma / 4", frameon=False)
