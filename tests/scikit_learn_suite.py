"""Runs scikit-learn's own tests of SGD and of networks, of the version that is installed, on
fastsgd's estimators.

    python tests/scikit_learn_suite.py

They are copied to a temporary folder, with the estimators' import changed. What may fail are the
named differences below; docs/coming-from-scikit-learn.md and docs/networks.md list the same for
users. A test that fails without being listed is an error, and so is a listed one that passes.
"""

from __future__ import annotations

import fnmatch
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sklearn

ROOT = Path(sklearn.__file__).parent
DOCS = Path(__file__).parents[1] / "docs"

CONFTEST = (
    "import pytest\n\n\n"
    "@pytest.fixture(params=[42])\n"
    "def global_random_seed(request):\n"
    "    return request.param\n"
)


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


@dataclass(frozen=True)
class Suite:
    """A file of tests, and how it is run here.

    Attributes
    ----------
    source : Path
        The tests.
    line, changed : str
        Their import of the estimators, and what takes its place.
    page : Path
        Documentation of what differs.
    differences : tuple of Difference
        The same.
    files : dict of str to str
        What stands beside the copied tests, but for pytest's own.
    """

    source: Path
    line: str
    changed: str
    page: Path
    differences: tuple[Difference, ...]
    files: dict[str, str] = field(default_factory=dict)


SGD_DIFFERENCES = (
    Difference(
        "The default learning rate",
        '`learning_rate="auto"` finds a rate from the data and lowers it until the fit is near the '
        "minimum, which may take all `max_iter` epochs. In scikit-learn the default is "
        '`"optimal"` for classifiers, `"invscaling"` with `eta0=0.01` for regressors.',
        (
            "test_balanced_weight*",
            "test_sgd_random_state*-SGDClassifier]",
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

NETWORK_DIFFERENCES = (
    Difference(
        "No lbfgs",
        '`solver="lbfgs"` is refused, and so is its `max_fun`: it is no stochastic method.',
        (
            "test_gradient",
            "test_lbfgs_*",
            "test_multilabel_classification",
            "test_multioutput_regression",
            "test_partial_fit_errors",
            "test_predict_proba_multilabel",
            "test_sparse_matrices*",
            "test_warm_start",
            "test_mlp_warm_start_no_convergence[[]lbfgs*",
            "test_mlp_vs_poisson_glm_equivalent*",
        ),
    ),
    Difference(
        "Divergence",
        "A loss or weight that is not finite is a `DivergenceError`, a `ValueError`, in every "
        "epoch; the estimator is as it was before.",
        ("test_mlp_diverging_loss",),
    ),
    Difference(
        "One class",
        "A y of a single class is refused.",
        ("test_preserve_feature_names[[]MLPClassifier]",),
    ),
    Difference(
        "Labels in messages",
        "Errors name labels as y has them; scikit-learn's name what it makes of them.",
        ("test_early_stopping_stratified",),
    ),
    Difference(
        "Lines of an epoch",
        "`verbose` prints the lines of the linear estimators, and a progress bar.",
        ("test_verbose_sgd",),
    ),
    Difference(
        "Private names",
        "`_optimizer`, `_no_improvement_count` and the like do not exist.",
        (
            "test_learning_rate_warmstart",
            "test_adaptive_learning_rate",
            "test_n_iter_no_change*",
        ),
    ),
)

SUITES = {
    "SGD": Suite(
        ROOT / "linear_model" / "tests" / "test_sgd.py",
        "from sklearn import datasets, linear_model, metrics\n",
        "import linear_model\n\nfrom sklearn import datasets, metrics\n",
        DOCS / "coming-from-scikit-learn.md",
        SGD_DIFFERENCES,
        {
            "linear_model.py": (
                "from sklearn.linear_model import *\n"
                "from fastsgd import SGDClassifier, SGDOneClassSVM, SGDRegressor\n"
            )
        },
    ),
    "networks": Suite(
        ROOT / "neural_network" / "tests" / "test_mlp.py",
        "from sklearn.neural_network import MLPClassifier, MLPRegressor\n",
        "from fastsgd import MLPClassifier, MLPRegressor\n",
        DOCS / "networks.md",
        NETWORK_DIFFERENCES,
    ),
}


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


def run(suite: Suite) -> Outcomes:
    """Run the tests of the installed scikit-learn.

    Raises
    ------
    RuntimeError
        If they no longer import the estimators as they did.
    """
    source, tests = suite.source, suite.source.read_text()
    if tests.count(suite.line) != 1:
        raise RuntimeError(f"{source} has no line {suite.line!r}: it must be changed otherwise")
    outcomes = Outcomes()
    files = {
        **suite.files,
        "conftest.py": CONFTEST,
        "pytest.ini": "[pytest]\nmarkers = no_check_spmatrix\n",
        f"fastsgd_{source.name}": tests.replace(suite.line, suite.changed),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
        quiet = ["-q", "--no-header", "--tb=no", "-r", "", "-W", "ignore", "-p", "no:cacheprovider"]
        place = [
            "--rootdir",
            folder,
            "-c",
            f"{folder}/pytest.ini",
            f"{folder}/fastsgd_{source.name}",
        ]
        pytest.main([*quiet, *place], plugins=[outcomes])
    return outcomes


def faults(outcomes: Outcomes, differences: Iterable[Difference]) -> list[str]:
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
    found = []
    for name, suite in SUITES.items():
        outcomes = run(suite)
        print(
            f"scikit-learn {sklearn.__version__}, {name}: {len(outcomes.ran)} tests, of which ",
            end="",
        )
        print(f"{len(outcomes.failed)} fail by {len(suite.differences)} named differences:")
        for one in suite.differences:
            count = sum(len(fnmatch.filter(outcomes.failed, pattern)) for pattern in one.tests)
            print(f"    {count:3}  {one.name}")
        found += faults(outcomes, suite.differences)
    print("\n".join(found or ["Nothing else fails, and nothing that is listed passes."]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
