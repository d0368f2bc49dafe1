"""
The edge of stability
=====================

Full-batch steps of a network at a constant rate. The largest curvature of the loss, its sharpness,
falls below 2 / rate at first, or the run would diverge. Then it grows until it is back there, and
stays (Cohen et al., 2021).
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from fastsgd import MLPRegressor
from fastsgd.insight import sharpness

X, y = load_digits(return_X_y=True)
X, Y = X[:300] / 16.0, np.eye(10)[y[:300]]
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
for i, rate in enumerate((0.08, 0.12)):
    model = MLPRegressor(
        hidden_layer_sizes=(64,),
        activation="tanh",
        solver="sgd",
        batch_size=300,
        momentum=0.0,
        learning_rate_init=rate,
        alpha=0.0,
        random_state=0,
    )
    values = []
    for epoch in range(2000):
        model.partial_fit(X, Y)
        if epoch % 50 == 0:
            values.append(sharpness(model, X, Y).value)
    axis.plot(range(0, 2000, 50), values, color=f"C{i}", label=f"rate {rate}")
    axis.axhline(2 / rate, color=f"C{i}", ls="--", lw=1)
axis.set(xlabel="steps", ylabel="sharpness", ylim=(0, None))
axis.legend(frameon=False, title="dashed: 2 / rate")
