"""
Decision regions: linear and network
====================================

Handwritten digits on the plane of their two main directions. A softmax parts it by lines, a
network by curves, which follow the digits better.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.inspection import DecisionBoundaryDisplay

from fastsgd import MLPClassifier, SGDClassifier

X, y = load_digits(return_X_y=True)
X = PCA(2, random_state=0).fit_transform(X)
softmax = SGDClassifier(
    "log_loss", multi_class="multinomial", standardize=True, alpha=1e-3, random_state=0
)
network = MLPClassifier(
    (32, 32),
    "tanh",
    standardize=True,
    learning_rate_init=0.01,
    max_iter=150,
    tol=None,
    random_state=0,
)
figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True, layout="constrained")
for axis, model in zip(axes, (softmax, network), strict=True):
    model.fit(X, y)
    DecisionBoundaryDisplay.from_estimator(
        model, X, ax=axis, response_method="predict", alpha=0.3, multiclass_colors="tab10"
    )
    axis.scatter(*X.T, c=y, s=4, cmap="tab10")
    kind = "softmax" if model is softmax else "network"
    axis.set(title=f"{kind}: {model.score(X, y):.1%} are right", xlabel="first direction")
axes[0].set_ylabel("second direction")
