"""
Schedules of the learning rate
==============================

The same first rate under five schedules. A constant rate keeps the loss where the noise of single
rows holds it. "linear" and "cosine" fall to 0 at the end of the run and end lowest. "exponential",
here a tenth of the rate after each epoch, is near 0 before the loss is at its minimum.
"invscaling" falls most in the first steps, which is too soon here.
"""

from sklearn.datasets import load_digits

from fastsgd import SGDClassifier
from fastsgd.insight import compare_schedules

X, y = load_digits(return_X_y=True)
model = SGDClassifier("log_loss", multi_class="multinomial", alpha=1e-3, eta0=0.3, random_state=0)
schedules = ["constant", "invscaling", "exponential", "linear", "cosine"]
found = compare_schedules(model, X / 16.0, y, schedules=schedules, epochs=8)

# %%
display = found.plot()
display.ax_.set(xscale="linear", yscale="log", ylim=(0.2, 3))
display.ax_.set_yticks([0.25, 0.5, 1, 2], ["0.25", "0.5", "1", "2"])
display.ax_.minorticks_off()
display.figure_.set_size_inches(7, 4.2)
