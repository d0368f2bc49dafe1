"""
Which rate? A range test
========================

Short runs at many constant rates, trained side by side in one pass. Too small a rate learns
nothing, too large a one diverges.
"""

from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale

from fastsgd import SGDClassifier
from fastsgd.insight import LearningRateDisplay, rate_range

X, y = load_breast_cancer(return_X_y=True)
model = SGDClassifier("log_loss", alpha=0.01, random_state=0)
found = rate_range(model, scale(X), y)
print(
    f"the least loss is at the rate {found.suggested:.3g}; 1 / L is {found.inverse_curvature:.3g}"
)

# %%
display = LearningRateDisplay(found).plot()
display.figure_.set_size_inches(7, 4.2)

# %%
# ``learning_rate="auto"`` finds a rate without such a test.

print(model.fit(scale(X), y).result_)
