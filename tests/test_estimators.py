"""The estimators as scikit-learn's own checks see them."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor

WEIGHTS_REASON = (
    "the objective divides by n, not by the sum of weights, and the order of samples is random: "
    "single-sample SGD cannot treat an integer weight as a repetition"
)


def expected_failures(_estimator):
    return {
        "check_sample_weight_equivalence_on_dense_data": WEIGHTS_REASON,
        "check_sample_weight_equivalence_on_sparse_data": WEIGHTS_REASON,
    }


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        SGDClassifier(),
        SGDClassifier("log_loss", multi_class="multinomial", average=True, momentum=0.5),
        SGDClassifier("squared_hinge", penalty="elasticnet", class_weight="balanced"),
        SGDClassifier("log_loss", standardize=True, momentum=0.5),
        SGDRegressor(),
        SGDRegressor(batch_size=8, momentum=0.9),
        SGDRegressor("huber", penalty="l1", learning_rate="adaptive", average=0.5),
        SGDRegressor(standardize=True, average=True, batch_size=4),
        SGDOneClassSVM(),
        SGDOneClassSVM(standardize=True),
        SGDOneClassSVM(nu=0.1, batch_size=4, average=True),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
