"""Runs of a small network on two features, recorded for the page that shows them step by step."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...descent import VectorDescent
from ...network import ACTIVATIONS
from ...optimizers import SGD
from ...scalars import python_number
from ...schedules import Schedule
from .choices import SCHEDULES, Choices, check_steps
from .document import Document
from .network_page import render_network
from .networks import NETWORK_PROBLEMS, PlaneNetwork, built_in_rows, rows_of_user
from .records import NetworkRecord, View

__all__ = ["NetworkExploration", "explore_network"]

NETWORK_RATES = (0.5, 2.0, 5.0)
"""Default learning rates: no bound of the curvature says where a network's steps diverge."""

MOST_UNITS = 16
"""Most units of a hidden layer: the page has all parameters of each point of each run."""

TITLES = {"network": "A network on two half moons", "spiral": "A network on two spiral arms"}


@dataclass(frozen=True)
class NetworkExploration(NetworkRecord, Document):
    """Recorded runs of a network with two features and a logistic output.

    A notebook shows the page; ``save`` writes it to a file. Runs are what the solver gives: see
    ``RecordedNetworkRun.descent``.

    Attributes
    ----------
    title : str
        Title of the page.
    X : ndarray of shape (n, 2)
        Rows that it is trained on.
    y : ndarray of shape (n,)
        Number of each row's class, 0 or 1.
    batch_sizes : tuple of int
        Batch sizes to choose from.
    rates : tuple of float
        Learning rates to choose from.
    momenta : tuple of float
        Momenta to choose from.
    schedules : tuple of str
        Schedules to choose from.
    steps : int
        Updates of a run.
    view : tuple of two (low, high)
        Range of each feature that the page shows at first.
    names : tuple of two str
        Names of the features.
    network : Network
        The network: its layers and its loss.
    classes : ndarray of shape (2,)
        The two classes; the network gives the probability of the second.
    offset : ndarray of shape (2,)
        Mean of each feature, which the core subtracts when it reads a row.
    scale : ndarray of shape (2,)
        1 / standard deviation of each feature, which the core multiplies by.
    start : ndarray of shape (P,)
        Parameters at the start of every run, those of ``MLPClassifier`` with the same
        ``random_state``; see ``RecordedNetworkRun``.
    runs : tuple of RecordedNetworkRun
        One for each combination of batch size, rate, momentum and schedule; the schedule changes
        fastest, the batch size slowest.

    See Also
    --------
    explore : Records runs.

    Examples
    --------
    >>> from fastsgd.insight import explore
    >>> exploration = explore("network", rates=(0.5,), hidden=(4,), steps=20)
    >>> exploration.network.sizes, exploration.batch_sizes, len(exploration.runs)
    ((2, 4, 1), (1, 16, 128), 12)
    >>> exploration.html[:15]
    '<!doctype html>'
    """

    def _render(self) -> str:
        return render_network(self)


def explore_network(
    problem: str,
    X: Any,
    y: ArrayLike | None,
    hidden: Sequence[int] | None,
    activation: str | None,
    given: tuple[Any, Any, Any, Any],
    steps: int,
    random_state: int,
) -> NetworkExploration:
    """Record runs of a network: see ``explore``.

    ``given`` are its batch_sizes, rates, momenta and schedules, each a tuple or None.

    Raises
    ------
    ValueError
        If an argument is not valid; the message names it.
    """
    units = _hidden(NETWORK_PROBLEMS[problem] if hidden is None else hidden)
    function = "tanh" if activation is None else activation
    if function not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {ACTIVATIONS}, got {activation!r}")
    names, title = ("feature 1", "feature 2"), TITLES[problem]
    if X is None and y is not None:
        raise ValueError("X must be given along with y")
    if X is None:
        rows, targets, classes = built_in_rows(problem)
    else:
        columns = getattr(X, "columns", None)
        rows, targets, classes = rows_of_user(X, y)
        title = f"A network on {len(rows)} rows of two features"
        if columns is not None:
            names = str(columns[0]), str(columns[1])
    n = len(rows)
    batch_sizes, rates, momenta, schedules = given
    choices = Choices(
        tuple(sorted({min(m, n) for m in (1, 16, n)} if batch_sizes is None else set(batch_sizes))),
        NETWORK_RATES if rates is None else rates,
        momenta,
        ("constant", "cosine") if schedules is None else schedules,
    )
    choices.check(n)
    check_steps(steps)
    model = PlaneNetwork.of_rows(rows, targets, units, function, random_state)
    runs = []
    for m, rate, beta, schedule in itertools.product(*choices):
        constants: dict[str, Any] = dict(SCHEDULES[schedule](steps / -(-n // m)))
        descent = VectorDescent(
            eta0=rate,
            batch_size=m,
            optimizer=SGD(beta),
            seed=random_state,
            schedule=Schedule(schedule, **constants),
        )
        runs.append(model.record(descent, schedule, steps))
    return NetworkExploration(
        title=title,
        names=names,
        network=model.network,
        X=rows,
        y=targets,
        classes=classes,
        offset=model.offset,
        scale=model.scale,
        start=model.start,
        runs=tuple(runs),
        **choices._asdict(),
        steps=steps,
        view=_view(rows),
    )


def _hidden(hidden: Any) -> tuple[int, ...]:
    """The units of one or two hidden layers, as Python's own integers."""
    message = f"hidden must be one or two integers from 1 to {MOST_UNITS}, got {hidden!r}"
    if isinstance(hidden, (str, bytes)) or np.ndim(hidden) != 1 or not 1 <= len(hidden) <= 2:
        raise ValueError(message)
    units = [python_number(count) for count in hidden]
    if not all(type(count) is int and 1 <= count <= MOST_UNITS for count in units):
        raise ValueError(message)
    return tuple(units)


def _view(X: NDArray[np.floating]) -> View:
    """Ranges that contain the rows, with room around them."""
    low, high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
    room = np.maximum(0.12 * (high - low), 1e-6 * np.maximum(1.0, np.abs(high)))
    first, second = zip((low - room).tolist(), (high + room).tolist(), strict=True)
    return first, second
