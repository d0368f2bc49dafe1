"""
Unusual days
============

``SGDOneClassSVM`` learns where most rows are. With random features of a Gaussian kernel its border
is a curve. Each dot is a day of Seattle's weather, from 2012 to 2015.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.kernel_approximation import Nystroem
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from vega_datasets import local_data

from fastsgd import SGDOneClassSVM

weather = local_data.seattle_weather()
X = weather[["temp_max", "wind"]].to_numpy()
model = make_pipeline(
    StandardScaler(),
    Nystroem(gamma=0.2, n_components=100, random_state=0),
    SGDOneClassSVM(nu=0.03, random_state=0),
)
unusual = model.fit(X).predict(X) < 0
print(f"{unusual.sum()} of {len(X)} days are unusual, {unusual.mean():.1%}")

# %%
first, second = np.meshgrid(np.linspace(-5, 40, 120), np.linspace(0, 10, 120))
scores = model.decision_function(np.column_stack([first.ravel(), second.ravel()]))
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
axis.contour(first, second, scores.reshape(first.shape), [0.0], colors="black", linewidths=1)
axis.plot(*X[~unusual].T, ".", ms=4, color="C0", label="usual")
axis.plot(*X[unusual].T, "x", ms=6, color="C3", label="unusual")
axis.set(xlabel="highest temperature, degrees Celsius", ylabel="wind, m/s")
axis.legend(frameon=False)
