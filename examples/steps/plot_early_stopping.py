"""
Early stopping on rows of your own
==================================

With ``X_val`` and ``y_val`` a network is scored on them after each epoch, and the best weights are
kept.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastsgd import MLPClassifier

X, y = load_digits(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(
    X / 16.0, y, train_size=400, random_state=0, stratify=y
)
model = MLPClassifier((64,), early_stopping=True, random_state=0, max_iter=200)
model.fit(X_train, y_train, X_val=X_val, y_val=y_val)
print(f"{model.n_iter_} epochs; the best score is {model.best_validation_score_:.3f}")

# %%
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
epochs = range(1, model.n_iter_ + 1)
axis.plot(epochs, model.validation_scores_, label="score on the other 1,397 rows")
axis.set(xlabel="epochs", ylabel="accuracy", ylim=(0, 1))
loss = axis.twinx()
loss.plot(epochs, model.loss_curve_, color="C1", label="training loss")
loss.set(ylabel="log loss", ylim=(0, None))
figure.legend(loc="center", frameon=False)
