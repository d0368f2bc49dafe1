"""Loss of training rows and of others, against epochs, for three penalties."""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastsgd import MLPClassifier
from fastsgd.insight import compare

X, y = load_digits(return_X_y=True)
parts = train_test_split(X / 16.0, y, train_size=200, random_state=0, stratify=y)
X_train, X_test, y_train, y_test = parts
model = MLPClassifier((64,), learning_rate_init=0.003, batch_size=20, random_state=0)
variants = {f"alpha {alpha:g}": {"alpha": alpha} for alpha in (0.0, 0.3)}
found = compare(
    model, X_train, y_train, variants=variants, epochs=150, test=(X_test, y_test), seeds=1
)
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
for axis, run in zip((left, right), found.runs, strict=True):
    epochs = run.examples / len(X_train)
    axis.plot(epochs[1:], run.loss[1:], label="200 training rows, with penalty")
    axis.plot(epochs[1:], run.test_loss[1:], label="1,597 others")
    axis.plot(epochs[run.test_loss.argmin()], run.test_loss.min(), "o", color="C1")
    axis.set(yscale="log", xscale="log", xlabel="epochs", title=run.label)
left.set_ylabel("log loss")
left.legend(frameon=False)
