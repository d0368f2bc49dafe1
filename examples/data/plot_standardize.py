"""
Features of different scales
============================

Proline is measured in hundreds, hue around 1. Without scaling, one learning rate has to suit both,
and suits none. ``standardize=True`` scales within the step.
"""

import warnings

import matplotlib.pyplot as plt
from sklearn.datasets import load_wine

from fastsgd import SGDClassifier

data = load_wine()
X, y = data.data, data.target
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
left.barh(data.feature_names, X.std(axis=0))
left.set(xscale="log", xlabel="standard deviation")
for standardize in (False, True):
    model = SGDClassifier(
        "log_loss",
        alpha=0.01,
        standardize=standardize,
        max_iter=30,
        tol=None,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which name the column that is out of scale
        model.fit(X, y)
    label = f"standardize={standardize}, score {model.score(X, y):.3f}"
    right.plot(range(1, 31), model.loss_curve_, label=label)
right.set(yscale="log", xlabel="epochs", ylabel="loss")
right.legend(frameon=False)
