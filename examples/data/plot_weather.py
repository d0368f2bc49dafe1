"""
A regression on dates
=====================

The highest temperature of a day in Seattle, from the day of the year. Sines and cosines make a
linear model periodic.
"""

import matplotlib.pyplot as plt
import numpy as np
from vega_datasets import local_data

from fastsgd import SGDRegressor

weather = local_data.seattle_weather()
day = weather["date"].dt.day_of_year.to_numpy()
y = weather["temp_max"].to_numpy()


def features(day):
    """Two periods of a year."""
    angle = 2.0 * np.pi * day[:, None] / 365.25 * np.array([1.0, 2.0])
    return np.hstack([np.sin(angle), np.cos(angle)])


train = (weather["date"].dt.year < 2015).to_numpy()
model = SGDRegressor(random_state=0).fit(features(day[train]), y[train])
print(f"R^2 of 2015, which was not trained on: {model.score(features(day[~train]), y[~train]):.2f}")

# %%
figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
axis.plot(day[~train], y[~train], ".", color="0.6", label="2015")
axis.plot(
    np.arange(366), model.predict(features(np.arange(366))), lw=2, label="model of 2012 to 2014"
)
axis.set(xlabel="day of the year", ylabel="highest temperature, degrees Celsius")
axis.legend(frameon=False)
