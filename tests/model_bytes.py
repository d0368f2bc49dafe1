"""Files of small models as bytes, taken apart and put together, for the tests of files."""

import json
import tempfile
import warnings

import safetensors.numpy as safetensors
from test_continuing import X, Y

from fastsgd import SGDClassifier, SGDRegressor


def model_bytes(estimator=SGDClassifier, **options):
    """A file of a small model."""
    y = Y[SGDClassifier] if "Classifier" in estimator.__name__ else Y[SGDRegressor]
    options = {"max_iter": 3, "tol": None, "random_state": 0, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = estimator(**options).fit(X, y)
    return contents(model)


def contents(model):
    """The file of a model, as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model")
        with open(f"{folder}/model", "rb") as file:
            return file.read()


def parts_of(data):
    """Description and tensors of a file."""
    length = int.from_bytes(data[:8], "little")
    text = json.loads(data[8 : 8 + length])["__metadata__"]["fastsgd"]
    return json.loads(text), safetensors.load(data)


def joined(description, tensors):
    """A file of a description and tensors, which need not be sound."""
    text = description if isinstance(description, str) else json.dumps(description)
    return safetensors.save(tensors, {"fastsgd": text})
