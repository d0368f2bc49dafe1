"""The variance of a batch's gradient against the batch size, measured and by the two laws."""

from tables import tumours

from fastsgd import SGDClassifier
from fastsgd.insight import BatchVarianceDisplay

X, y = tumours()
model = SGDClassifier("log_loss", alpha=0.01, max_iter=1, tol=None, random_state=0).fit(X, y)
display = BatchVarianceDisplay.from_estimator(model, X, y, random_state=0)
display.figure_.set_size_inches(6.5, 4)
