"""Models as scikit-learn's own, and from there in ONNX: the same predictions."""

import warnings

import numpy as np
import pytest
import sklearn.base
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from test_model_files import half_square

from fastsgd import MLPClassifier, MLPRegressor, SGDClassifier, SGDOneClassSVM, SGDRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(80, 6))
BINARY = np.where(X[:, 0] + 0.3 * rng.normal(size=80) > 0, "yes", "no")
THREE = np.array(["a", "b", "c"])[np.digitize(X[:, 0], (-0.5, 0.5))]
REAL = X @ rng.normal(size=(6, 2))
COUNTS = rng.poisson(np.exp(0.3 * X[:, 0]))
LABELS = (X[:, :3] > 0).astype(int)
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 20}
CASES = {
    "hinge": (SGDClassifier(), BINARY, "SGDClassifier"),
    "log loss": (SGDClassifier(loss="log_loss", alpha=0.01, average=True), BINARY, "SGDClassifier"),
    "modified huber": (SGDClassifier(loss="modified_huber"), THREE, "SGDClassifier"),
    "one against the rest": (SGDClassifier(loss="log_loss"), THREE, "SGDClassifier"),
    "softmax": (
        SGDClassifier(loss="log_loss", multi_class="multinomial", penalty="l1"),
        THREE,
        "LogisticRegression",
    ),
    "softmax of two": (
        SGDClassifier(loss="log_loss", multi_class="multinomial"),
        BINARY,
        "SGDClassifier",
    ),
    "squared error": (SGDRegressor(eta0=0.01), REAL[:, 0], "SGDRegressor"),
    "huber": (SGDRegressor(loss="huber", epsilon=0.3), REAL[:, 0], "SGDRegressor"),
    "poisson": (SGDRegressor(loss="poisson"), COUNTS, "PoissonRegressor"),
    "quantile": (SGDRegressor(loss="quantile", quantile=0.3), REAL[:, 0], "QuantileRegressor"),
    "outputs": (SGDRegressor(), REAL, "LinearRegression"),
    "one class": (SGDOneClassSVM(nu=0.1), None, "SGDOneClassSVM"),
    "network of two": (MLPClassifier(**SMALL), BINARY, "MLPClassifier"),
    "network of three": (MLPClassifier(**SMALL, activation="tanh"), THREE, "MLPClassifier"),
    "network of labels": (MLPClassifier(**SMALL, solver="sgd"), LABELS, "MLPClassifier"),
    "network": (MLPRegressor(**SMALL), REAL[:, 0], "MLPRegressor"),
    "network of outputs": (MLPRegressor(**SMALL, early_stopping=True), REAL, "MLPRegressor"),
    "network of counts": (MLPRegressor(**SMALL, loss="poisson"), COUNTS, "MLPRegressor"),
}
WITHOUT_ONNX = ("network of counts",)
"""What skl2onnx does not convert: an exponential after the last layer."""


def fitted(name, dtype=np.float64):
    model, y, kind = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sklearn.base.clone(model).set_params(random_state=3).fit(X.astype(dtype), y), kind


@pytest.mark.parametrize("dtype", (np.float64, np.float32))
@pytest.mark.parametrize("name", CASES)
def test_the_same_predictions(name, dtype):
    model, kind = fitted(name, dtype)
    other, table = model.to_sklearn(), X.astype(dtype)
    assert (type(other).__name__, type(other).__module__.split(".")[0]) == (kind, "sklearn")
    assert len(np.unique(model.predict(table))) > 1
    for method in ("predict", "decision_function", "predict_proba", "score_samples"):
        if not (hasattr(model, method) and hasattr(other, method)):
            continue
        ours, theirs = (getattr(one, method)(table) for one in (model, other))
        assert ours.shape == theirs.shape
        if ours.dtype.kind == "f":
            assert_allclose(theirs, ours, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-7)
        else:
            assert_array_equal(theirs, ours)
    before = model.predict(table)
    if hasattr(other, "partial_fit") and not getattr(other, "early_stopping", False):
        other.partial_fit(table, CASES[name][1])
    assert_array_equal(model.predict(table), before)  # nothing is shared


@pytest.mark.parametrize("name", [name for name in CASES if name not in WITHOUT_ONNX])
def test_in_onnx(name):
    skl2onnx = pytest.importorskip("skl2onnx")
    runtime = pytest.importorskip("onnxruntime")
    model, _ = fitted(name, np.float32)
    table = X.astype(np.float32)
    options = {}
    if hasattr(model, "classes_") and hasattr(model, "predict_proba"):
        options = {"zipmap": False}
    found = skl2onnx.to_onnx(model.to_sklearn(), table[:1], options=options, target_opset=17)
    session = runtime.InferenceSession(found.SerializeToString())
    outputs = session.run(None, {session.get_inputs()[0].name: table})
    predicted = np.asarray(outputs[0]).reshape(model.predict(table).shape)
    if predicted.dtype.kind == "f":
        assert_allclose(predicted, model.predict(table), rtol=1e-6, atol=1e-6)
    else:
        assert (predicted == model.predict(table)).all()
    if options:
        assert_allclose(outputs[1], model.predict_proba(table), rtol=0, atol=1e-6)


def test_parameters_are_carried_over():
    model = SGDClassifier(loss="log_loss", alpha=0.02, penalty="elasticnet", l1_ratio=0.4, tol=0.01)
    other = model.fit(X, BINARY).to_sklearn()
    assert other.get_params() | {"alpha": 0.02, "l1_ratio": 0.4, "tol": 0.01} == other.get_params()
    assert (other.penalty, other.learning_rate, other.eta0) == ("elasticnet", "optimal", 0.01)
    model.set_params(learning_rate="constant", eta0=0.5).fit(X, BINARY)
    other = model.to_sklearn()
    assert (other.learning_rate, other.eta0) == ("constant", 0.5)
    sklearn.base.clone(other).fit(X, BINARY)


def test_what_scikit_learn_has_not():
    model = SGDRegressor(loss=half_square, max_iter=2, tol=None).fit(X, REAL[:, 0])
    with pytest.raises(ValueError, match="takes a loss of your own"):
        model.to_sklearn()
    options = {"alpha": 1.0, "max_iter": 2, "tol": None, "fit_intercept": False}
    model = SGDRegressor(loss="linear", **options).fit(X, REAL[:, 0])
    with pytest.raises(ValueError, match="loss='linear'"):
        model.to_sklearn()
    model = SGDRegressor(loss="poisson", max_iter=2, tol=None).fit(X, np.exp(0.1 * REAL))
    with pytest.raises(ValueError, match="several outputs"):
        model.to_sklearn()
    with pytest.raises(ValueError, match="indicator matrix"):
        SGDClassifier(max_iter=2, tol=None).fit(X, LABELS).to_sklearn()
    with pytest.raises(NotFittedError):
        MLPRegressor().to_sklearn()
