"""
How many rows does a network need?
==================================

The score on other digits against the number of rows to train on.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastsgd import MLPClassifier, SGDClassifier

X, y = load_digits(return_X_y=True)
X = X / 16.0
models = {
    "softmax": SGDClassifier(
        "log_loss", multi_class="multinomial", alpha=1e-3, max_iter=40, tol=None, random_state=0
    ),
    "network of 64 units": MLPClassifier(
        (64,), batch_size=32, learning_rate_init=0.003, max_iter=80, tol=None, random_state=0
    ),
}
sizes = [50, 100, 200, 400, 800, 1200]
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
for name, model in models.items():
    scores = []
    for size in sizes:
        of_seeds = []
        for seed in range(3):
            A, B, a, b = train_test_split(X, y, train_size=size, random_state=seed, stratify=y)
            of_seeds.append(model.fit(A, a).score(B, b))
        scores.append(of_seeds)
    scores = np.array(scores)
    axis.plot(sizes, scores.mean(axis=1), "o-", label=name)
    axis.fill_between(sizes, scores.min(axis=1), scores.max(axis=1), alpha=0.2)
axis.set(xscale="log", xlabel="rows to train on", ylabel="accuracy on the others")
axis.set_xticks(sizes, [str(size) for size in sizes])
axis.legend(frameon=False, title="mean and range of three splits")
