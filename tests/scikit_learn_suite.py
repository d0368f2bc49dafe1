"""Runs scikit-learn's own tests of SGD, of the version that is installed, on fastsgd's estimators.

    python tests/scikit_learn_suite.py

They are copied to a temporary folder, with the estimators' import changed. What may fail are the
named differences below; docs/coming-from-scikit-learn.md lists the same for users. A test that
fails without being listed is an error, and so is a listed one that passes.
"""

from __future__ import annotations

import fnmatch
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
import sklearn.linear_model

SOURCE = Path(sklearn.linear_model.__file__).parent / "tests" / "test_sgd.py"
PAGE = Path(__file__).parents[1] / "docs" / "coming-from-scikit-learn.md"

IMPORT = "from sklearn import datasets, linear_model, metrics\n"
CHANGED = "import linear_model\n\nfrom sklearn import datasets, metrics\n"

FILES = {
    "linear_model.py": (
        "from sklearn.linear_model import *\n"
        "from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor\n"
    ),
    "conftest.py": (
        "import pytest\n\n\n"
        "@pytest.fixture(params=[42])\n"
        "def global_random_seed(request):\n"
        "    return request.param\n"
    ),
    "pytest.ini": "[pytest]\nmarkers = no_check_spmatrix\n",
}
"""What stands beside the copied tests."""


@dataclass(frozen=True)
class Difference:
    """A decision by which fastsgd differs from scikit-learn.

    Attributes
    ----------
    name, reason : str
        A line on the page for users.
    tests : tuple of str
        The tests that fail by it; * stands for anything.
    """

    name: str
    reason: str
    tests: tuple[str, ...]


DIFFERENCES = (
    Difference(
        "The default learning rate",
        '`learning_rate="auto"` finds a rate from the data and lowers it until the fit is near the '
        "minimum, which may take all `max_iter` epochs. In scikit-learn the default is "
        '`"optimal"` for classifiers, `"invscaling"` with `eta0=0.01` for regressors.',
        (
            "test_balanced_weight*",
            "test_sgd_random_state*-SGDClassifier]",
            "test_early_stopping[[]*Classifier]",
            "test_tol_parameter",
        ),
    ),
    Difference(
        "The order of the rows",
        "The same `random_state` gives another order. It depends on the seed and the number of the "
        "epoch alone, so that a run can go on at any epoch.",
        ("test_sgd_oneclass_vs_linear_oneclass_offsets_match[[]0.1]",),
    ),
    Difference(
        "Sparse data",
        "CSR gives the model that the same dense rows give. scikit-learn multiplies the steps of "
        "the intercept there by 0.01 (`SPARSE_INTERCEPT_DECAY`).",
        (
            "test_late_onset_averaging_reached[[]Sparse*",
            "test_late_onset_averaging_reached_oneclass[[]Sparse*",
            "test_average_binary_computed_correctly[[]Sparse*",
            "test_sgd_multiclass_average[[]Sparse*",
            "test_sgd_proba[[]Sparse*",
            "test_sgd_averaged_computed_correctly*[[]Sparse*",
            "test_sgd_averaged_partial_fit*[[]Sparse*",
            "test_average_sparse*[[]Sparse*",
        ),
    ),
    Difference(
        "Early stopping",
        "The weights of the best epoch are kept, for each class separately. scikit-learn keeps the "
        "last ones.",
        (
            "test_validation_set_not_used_for_training[[]SGDClassifier]",
            "test_validation_set_not_used_for_training[[]SparseSGDClassifier]",
        ),
    ),
    Difference(
        "Divergence",
        "A run whose loss or weights grow without bound raises a `DivergenceError`, a "
        "`ValueError`. scikit-learn cuts slopes at 1e12 and often returns a model that is far off.",
        ("test_warm_start[[]optimal-*Regressor]", "test_partial_fit_equal_fit[[]optimal-*"),
    ),
    Difference(
        "Several outputs",
        "`SGDRegressor` takes a y of several columns, and `SGDClassifier` an indicator matrix; "
        "scikit-learn refuses both.",
        ("test_input_format[[]*Regressor]",),
    ),
    Difference(
        "Balanced classes in `partial_fit`",
        '`class_weight="balanced"` follows the counts of all rows so far; scikit-learn refuses it.',
        ("test_partial_fit_weight_class_balanced*",),
    ),
    Difference(
        "New arrays",
        "`partial_fit` makes a new `coef_`, so that one you have kept does not change; "
        "scikit-learn writes into the old one.",
        ("test_partial_fit_oneclass*",),
    ),
    Difference(
        "Private names",
        "`_average_coef`, `_standard_coef` and the like do not exist, and the classes of "
        "`sklearn.linear_model._stochastic_gradient` are not base classes.",
        ("test_plain_has_no_average_attr*", "test_validation_mask_correctly_subsets"),
    ),
    Difference(
        "Rounding",
        "Rows are read several at a time and averages are kept as differences, so the last digits "
        "differ.",
        ("test_validation_set_not_used_for_training[[]SGDRegressor]",),
    ),
)


class Outcomes:
    """A plugin of pytest: which tests ran, and how those that failed did."""

    def __init__(self) -> None:
        self.ran: set[str] = set()
        self.failed: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.split("::", 1)[1]
        self.ran.add(name)
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.failed[name] = str(report.longrepr if crash is None else crash.message)


def run() -> Outcomes:
    """Run the tests of the installed scikit-learn.

    Raises
    ------
    RuntimeError
        If they no longer import the estimators as they did.
    """
    tests = SOURCE.read_text()
    if tests.count(IMPORT) != 1:
        raise RuntimeError(f"{SOURCE} has no line {IMPORT!r}: its import must be changed otherwise")
    outcomes = Outcomes()
    with tempfile.TemporaryDirectory() as folder:
        for name, text in {**FILES, SOURCE.name: tests.replace(IMPORT, CHANGED)}.items():
            (Path(folder) / name).write_text(text)
        quiet = ["-q", "--no-header", "--tb=no", "-r", "", "-W", "ignore", "-p", "no:cacheprovider"]
        place = ["--rootdir", folder, "-c", f"{folder}/pytest.ini", folder]
        pytest.main([*quiet, *place], plugins=[outcomes])
    return outcomes


def faults(outcomes: Outcomes, differences: Iterable[Difference] = DIFFERENCES) -> list[str]:
    """What is not as the list of differences says."""
    found = [] if outcomes.ran else ["no test ran"]
    unlisted = dict(outcomes.failed)
    for one in differences:
        for pattern in one.tests:
            meant = fnmatch.filter(outcomes.ran, pattern)
            if not meant:
                found.append(f"{pattern} ({one.name}): there is no such test")
            found += [
                f"{name} ({one.name}): is listed, but passes"
                for name in sorted(meant)
                if name not in outcomes.failed
            ]
            for name in meant:
                unlisted.pop(name, None)
    found += [f"{name}: fails, and is not listed\n    {why}" for name, why in unlisted.items()]
    return found


def main() -> int:
    outcomes = run()
    print(f"scikit-learn {sklearn.__version__}: {len(outcomes.ran)} tests, of which ", end="")
    print(f"{len(outcomes.failed)} fail by {len(DIFFERENCES)} named differences:")
    for one in DIFFERENCES:
        count = sum(len(fnmatch.filter(outcomes.failed, pattern)) for pattern in one.tests)
        print(f"    {count:3}  {one.name}")
    found = faults(outcomes)
    print("\n".join(found or ["Nothing else fails, and nothing that is listed passes."]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
