"""
A penalty by cross-validation
=============================

Thirteen penalties, five folds: 65 fits in shared passes over the rows.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer

from fastsgd import GridSearchCV, SGDClassifier

X, y = load_breast_cancer(return_X_y=True)
alphas = np.geomspace(1e-4, 1.0, 13)
model = SGDClassifier("log_loss", standardize=True, random_state=0)
search = GridSearchCV(model, {"alpha": alphas}, cv=5, scoring="neg_log_loss").fit(X, y)
print(f"best alpha: {search.best_params_['alpha']:.3g}")

# %%
# The dashed line is the penalty of the least log loss.

results = search.cv_results_
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
axis.errorbar(
    alphas, -results["mean_test_score"], results["std_test_score"] / 5**0.5, marker="o", ms=4
)
axis.axvline(search.best_params_["alpha"], color="0.6", ls="--")
axis.set(xscale="log", xlabel="alpha", ylabel="log loss of the folds, with standard errors")
