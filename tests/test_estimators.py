"""The estimators as scikit-learn users meet them."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastsgd import SGDClassifier, SGDRegressor

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
    [SGDClassifier(), SGDRegressor(), SGDRegressor(batch_size=8, momentum=0.9)],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
