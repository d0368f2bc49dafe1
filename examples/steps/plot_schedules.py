"""
Schedules of the learning rate
==============================

The same first rate, and five ways to lower it.
"""

from sklearn.datasets import load_digits

from fastsgd import SGDClassifier
from fastsgd.insight import compare_schedules

X, y = load_digits(return_X_y=True)
model = SGDClassifier("log_loss", multi_class="multinomial", alpha=1e-3, random_state=0)
schedules = ["constant", "invscaling", "exponential", "linear", "cosine"]
found = compare_schedules(model, X / 16.0, y, schedules=schedules, epochs=8)

# %%
display = found.plot()
display.figure_.set_size_inches(7, 4.2)
