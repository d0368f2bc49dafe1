"""
A network for a curve
=====================

Miles per gallon against horsepower of cars of the years 1970 to 1982: a linear model misses the
bend.
"""

import matplotlib.pyplot as plt
import numpy as np
from vega_datasets import local_data

from fastsgd import MLPRegressor, SGDRegressor

cars = local_data.cars().dropna(subset=["Horsepower", "Miles_per_Gallon"])
X, y = cars[["Horsepower"]].to_numpy(), cars["Miles_per_Gallon"].to_numpy()
models = {
    "linear": SGDRegressor(standardize=True, random_state=0),
    "network of 16 units": MLPRegressor(
        hidden_layer_sizes=(16,),
        activation="tanh",
        standardize=True,
        learning_rate_init=0.01,
        max_iter=500,
        tol=None,
        random_state=0,
    ),
}
x = np.linspace(45, 230, 200)[:, None]
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
axis.plot(X[:, 0], y, ".", color="0.7")
for name, model in models.items():
    model.fit(X, y)
    axis.plot(x, model.predict(x), lw=2, label=f"{name}, R^2 {model.score(X, y):.2f}")
axis.set(xlabel="horsepower", ylabel="miles per gallon")
axis.legend(frameon=False)
