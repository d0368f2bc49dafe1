"""
What a softmax looks at
=======================

A joint softmax of the ten digits has a weight for each pixel and digit. Drawn as pictures, they
show which pixels speak for a digit (blue) and which against it (red).
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from fastsgd import SGDClassifier

X, y = load_digits(return_X_y=True)
model = SGDClassifier("log_loss", multi_class="multinomial", alpha=0.01, random_state=0)
model.fit(X / 16.0, y)

# %%
figure, axes = plt.subplots(2, 5, figsize=(8, 3.6), layout="constrained")
limit = abs(model.coef_).max()
for digit, axis in enumerate(axes.ravel()):
    axis.imshow(model.coef_[digit].reshape(8, 8), cmap="RdBu", vmin=-limit, vmax=limit)
    axis.set(title=str(digit), xticks=[], yticks=[])
