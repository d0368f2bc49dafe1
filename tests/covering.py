"""Covering arrays: few cases in which every two values of every two axes meet.

What goes wrong hangs on one setting, or on two that meet (Kuhn, Wallace & Gallo, IEEE Trans.
Software Eng. 30, 2004), and a full product of ten axes has millions of cases. The greedy
construction of Cohen, Dalal, Fredman & Patton (AETG, IEEE Trans. Software Eng. 23, 1997) needs
little more cases than the two longest axes have pairs. FASTSGD_EXHAUSTIVE=1 joins ten of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import combinations, product

import numpy as np

Case = dict[str, object]
Valid = Callable[[Case], bool]
"""Whether a case may be; of a case in the making, which has no value yet for some of its axes,
whether its values may meet."""

ROUNDS = 10 if os.environ.get("FASTSGD_EXHAUSTIVE") else 1


def anything(case: Case) -> bool:
    return True


def columns_of(
    axes: dict[str, Iterable], crossed: Collection[tuple[str, ...]], valid: Valid
) -> list[list[Case]]:
    """What a case is put together from: the values of an axis, or of axes that are crossed."""
    alone = [(name,) for name in axes if not any(name in group for group in crossed)]
    return [
        [
            part
            for values in product(*(axes[name] for name in group))
            if valid(part := dict(zip(group, values, strict=True)))
        ]
        for group in (*crossed, *alone)
    ]


def pairs_of(columns: list[list[Case]], valid: Valid) -> Iterator[tuple[int, int, int, int]]:
    """Value i of column a and value j of column b, as (a, i, b, j), where they may meet."""
    for a, b in combinations(range(len(columns)), 2):
        for (i, one), (j, other) in product(enumerate(columns[a]), enumerate(columns[b])):
            if valid(one | other):
                yield a, i, b, j


def covering(
    axes: dict[str, Iterable],
    *,
    crossed: Collection[tuple[str, ...]] = (),
    valid: Valid = anything,
    seed: int = 0,
    beside: Collection[Case] = (),
) -> list[Case]:
    """Cases, as dictionaries, in which every two values of every two axes meet.

    The axes of a group in ``crossed`` are one axis here, whose values are all their combinations.
    Values that meet in one of the cases ``beside`` need not meet again.
    """
    columns = columns_of(axes, crossed, valid)
    seeds = range(seed, seed + ROUNDS)
    cases = [case for seed in seeds for case in one_covering(columns, valid, seed, beside)]
    return [{name: case[name] for name in axes} for case in cases]


def covering_each(
    axes: dict[str, Iterable],
    each: str,
    *,
    crossed: Collection[tuple[str, ...]] = (),
    valid: Valid = anything,
    seed: int = 0,
) -> list[Case]:
    """A covering, and more cases, so that for each value of one axis every two values of all the
    other axes meet.
    """
    cases = covering(axes, crossed=crossed, valid=valid, seed=seed)
    for value in axes[each]:
        of_value = [case for case in cases if case[each] == value]
        fixed = valid_with(valid, {each: value})
        cases += covering({**axes, each: [value]}, valid=fixed, seed=seed, beside=of_value)
    return cases


def valid_with(valid: Valid, known: Case) -> Valid:
    """Whether a case may be that has these values too."""
    return lambda case: valid(case | known)


def one_covering(
    columns: list[list[Case]], valid: Valid, seed: int, beside: Collection[Case] = ()
) -> Iterator[Case]:
    rng = np.random.default_rng(seed)
    missing = dict.fromkeys(pairs_of(columns, valid))
    for case in beside:
        chosen = {c: values.index(part_of(case, values[0])) for c, values in enumerate(columns)}
        for x, y in combinations(chosen.items(), 2):
            missing.pop(pair(*x, *y), None)
    while missing:
        a, i, b, j = next(iter(missing))
        chosen = {a: i, b: j}
        for c in rng.permutation([c for c in range(len(columns)) if c not in chosen]).tolist():
            case = merged(columns, chosen)
            values = [v for v, value in enumerate(columns[c]) if valid(case | value)]
            new = [sum(pair(c, v, *x) in missing for x in chosen.items()) for v in values]
            best = [v for v, count in zip(values, new, strict=True) if count == max(new)]
            chosen[c] = best[rng.integers(len(best))]
        for x, y in combinations(chosen.items(), 2):
            missing.pop(pair(*x, *y), None)
        yield merged(columns, chosen)


def part_of(case: Case, part: Case) -> Case:
    """What a case has of the axes of a part."""
    return {name: case[name] for name in part}


def pair(a: int, i: int, b: int, j: int) -> tuple[int, int, int, int]:
    return (a, i, b, j) if a < b else (b, j, a, i)


def merged(columns: list[list[Case]], chosen: dict[int, int]) -> Case:
    return {name: value for c, v in chosen.items() for name, value in columns[c][v].items()}


def values_of(cases: list[Case]) -> list[tuple]:
    """The cases as tuples, in the order of the axes, as ``parametrize`` takes them."""
    return [tuple(case.values()) for case in cases]


def unmet(
    cases: list[Case],
    axes: dict[str, Iterable],
    valid: Valid = anything,
    strength: int = 2,
) -> list[Case]:
    """Values of so many axes that may meet and do in no case; the construction is not asked."""
    never = []
    for names in combinations(axes, strength):
        met = {tuple(case[name] for name in names) for case in cases}
        for values in product(*(axes[name] for name in names)):
            together = dict(zip(names, values, strict=True))
            if values not in met and valid(together):
                never.append(together)
    return never
