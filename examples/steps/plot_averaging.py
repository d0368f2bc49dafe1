"""
The average of the weights
==========================

At a constant rate the weights wander around the minimum. Their average does not: its noise
cancels.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

from fastsgd import SGDRegressor

X, y = load_diabetes(return_X_y=True)
X, y = scale(X), scale(y)
least = 0.5 * np.mean((X @ np.linalg.lstsq(X, y)[0] - y) ** 2)
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
for average in (False, True, 0.5):
    excess = []
    for epochs in (lengths := [1, 2, 4, 8, 16, 32, 64]):
        model = SGDRegressor(
            alpha=0.0,
            learning_rate="constant",
            eta0=0.01,
            average=average,
            max_iter=epochs,
            tol=None,
            random_state=0,
        )
        z = model.fit(X, y).predict(X)
        excess.append(0.5 * np.mean((z - y) ** 2) - least)
    name = {False: "last weights", True: "average of all", 0.5: "average of the last half"}[average]
    axis.plot(lengths, excess, "o-", ms=4, label=name)
axis.set(xscale="log", yscale="log", xlabel="epochs", ylabel="loss - minimum")
axis.set_xticks(lengths, [str(k) for k in lengths])
axis.legend(frameon=False)
