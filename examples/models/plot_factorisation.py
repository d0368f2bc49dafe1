"""
A model of your own: parts of digits
====================================

``minimize`` trains whatever has a gradient. Here each digit is a sum of sixteen parts, times
amounts that depend on the digit: a factorisation of the table of pixels.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from fastsgd import minimize

pixels = load_digits().data / 16.0
n, d, parts = *pixels.shape, 16
rng = np.random.default_rng(0)


def gradient(theta, rows):
    """Of the mean of |a_i P - x_i|^2 / 2 over the rows of a batch, in amounts a and parts P."""
    amounts, P = theta
    error = amounts[rows] @ P - pixels[rows]
    of_amounts = np.zeros_like(amounts)
    of_amounts[rows] = error @ P.T / len(rows)
    loss = 0.5 * np.square(error).sum() / len(rows)
    return loss, (of_amounts, amounts[rows].T @ error / len(rows))


start = (0.1 * rng.normal(size=(n, parts)), 0.1 * rng.normal(size=(parts, d)))
found = minimize(
    gradient,
    start,
    n,
    batch_size=64,
    optimizer="adam",
    eta0=0.02,
    max_iter=60,
    tol=None,
    random_state=0,
)
amounts, P = found.x
left = np.square(amounts @ P - pixels).sum() / np.square(pixels).sum()
print(f"the model explains {1 - left:.1%} of the sum of squares")

# %%
# Above are six digits, below what the model makes of them.

figure, axes = plt.subplots(2, 6, figsize=(8, 3), layout="constrained")
for i, (upper, lower) in enumerate(axes.T):
    upper.imshow(pixels[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    lower.imshow((amounts[i] @ P).reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    for axis in (upper, lower):
        axis.set(xticks=[], yticks=[])
