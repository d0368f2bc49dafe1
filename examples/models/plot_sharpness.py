"""
The edge of stability
=====================

Full-batch steps of a network at a constant rate: the largest curvature of the loss grows until it
is near 2 / rate, and stays there (Cohen et al., 2021).
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from fastsgd import MLPClassifier
from fastsgd.insight import sharpness

X, y = load_digits(return_X_y=True)
X, y = X[:500] / 16.0, y[:500]
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
for i, rate in enumerate((0.1, 0.2)):
    model = MLPClassifier(
        (32,),
        "tanh",
        solver="sgd",
        batch_size=500,
        momentum=0.0,
        learning_rate_init=rate,
        alpha=0.0,
        random_state=0,
    )
    values = []
    for epoch in range(800):
        model.partial_fit(X, y, classes=range(10))
        if epoch % 20 == 0:
            values.append(sharpness(model, X, y).value)
    axis.plot(range(0, 800, 20), values, color=f"C{i}", label=f"rate {rate}")
    axis.axhline(2 / rate, color=f"C{i}", ls="--", lw=1)
axis.set(xlabel="steps", ylabel="sharpness", ylim=(0, None))
axis.legend(frameon=False, title="dashed: 2 / rate")
