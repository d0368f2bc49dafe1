"""Two surfaces that are not convex: shallow minima of a sine, and a saddle that a run leaves."""

import matplotlib.pyplot as plt
import numpy as np

import fastsgd
from fastsgd.insight import explore

found = explore(
    "sine", batch_sizes=(1, 16, 128), momenta=(0.0,), schedules=("constant",), steps=300
)
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.2))
left.contourf(found.first, found.second, found.landscape, 14, cmap="Blues")
for run in found.runs:
    if run.parameters["eta0"] == found.rates[2] and run.parameters["batch_size"] in (1, 128):
        label = {1: "single rows", 128: "all rows"}[run.parameters["batch_size"]]
        left.plot(
            *run.weights.T,
            lw=1.2,
            color={1: "C1", 128: "black"}[run.parameters["batch_size"]],
            label=label,
        )
left.plot(*found.start, "o", color="black")
left.plot(*found.minimizer, "*", color="black", ms=12)
left.set(xlim=found.view[0], ylim=found.view[1], xlabel="weight 1", ylabel="weight 2")
left.legend(frameon=True, fontsize=9, loc="lower left", title="y = sin(x . w); dark: high loss")

rng = np.random.default_rng(0)
x = rng.normal(size=200)
y = x + 0.3 * rng.normal(size=200)


def gradient(theta, rows):
    u, v = theta
    error = u * v * x[rows] - y[rows]
    slope = np.mean(error * x[rows])
    return 0.5 * np.mean(error**2), slope * np.array([v, u])


def losses(start):
    """After each epoch of a run."""
    found = []

    def note(progress):
        u, v = progress.theta
        found.append(0.5 * np.mean((u * v * x - y) ** 2))

    fit = {"batch_size": 50, "eta0": 0.1, "max_iter": 60, "tol": None, "random_state": 0}
    fastsgd.minimize(gradient, np.array(start), 200, callback=note, **fit)
    return found


for size in (1e-1, 1e-3, 1e-5):
    right.plot(range(1, 61), losses([size, 0.5 * size]), label=f"from a distance of {size:g}")
right.set(xlabel="epochs", ylabel="loss", ylim=(0, 0.8))
right.legend(frameon=False, loc="upper right", title="y = u v x, saddle at u = v = 0")
