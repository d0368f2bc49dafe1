"""
Several outputs at once
=======================

A y of several columns trains a model for each, in the same passes. scikit-learn's table of twenty
athletes has three exercises and three measures of the body.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_linnerud

from fastsgd import SGDRegressor

data = load_linnerud()
Y = (data.target - data.target.mean(axis=0)) / data.target.std(axis=0)
model = SGDRegressor(alpha=0.1, standardize=True, random_state=0).fit(data.data, Y)
print("coef_ has the shape", model.coef_.shape)

# %%
weights = model.coef_ * data.data.std(axis=0)
figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
limit = abs(weights).max()
image = axis.imshow(weights, cmap="RdBu", vmin=-limit, vmax=limit)
axis.set_xticks(range(3), data.feature_names)
axis.set_yticks(range(3), data.target_names)
figure.colorbar(image, label="weight, both standardised")
