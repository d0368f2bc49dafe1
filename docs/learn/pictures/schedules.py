"""Schedules, and the losses of runs with them."""

import matplotlib.pyplot as plt
import numpy as np
from tables import diabetes, least

from fastsgd import SGDRegressor
from fastsgd.insight import compare

X, y = diabetes()
epochs, eta = 20, 0.02
variants = {
    "constant": {"learning_rate": "constant"},
    "step": {"learning_rate": "step", "step_epochs": 7.0, "decay": 0.2},
    "cosine": {"learning_rate": "cosine", "total_epochs": epochs},
    "one_cycle": {"learning_rate": "one_cycle", "total_epochs": epochs},
}
model = SGDRegressor(alpha=0.0, eta0=eta, random_state=0)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
for i, run in enumerate(compare(model, X, y, variants=variants, epochs=epochs, seeds=1).runs):
    fitted = SGDRegressor(**model.get_params())
    fitted.set_params(**run.parameters, max_iter=epochs, tol=None).fit(X, y)
    left.plot(np.arange(1, epochs + 1), fitted.history_["learning_rate"], color=f"C{i}")
    right.plot(run.examples / len(X), run.loss - least(X, y), color=f"C{i}", label=run.label)
left.set(xlabel="epochs", ylabel="learning rate", ylim=(0, None))
right.set(xlabel="epochs", ylabel="loss - minimum", yscale="log", ylim=(1e-4, 1))
right.legend(frameon=False)
