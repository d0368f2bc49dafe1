"""
A path of L1 penalties
======================

Thirty penalties, trained side by side in the same passes over the rows. The stronger the penalty,
the more weights are exactly 0.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes

import fastsgd

data = load_diabetes()
y = (data.target - data.target.mean()) / data.target.std()
alphas = np.geomspace(1e-3, 0.5, 30)
model = fastsgd.SGDRegressor(penalty="l1", standardize=True, random_state=0)
found = fastsgd.path(data.data, y, alphas=alphas, estimator=model)

# %%
# ``coef_`` belongs to X as it is. Times the standard deviations of the features it belongs to the
# standardised features, whose weights can be compared.

figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
for name, coef in zip(data.feature_names, (found.coef * data.data.std(axis=0)).T, strict=True):
    axis.plot(found.alphas, coef, label=name)
axis.set(xscale="log", xlabel="alpha", ylabel="weight of the standardised feature")
axis.legend(frameon=False, ncols=2, fontsize=8)
