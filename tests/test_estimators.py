"""The estimators as scikit-learn's own checks see them."""

import numpy as np
import pytest
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor
from fastsgd.estimators.validated import valid_defaults

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
        SGDClassifier(
            "squared_hinge", penalty="elasticnet", class_weight="balanced", standardize=True
        ),
        SGDRegressor(),
        SGDRegressor("huber", penalty="l1", learning_rate="adaptive", average=0.5),
        SGDRegressor(standardize=True, batch_size=8, momentum=0.9),
        SGDOneClassSVM(),
        SGDOneClassSVM(standardize=True),
        SGDOneClassSVM(nu=0.1, batch_size=4, average=True),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# ---------------------------------------------------------------- checks that are cut short


ESTIMATORS = (SGDClassifier, SGDRegressor, SGDOneClassSVM)
X = np.random.default_rng(0).normal(size=(60, 4))
Y = (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_defaults_are_valid(estimator):
    """So that only what differs from them need be checked."""
    assert valid_defaults(estimator) == estimator().get_params()


class Strict(SGDClassifier):
    """Whose own defaults are no good, and which has a parameter more."""

    def __init__(self, alpha=-1.0, extra=0):
        super().__init__(alpha=alpha)
        self.extra = extra


def test_an_invalid_default_is_refused():
    assert Strict().get_params() == {"alpha": -1.0, "extra": 0}
    with pytest.raises(InvalidParameterError, match="'alpha' parameter of Strict"):
        Strict().fit(X, Y)
    Strict(alpha=0.1).fit(X, Y)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_arrays_that_need_no_conversion_give_the_model_of_others(estimator):
    """float64 in C order against the same as lists, in Fortran order, and as a data frame."""
    options = {"max_iter": 10, "tol": None}
    pandas = pytest.importorskip("pandas")
    plain = estimator(random_state=0, **options).fit(X, Y)
    for others in ((X.tolist(), Y.tolist()), (np.asfortranarray(X), Y[:, None].ravel())):
        np.testing.assert_array_equal(
            estimator(random_state=0, **options).fit(*others).coef_, plain.coef_
        )
    named = estimator(random_state=0, **options).fit(pandas.DataFrame(X, columns=list("abcd")), Y)
    np.testing.assert_array_equal(named.coef_, plain.coef_)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        named.partial_fit(X, Y)
    assert not hasattr(named.fit(X, Y), "feature_names_in_")
    assert named.n_features_in_ == 4
    with pytest.raises(ValueError, match=f"3 features, but {estimator.__name__} is expecting 4"):
        plain.partial_fit(np.ascontiguousarray(X[:, :3]), Y)


@pytest.mark.parametrize("estimator", (SGDClassifier, SGDRegressor))
@pytest.mark.parametrize(
    ("targets", "words"),
    (
        (Y[:-1], "inconsistent numbers of samples"),
        (np.where(Y, np.nan, 0.0), "Input y contains NaN"),
        (np.where(Y, np.inf, 0.0), "Input y contains infinity"),
        (Y + 1j, "Complex data not supported"),
    ),
)
def test_targets_are_refused_in_scikit_learns_words(estimator, targets, words):
    with pytest.raises(ValueError, match=words):
        estimator().fit(X, targets)
