"""
A classifier and its ROC curve
==============================

Logistic regression says which of 569 tumours are benign. The ROC curve shows what part of them is
found at which rate of false alarms.
"""

from sklearn.datasets import load_breast_cancer
from sklearn.metrics import RocCurveDisplay
from sklearn.model_selection import train_test_split

from fastsgd import SGDClassifier

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

# %%
# ``standardize=True`` scales the features within the step; X is read as it is.

model = SGDClassifier("log_loss", alpha=0.01, standardize=True, random_state=0)
model.fit(X_train, y_train)
print(model.result_)

# %%
# The estimator is one of scikit-learn, so its displays take it.

display = RocCurveDisplay.from_estimator(model, X_test, y_test, name="logistic regression")
display.ax_.set_title(f"{model.score(X_test, y_test):.1%} of the test rows are right")
