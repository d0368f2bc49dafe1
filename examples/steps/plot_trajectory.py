"""
Paths on the landscape
======================

Two weights of a model of wines during two epochs: single samples, batches and all rows, over
contours of the loss. The paler the shade, the lower the loss.
"""

from sklearn.datasets import load_wine
from sklearn.preprocessing import scale

from fastsgd import SGDClassifier
from fastsgd.insight import TrajectoryDisplay

X, y = load_wine(return_X_y=True)
model = SGDClassifier("log_loss", alpha=0.01, random_state=0)
display = TrajectoryDisplay.from_estimator(model, scale(X), y == 0, coordinates=(0, 12), epochs=2)
display.ax_.set(xlabel="weight of alcohol", ylabel="weight of proline")
display.figure_.set_size_inches(7, 4.5)
