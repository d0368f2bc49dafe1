"""
Momentum in full batches
========================

All steps of full batches point nearly the same way, so that their sum goes further. The rate is
the same for all three runs.
"""

from sklearn.datasets import load_wine
from sklearn.preprocessing import scale

from fastsgd import SGDClassifier
from fastsgd.insight import ExperimentDisplay, compare_momentum

X, y = load_wine(return_X_y=True)
model = SGDClassifier(
    "log_loss",
    alpha=0.01,
    batch_size=178,
    learning_rate="constant",
    eta0=0.3,
    random_state=0,
)
found = compare_momentum(model, scale(X), y, epochs=60)

# %%
display = ExperimentDisplay(found, x="step").plot()
display.figure_.set_size_inches(7, 4.2)
