"""What the estimators of a cluster have in common: parameters, fits on shards, predictions."""

from __future__ import annotations

import contextlib
import copy
import inspect
import os
import warnings
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ..data.first_pass import bytes_of
from ..distributed.full_batch import FINISHES, finish_fit
from ..distributed.stream import ShardStream
from ..estimators.rows import POOL_BYTES, Rows
from ..estimators.validated import check_parameter
from .extras import is_collection, library
from .files import engine_of, rows_of_fit
from .partitions import array_of
from .predictions import by_chunks, score_of

__all__ = ["OnCluster", "with_parameters"]

OWN: dict[str, Any] = {
    "client": None,
    "shards": None,
    "local_epochs": 1.0,
    "finish": None,
    "finish_max_iter": 20,
}
"""Parameters beside those of the local estimator, and their defaults."""

CONSTRAINTS: dict[str, Any] = {
    "client": "no_validation",
    "shards": [Interval(Integral, 1, None, closed="left"), None],
    "local_epochs": [Interval(Real, 0, 1, closed="right")],
    "finish": [StrOptions({*FINISHES}), None],
    "finish_max_iter": [Interval(Integral, 1, None, closed="left")],
}


def with_parameters(cls: Any) -> Any:
    """Give a class the parameters of its local estimator, and those of a cluster behind them."""
    signature = inspect.signature(cls.local.__init__)
    named = list(signature.parameters.values())
    for name, default in OWN.items():
        named.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default))
    cls.__init__.__signature__ = signature.replace(parameters=named)
    cls._parameter_constraints = {**cls.local._parameter_constraints, **CONSTRAINTS}
    return cls


class OnCluster(BaseEstimator):
    """Trains a local estimator on shards of Dask, and is what that has become."""

    local: ClassVar[Any]
    client: Any
    shards: int | None
    local_epochs: float
    finish: str | None
    finish_max_iter: int
    n_jobs: int | None
    standardize: bool

    def _keep(self, *values: Any, **parameters: Any) -> None:
        """Make the arguments of the constructor attributes, as scikit-learn wants them."""
        signature: inspect.Signature = type(self).__init__.__signature__  # type: ignore[attr-defined]
        bound = signature.bind(self, *values, **parameters)
        bound.apply_defaults()
        for name, value in list(bound.arguments.items())[1:]:
            setattr(self, name, value)

    def _client(self) -> Any:
        """The client of the fit.

        Raises
        ------
        ValueError
            If there is none.
        """
        if self.client is not None:
            return self.client
        try:
            return library("distributed").default_client()
        except ValueError:
            raise ValueError(
                "there is no client of Dask: start one by distributed.Client(), or give client="
            ) from None

    def to_local(self) -> Any:
        """Convert to the estimator of one machine, with the same parameters.

        Returns
        -------
        fastsgd.SGDClassifier or fastsgd.SGDRegressor
            A copy; fitted, if this one is.
        """
        names = self.local._get_param_names()
        model = self.local(**{name: getattr(self, name) for name in names})
        vars(model).update(copy.deepcopy(self._fitted()))
        return model

    def _fitted(self) -> dict[str, Any]:
        """What a fit has left behind."""
        names = {*self.local._get_param_names(), *OWN}
        return {name: value for name, value in vars(self).items() if name not in names}

    def _as_local(self) -> Any:
        """The estimator of one machine, which shares what this one has been fitted to."""
        model = self.local(**{name: getattr(self, name) for name in self.local._get_param_names()})
        vars(model).update(self._fitted())
        return model

    def _take(self, model: Any) -> None:
        """Be fitted as a local estimator is."""
        parameters = set(self.local._get_param_names())
        for name in self._fitted():
            del vars(self)[name]
        found = vars(model).items()
        vars(self).update({name: value for name, value in found if name not in parameters})

    def _train(
        self, method: str, X: Any, y: Any, sample_weight: Any, source: Any, **arguments: Any
    ) -> Self:
        """Call a method of the local estimator with the rows on shards."""
        model = self._trained_as()
        for name in ("X_val", "y_val"):
            if is_collection(arguments.get(name)):
                arguments[name] = _in_memory(self._client(), arguments[name], name)
        with self._on_shards(X, y, sample_weight, source) as rows:
            stream: Any = rows.stream
            stream.finish = self.finish is not None and method == "fit"
            try:
                with _quietly(stream.finish):
                    getattr(model, method)(rows, **arguments)
                vars(model).pop("finish_", None)  # of an earlier fit
                if stream.finish:
                    finish_fit(model, stream, int(self.finish_max_iter))
            except KeyboardInterrupt:
                self._take(model)
                raise
        self._take(model)
        return self

    def _trained_as(self) -> Any:
        """The estimator of one machine that is trained."""
        model = self._as_local()
        if model.n_jobs is None:
            model.n_jobs = 1  # workers have their threads
        return model

    @contextlib.contextmanager
    def _on_shards(self, X: Any, y: Any, sample_weight: Any, source: Any) -> Iterator[Rows]:
        """A sample of the rows, with all of them on shards until the end."""
        if isinstance(X, Rows):  # of a search, which has opened them
            yield X
            return
        for name in [name for name in OWN if name != "client"]:
            check_parameter(type(self), name, getattr(self, name))  # type: ignore[arg-type]
        client = self._client()
        known = vars(self).get("columns_")
        partitions = rows_of_fit(X, y, sample_weight, dict(source), known)
        engine = engine_of(client, partitions, self.shards)
        try:
            stream: Any = ShardStream(engine, self.local_epochs, moments=self.standardize)
            sample = stream.sample()
            named = partitions.named(sample.X)
            of = partitions.source, stream.hashed_names()
            yield Rows(named, sample.y, sample.sample_weight, stream, *of)
        finally:
            engine.close()

    def _predicted(self, name: str, X: Any) -> Any:
        """A method of the local estimator; of rows of Dask lazily."""
        check_is_fitted(self)
        model = self._as_local()
        if not is_collection(X):
            return getattr(model, name)(X)
        vars(model).pop("_continuation", None)
        return by_chunks(model, name, X)

    def _scored(self, X: Any, y: Any, sample_weight: Any) -> float:
        check_is_fitted(self)
        model = self._as_local()
        if not is_collection(X):
            return float(model.score(X, y, sample_weight))
        vars(model).pop("_continuation", None)
        return score_of(model, X, y, sample_weight, self.client)

    def save(self, path: str | os.PathLike[str], *, state: bool = True) -> None:
        """Save the fitted model to a file, from which :func:`fastsgd.load` makes the local one.

        Parameters
        ----------
        path : str or path-like
            Where to write; a file that is there is replaced.
        state : bool, default=True
            Save the training state too.

        Raises
        ------
        ValueError
            If the estimator is not fitted, or has a parameter that no file holds.
        ImportError
            If the package safetensors is not installed.
        """
        check_is_fitted(self)
        self._as_local().save(path, state=state)

    def to_sklearn(self) -> Any:
        """Convert the fitted model to scikit-learn's own estimator: see the local one.

        Returns
        -------
        estimator
            Fitted, of scikit-learn.

        Raises
        ------
        ValueError
            If the estimator is not fitted, or scikit-learn has none that predicts the same.
        """
        check_is_fitted(self)
        return self._as_local().to_sklearn()

    def __sklearn_clone__(self) -> Any:
        """As scikit-learn has it, with the same client."""
        without = copy.copy(self)
        without.client = None
        clone = BaseEstimator.__sklearn_clone__(without)
        clone.client = self.client
        return clone

    def __getstate__(self) -> Any:
        """As scikit-learn has it, without the client, which belongs to its process."""
        state = super().__getstate__()
        return {**state, "client": None}


@contextlib.contextmanager
def _quietly(finishes: bool) -> Iterator[None]:
    """Without the warning that SGD is not near the minimum, where something else goes on."""
    with warnings.catch_warnings():
        if finishes:
            warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _in_memory(client: Any, values: Any, name: str) -> Any:
    """Validation rows of Dask as an array of this process.

    Raises
    ------
    ValueError
        If they are more than ``POOL_BYTES``.
    """
    array = array_of(values, name) if not hasattr(values, "columns") else values
    size = getattr(array, "nbytes", 0)
    if size == size and size > POOL_BYTES:
        raise ValueError(f"{name} must fit into {POOL_BYTES} bytes of memory, and has {size}")
    found = client.gather(client.compute(array))
    if hasattr(found, "nbytes") and bytes_of(found) > POOL_BYTES:
        raise ValueError(f"{name} must fit into {POOL_BYTES} bytes of memory")
    return found
