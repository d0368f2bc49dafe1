"""Who is told of the fits of a search: the user, by lines, and scikit-learn's callbacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["Progress"]


class Progress:
    """Tells of each candidate on each split, in the words of scikit-learn's searches.

    Parameters
    ----------
    search : BaseSearchCV
        Whose ``verbose`` says how much.
    candidates : sequence of dict
    n_splits : int
    context : CallbackContext or None
        Of scikit-learn's callbacks, from 1.9 on.
    """

    def __init__(
        self, search: Any, candidates: Sequence[dict[str, Any]], n_splits: int, context: Any
    ) -> None:
        self.search, self.candidates, self.n_splits = search, candidates, n_splits
        count = len(candidates) * n_splits
        if search.verbose > 0:
            print(
                f"Fitting {n_splits} folds for each of {len(candidates)} candidates, totalling "
                f"{count} fits"
            )
        self._contexts: list[Any] | None = None
        if context is not None:
            name = "candidate-split-evaluation"
            self._contexts = [context.subcontext(task_name=name, task_id=i) for i in range(count)]

    def context(self, c: int, f: int) -> dict[str, Any]:
        """What scikit-learn's evaluation of one fit is given of callbacks."""
        if self._contexts is None:
            return {}
        return {"caller": self.search, "callback_ctx": self._contexts[c * self.n_splits + f]}

    def tell(self, c: int, f: int, result: dict[str, Any]) -> None:
        """Of a fit of a shared pass, once it is over."""
        if self._contexts is not None:
            context = self._contexts[c * self.n_splits + f]
            context.call_on_fit_task_begin(estimator=self.search)
            context.call_on_fit_task_end(estimator=self.search)
        if self.search.verbose > 1:
            print(self._line(c, f, result))

    def _line(self, c: int, f: int, result: dict[str, Any]) -> str:
        verbose, of = self.search.verbose, self.candidates[c]
        begin = "[CV"
        if verbose > 2:
            begin += f" {f + 1}/{self.n_splits}"
        if verbose > 9:
            begin += f"; {c + 1}/{len(self.candidates)}"
        end = ", ".join(f"{name}={of[name]}" for name in sorted(of)) + (";" if of else "")
        if verbose > 2:
            end += _scores(result)
        end += f" total time={result['fit_time'] + result['score_time']:6.1f}s"
        begin += "] END "
        return begin + "." * max(0, 80 - len(begin) - len(end)) + end


def _scores(result: dict[str, Any]) -> str:
    test, train = result["test_scores"], result.get("train_scores")

    def numbers(test: float, train: float | None) -> str:
        return f"(train={train:.3f}, test={test:.3f})" if train is not None else f"{test:.3f}"

    if not isinstance(test, dict):
        return f", score={numbers(test, train)}"
    of_train = {} if train is None else train
    return "".join(f" {name}: {numbers(test[name], of_train.get(name))}" for name in sorted(test))
