"""
Orders of the rows
==================

The tumours, sorted by class: an order that hurts whoever reads rows as they are stored.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale

from fastsgd import SGDClassifier
from fastsgd.insight import compare_sampling

X, y = load_breast_cancer(return_X_y=True)
rows = np.argsort(y, kind="stable")
model = SGDClassifier("log_loss", alpha=0.01, random_state=0)
found = compare_sampling(model, scale(X)[rows], y[rows], epochs=5, seeds=5)

# %%
# Lines are means of five seeds, bands go from the lowest to the highest.

display = found.plot()
display.figure_.set_size_inches(7, 4.2)
