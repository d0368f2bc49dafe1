"""
Batch sizes
===========

Against rows read, small batches are ahead: they make more steps. Against steps, large ones are:
each of their steps is better.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale

from fastsgd import SGDClassifier
from fastsgd.insight import ExperimentDisplay, compare_batch_sizes

X, y = load_breast_cancer(return_X_y=True)
model = SGDClassifier("log_loss", alpha=0.01, random_state=0)
found = compare_batch_sizes(model, scale(X), y, batch_sizes=[1, 16, 128, 569], epochs=4)

# %%
figure, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
for axis, x in zip(axes, ("examples", "step"), strict=True):
    ExperimentDisplay(found, x=x).plot(ax=axis)
