"""
The noise of gradients, epoch by epoch
======================================

``fit(..., diagnostics=True)`` estimates the noise scale after each epoch: the number of rows at
which the noise of a batch is as large as the gradient. It grows as the gradient falls.
"""

from sklearn.datasets import load_breast_cancer

from fastsgd import SGDClassifier
from fastsgd.insight import NoiseScaleDisplay

X, y = load_breast_cancer(return_X_y=True)
model = SGDClassifier(
    "log_loss", alpha=0.01, standardize=True, max_iter=15, tol=None, random_state=0
)
model.fit(X, y, diagnostics=True)

# %%
display = NoiseScaleDisplay.from_estimator(model)
display.figure_.set_size_inches(7, 4.2)
