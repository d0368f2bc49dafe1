"""Documentation that the estimators share: written once, and put into each docstring.

:func:`documented` completes the docstrings of a class, of its ``fit`` and of its ``partial_fit``:
parameters that their own docstrings do not describe get the texts below, in the order of the
signature and with its defaults. So ``help(SGDRegressor)`` is complete.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["ATTRIBUTES", "CALL", "PARAMETERS", "documented", "entries"]

_Class = TypeVar("_Class", bound=type)

PARAMETERS = {
    "penalty": """{"l2", "l1", "elasticnet", None}
        alpha/2 |w|^2; alpha |w|_1; or alpha ((1 - l1_ratio)/2 |w|^2 + l1_ratio |w|_1). L1 gives
        real zeros, see ``sparsify``. The intercept is never penalised.""",
    "alpha": """float
        Strength of the penalty; >= 0.""",
    "l1_ratio": """float
        Share of L1 in "elasticnet", in [0, 1].""",
    "fit_intercept": """bool
        Learn the intercept b; otherwise it stays 0.""",
    "max_iter": """int
        Largest number of epochs, that is, of passes over the rows.""",
    "tol": """float or None
        Stop after ``n_iter_no_change`` epochs whose loss is above the best one minus ``tol`` (or
        whose validation score is below the best plus ``tol``). Classes and outputs stop separately,
        those of a softmax together. With ``learning_rate="auto"`` and a training loss ``tol`` is
        relative to the loss. With momentum the weights of the best epoch are restored if the last
        are worse by more than ``tol``. None trains exactly ``max_iter`` epochs.""",
    "shuffle": """bool
        False means ``sampling="sequential"``.""",
    "verbose": """int
        Above 0, a line for each epoch on standard output, and a progress bar on standard error for
        a fit of more than two seconds.""",
    "epsilon": """float
        Parameter of the losses "huber", "epsilon_insensitive" and "squared_epsilon_insensitive", in
        the unit of y; >= 0.""",
    "n_jobs": """int or None
        Number of threads that share the work of each batch; -1 for all processors. The model does
        not depend on it, to the bit. None takes as many as are measured to pay for the size of a
        batch: one for several outputs, for ``batch_size=1`` and for sparse X. No thread lives
        between calls, so a process may fork after a fit.""",
    "random_state": """int, RandomState instance or None
        Seed of the order of samples and of the validation split. It is drawn once a run;
        ``partial_fit`` and ``fit(..., resume=True)`` go on with it.""",
    "learning_rate": """str, Schedule or callable
        With t the number of the update from 1 and e the epochs done, with their fraction:

        - "auto": a first rate from the data, which is lowered when the loss no longer falls, or
          towards 0 where the end of the run is known. docs/learning-rate.md explains the rule;
          ``result_`` says what was chosen;
        - "optimal": scikit-learn's, eta0 / (1 + eta0 alpha (t-1)) with Bottou's eta0;
        - "constant": eta0;
        - "adaptive": eta0, divided by 5 where training would stop, while it is above 1e-6;
        - "invscaling": eta0 / t^power_t;
        - "pa1", "pa2": passive-aggressive steps (Crammer et al., JMLR 7, 2006) of C = eta0, with
          ``batch_size=1`` and the loss "hinge" or, in regression, "epsilon_insensitive";
        - "step": eta0 decay^floor(e / step_epochs); "exponential": eta0 decay^e;
        - "linear", "polynomial" (of power 2), "cosine": from eta0 to 0 at e = total_epochs;
        - "one_cycle": up to eta0 at 30 % of total_epochs, then down;
        - a :class:`fastsgd.schedules.Schedule`, or any callable ``rate(t, e)``.""",
    "eta0": """float or None
        First learning rate, > 0. None: 0.01 for "constant", "invscaling" and "adaptive", 1.0 for
        "pa1" and "pa2", as in scikit-learn; otherwise it is found from the data.""",
    "power_t": """float
        Exponent of "invscaling".""",
    "early_stopping": """bool
        Hold out ``validation_fraction`` of the rows, in classification the same fraction of each
        class, watch the score on them and restore the best weights.""",
    "validation_fraction": """float
        Fraction of the rows to hold out, in (0, 1).""",
    "n_iter_no_change": """int
        Number of epochs without gain after which training stops.""",
    "warm_start": """bool
        ``fit`` starts from the weights that the model has, in a run of its own: count of updates,
        schedule, learning rates, momentum, averages and ``history_`` begin anew. Use
        ``fit(..., resume=True)`` to continue a run exactly.""",
    "average": """bool, int or float
        Average the weights over all updates (True), from that update on (an int), or over the last
        fraction of ``total_epochs`` (a float between 0 and 1) [1]_.""",
    "batch_size": """int
        Rows of an update; n or more is full-batch gradient descent.""",
    "momentum": """float
        beta in [0, 1): v = beta v + g, w = w - eta v. On CSR an update costs O(non-zeros) too.""",
    "nesterov": """bool
        Nesterov's form of momentum: w = w - eta (g + beta v).""",
    "optimizer": """{"sgd", "adagrad"} or Optimizer
        How a step moves a weight: "sgd", with ``momentum`` and ``nesterov``; "adagrad", a step size
        for each weight, which suits features that are rare or of different scales (Duchi, Hazan &
        Singer, JMLR 2011), exact and O(non-zeros) on CSR too; or an object of
        :mod:`fastsgd.optimizers`.""",
    "sampling": """{"reshuffle", "once", "replacement", "sequential", "block"}
        A new permutation every epoch; one permutation; independent draws; storage order; or pools
        of blocks of neighbouring rows from all over the data, each shuffled. Memory serves blocks
        faster than "reshuffle" if X is larger than the caches, at next to no cost in loss
        (docs/sampling.md).""",
    "decay": """float
        Factor of "step" and "exponential", in (0, 1].""",
    "step_epochs": """float
        Epochs between the drops of "step".""",
    "total_epochs": """float or None
        Length, in epochs, of "linear", "polynomial", "cosine", "one_cycle" and of tail averaging,
        and of "auto" if it is given. None is ``max_iter`` of the first call.""",
    "warmup_steps": """int
        Number of updates over which the rate rises linearly to its schedule.""",
    "clip_norm": """float or None
        Largest norm of a batch gradient; a longer one is scaled down to it.""",
    "linear_scaling": """bool
        Multiply an eta0 that is given by ``batch_size`` (Goyal et al., arXiv:1706.02677, 2017). One
        found from the data fits the batch already.""",
    "scoring": """str, callable or None
        Scorer of the validation set, as scikit-learn takes them; all outputs then stop together.
        None: accuracy, or R^2 in regression, of each output on its own.""",
    "on_divergence": """{"raise", "backoff"}
        "backoff": go back to the end of the last epoch, halve the rate of the outputs that
        diverged, and continue. "raise": a :class:`DivergenceError`.""",
    "certificate": """bool
        Make one more pass at the end of ``fit`` for ``certificate_``.""",
    "standardize": """bool
        Train on (x - mean) / standard deviation of each feature, computed in the step: dense X is
        read in place. Both are found at the first call from its training rows, by their weights;
        ``partial_fit`` and ``resume=True`` go on with them. A feature that does not vary is only
        centred. Penalty, history and certificate are of the standardised features; ``coef_``, the
        intercept and ``coef_init`` of X itself, so that the intercept is not 0 without
        ``fit_intercept`` either.""",
}
"""Type and description of each parameter of the constructors."""

ATTRIBUTES = {
    "n_iter_": """int
        Epochs of the last call, of the class or output that took longest.""",
    "t_": """int
        1 + number of updates since the run began.""",
    "loss_curve_": """list of float
        Per epoch: mean loss of the rows, each before its own step, plus the penalty at the end; the
        mean over classes or outputs.""",
    "history_": """dict of str to list
        Per epoch since the run began: "epoch", "loss" (which is ``loss_curve_``), "losses" (of each
        class or output), "validation_score", "learning_rate", "gradient_norm" (root mean square
        over a sample of the batches), "weight_norm", "full_gradient_norm", "gradient_noise" and
        "noise_scale" (with ``diagnostics=True``), "seconds", "rows_per_second".""",
    "result_": """Result
        The learning rate that the last call chose, from what, and what ended it. Printed, it says
        so in words.""",
    "certificate_": """Certificate
        Gradient norm and duality gap of each class or output, with ``certificate=True``.""",
    "n_features_in_": """int
        Number of features of the first call.""",
    "feature_names_in_": """ndarray of shape (n_features_in_,)
        Names of the features, if X had any that are strings.""",
}
"""Type and description of each attribute that all estimators have."""

CALL = {
    "X": """{ndarray, sparse matrix or array} of shape (n_samples, n_features)
        Training rows. float64, float32, float16 and uint8 in C order, and CSR of the first two, are
        read in place, the last two in float32 arithmetic. Another order is copied once, anything
        else is converted to float64 once.""",
    "y": """array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets.""",
    "coef_init": """array-like of the shape of ``coef_``, optional
        Weights to start from; zeros if not given.""",
    "intercept_init": """array-like of the shape of ``intercept_``, optional
        Intercepts to start from; zeros if not given.""",
    "sample_weight": """array-like of shape (n_samples,), optional
        Weights of the rows, >= 0; a row of weight zero is left out entirely.""",
    "X_val": """{ndarray, sparse matrix or array} of shape (n_rows, n_features), optional
        Rows of a validation set of the user's own. It is watched, and the best weights are
        restored, whatever ``early_stopping`` says.""",
    "y_val": """array-like of shape (n_rows,) or (n_rows, n_outputs), optional
        Targets of the validation set.""",
    "diagnostics": """bool
        Measure gradient and noise at the end of each epoch, on a sample of rows, into
        ``history_``; see :mod:`fastsgd.insight`.""",
    "resume": """bool, str or path-like
        Continue exactly where the last call ended, as ``partial_fit`` does: with its momentum,
        averages, counts, schedule and learning rates, for up to ``max_iter`` epochs more. Runs cut
        into such calls have the bits of a whole one; for "auto" with ``tol=None``, whose rate falls
        towards the end, only if ``total_epochs`` says what the end is. A path, of a checkpoint or
        of a folder of them, goes on with the fit that was saved there, on the same rows, until it
        has ``max_iter`` epochs in all; with an empty folder, or none, the fit begins.""",
    "checkpoint": """Checkpoint, optional
        Save the fit while it runs, as this :class:`fastsgd.Checkpoint` says.""",
    "**source": """SourceOptions, optional
        How X is read, if it is a path, a table with named columns or another source of rows:
        ``target``, ``features``, ``categorical``, ``text``, ``hash_bits``, ``missing`` and
        ``keep_names`` of :func:`fastsgd.data.open_source`; ``pool_bytes``, the memory for its rows
        (512 MB by default), and ``cache``, the folder that rows go through which are more than
        that (by default a temporary one; None: the source is read anew in every epoch).""",
}
"""Type and description of the arguments of ``fit`` and ``partial_fit``."""


def documented(
    cls: _Class,
    parameters: Mapping[str, str] = PARAMETERS,
    attributes: Mapping[str, str] = ATTRIBUTES,
    call: Mapping[str, str] = CALL,
) -> _Class:
    """Complete the docstrings of an estimator, of its ``fit`` and of its ``partial_fit``.

    Parameters
    ----------
    cls : type
        The estimator's class. Its own texts win over the shared ones.
    parameters, attributes, call : mapping of str to str
        The shared texts.

    Returns
    -------
    type
        The class itself.

    Raises
    ------
    KeyError
        If a parameter has no text anywhere.
    """
    if cls.__doc__:
        cls.__doc__ = _completed(cls.__doc__, cls, parameters)
        own, rest = entries(cls.__doc__.rstrip("\n"), "Attributes")
        texts = [*own.values(), *(_entry(name, attributes[name]) for name in attributes)]
        cls.__doc__ = rest.replace("@Attributes", "\n".join(texts)) + "\n"
    for name in ("fit", "partial_fit"):
        method = vars(cls).get(name)
        if method is not None and method.__doc__:
            method.__doc__ = _completed(method.__doc__, method, call)
    return cls


def _completed(doc: str, owner: Any, shared: Mapping[str, str]) -> str:
    """A docstring whose section Parameters has all parameters of the signature, in its order."""
    own, rest = entries(inspect.cleandoc(doc), "Parameters")
    texts = []
    for name, parameter in inspect.signature(owner).parameters.items():
        if name == "self":
            continue
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            texts.append(_entry(f"**{name}", shared[f"**{name}"]))
        elif name in own:
            texts.append(own[name])
        else:
            texts.append(_entry(name, shared[name], parameter.default))
    return rest.replace("@Parameters", "\n".join(texts)) + "\n"


def entries(doc: str, section: str) -> tuple[dict[str, str], str]:
    """Entries of a section by name, and the docstring with a mark in their place."""
    title = f"{section}\n{'-' * len(section)}\n"
    start = doc.index(title) + len(title)
    end = re.compile(r"\n\n(?=\S)|\Z").search(doc, start - 1)
    assert end is not None
    body = doc[start : end.start()]
    parts = re.split(r"(?m)^(?=\S)", body)[1:]
    found = {part.split(" : ")[0]: part.rstrip("\n") for part in parts}
    return found, doc[:start] + f"@{section}" + doc[end.start() :]


def _entry(name: str, text: str, default: Any = inspect.Parameter.empty) -> str:
    """An entry in numpydoc's form, with the default of the signature unless it is optional."""
    kind, description = text.split("\n", 1)
    if default is not inspect.Parameter.empty and not kind.endswith("optional"):
        value = f'"{default}"' if isinstance(default, str) else repr(default)
        kind += f", default={value}"
    return f"{name} : {kind}\n{re.sub(r'(?m)^ {4}', '', description)}"
