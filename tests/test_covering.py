"""Covering arrays: every two values meet, none that may not, in few cases; and a gap is found."""

import ast
from itertools import combinations
from pathlib import Path

import pytest
from covering import covering, covering_each, unmet, valid_with

AXES = {"a": range(7), "b": range(5), "c": "xyz", "d": (False, True), "e": (False, True)}


def valid(case):
    """0 of a with x of c may not be, nor a true e with a b above 3."""
    return not (case.get("a") == 0 and case.get("c") == "x") and not (
        case.get("e") and case.get("b", 0) > 3
    )


@pytest.mark.parametrize("crossed", ((), [("c", "d")], [("c", "d"), ("b", "e")]))
@pytest.mark.parametrize("seed", range(5))
def test_all_pairs_meet_in_few_cases(seed, crossed):
    cases = covering(AXES, crossed=crossed, valid=valid, seed=seed)
    assert all(valid(case) and case.keys() == AXES.keys() for case in cases)
    names = sorted(AXES)
    pairs = {(a, case[a], b, case[b]) for case in cases for a, b in combinations(names, 2)}
    sizes = [len(AXES[name]) for name in AXES]
    assert len(pairs) == sum(m * n for m, n in combinations(sizes, 2)) - 2  # of valid
    assert unmet(cases, AXES, valid) == []
    longest = 7 * 6 if len(crossed) < 2 else 7 * 9
    assert len(cases) <= 1.4 * longest
    for group in crossed:
        assert unmet(cases, {name: AXES[name] for name in group}, valid, len(group)) == []


@pytest.mark.parametrize("each", sorted(AXES))
def test_all_pairs_meet_for_each_value_of_an_axis(each):
    """In cases that add to those of all pairs only what is missing."""
    plain, cases = covering(AXES, valid=valid), covering_each(AXES, each, valid=valid)
    assert cases[: len(plain)] == plain
    assert all(valid(case) and case.keys() == AXES.keys() for case in cases)
    lacking = 0
    for value in AXES[each]:
        fixed, may_be = {**AXES, each: [value]}, valid_with(valid, {each: value})
        of_value = [case for case in cases if case[each] == value]
        assert unmet(of_value, fixed, may_be) == []
        assert len(of_value) < 1.5 * len(covering(fixed, valid=may_be)) + 2
        lacking += len(unmet([case for case in plain if case[each] == value], fixed, may_be))
    assert lacking > 0


def test_a_gap_is_found():
    """A case that alone has a pair is taken out; and a pair that no case may have is none."""
    cases = covering(AXES, valid=valid)
    assert unmet([case for case in cases if case["a"] != 3], AXES, valid)
    lost = [unmet(cases[:i] + cases[i + 1 :], AXES, valid) for i in range(len(cases))]
    assert sum(map(bool, lost)) > len(cases) // 2
    assert unmet(cases, AXES) == [{"a": 0, "c": "x"}, {"b": 4, "e": True}]


def test_the_seed_decides():
    assert covering(AXES, valid=valid, seed=1) == covering(AXES, valid=valid, seed=1)
    assert covering(AXES, valid=valid, seed=1) != covering(AXES, valid=valid, seed=2)


def test_cases_are_left_out_of_tests_that_there_are():
    """The names of conftest.py, of which only a part runs by default."""
    folder = Path(__file__).parent
    source = ast.parse((folder / "conftest.py").read_text())
    (table,) = [
        node.value
        for node in source.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ONE_IN"
    ]
    for name, one_in in ast.literal_eval(table).items():
        file, _, test = name.partition("::")
        assert f"def {test}(" in (folder / file).read_text(), name
        assert one_in == 0 or one_in > 1
