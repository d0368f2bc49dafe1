"""
Decision regions: linear and network
====================================

Three kinds of iris by the length and width of their petals. A softmax parts the plane by lines, a
network by curves.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_iris
from sklearn.inspection import DecisionBoundaryDisplay

from fastsgd import MLPClassifier, SGDClassifier

X, y = load_iris(return_X_y=True)
X = X[:, 2:]
models = {
    "softmax": SGDClassifier(
        "log_loss", multi_class="multinomial", standardize=True, alpha=1e-3, random_state=0
    ),
    "network of 16 units": MLPClassifier(
        (16,),
        "tanh",
        standardize=True,
        learning_rate_init=0.02,
        max_iter=300,
        tol=None,
        random_state=0,
    ),
}
figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
for axis, (name, model) in zip(axes, models.items(), strict=True):
    model.fit(X, y)
    DecisionBoundaryDisplay.from_estimator(
        model, X, ax=axis, response_method="predict", alpha=0.25, multiclass_colors="viridis"
    )
    axis.scatter(*X.T, c=y, s=14, cmap="viridis")
    axis.set(title=f"{name}: {model.score(X, y):.3f}", xlabel="petal length, cm")
axes[0].set_ylabel("petal width, cm")
