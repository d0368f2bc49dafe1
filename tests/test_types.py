"""What type checkers are told is what runs: names of options, and a user's script."""

from __future__ import annotations

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import typed_user
from sklearn.utils._param_validation import StrOptions

from fastsgd import MLPClassifier, MLPRegressor, SGDClassifier, SGDOneClassSVM, SGDRegressor


def names_in(hint: Any) -> set[str]:
    """The strings of all ``Literal`` in a type."""
    if get_origin(hint) is Literal:
        return set(get_args(hint))
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else ()
    return set().union(*map(names_in, parts))


ESTIMATORS = [SGDClassifier, SGDRegressor, SGDOneClassSVM, MLPClassifier, MLPRegressor]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_options_by_name_are_those_that_validation_takes(estimator: type) -> None:
    hints = get_type_hints(estimator.__init__)
    options = {
        name: set().union(*(one.options for one in constraints if isinstance(one, StrOptions)))
        for name, constraints in estimator._parameter_constraints.items()
    }
    assert sum(map(bool, options.values())) >= 3
    if "solver" in options:
        options["solver"].remove("lbfgs")  # which has an error of its own
    assert {name: names_in(hints[name]) for name in options} == options


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_script_of_the_type_checker_runs(capsys: pytest.CaptureFixture[str]) -> None:
    typed_user.main()
    assert capsys.readouterr().out
