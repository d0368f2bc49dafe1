"""Who is told of an epoch: the user, a progress bar, scikit-learn's callbacks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ..solver import Progress
from ..solver.epoch_lines import EpochLines

try:  # scikit-learn >= 1.9
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """What scikit-learn has no callbacks for."""


__all__ = ["CallbackSupportMixin", "has_callbacks", "listening"]


class _Callbacks:
    """scikit-learn's callbacks around a fit, and around each epoch of it."""

    def __init__(self, estimator: Any, task: Any, epochs: int) -> None:
        X, y, weight = task.given
        self.estimator, self.task = estimator, task
        metadata = {} if weight is None else {"sample_weight": weight}
        self.arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.context = estimator._init_callback_context(max_subtasks=epochs)
        self.context.call_on_fit_task_begin(**self.arguments)
        self.wanted = bool(getattr(estimator, "_skl_callbacks", ()))
        self.epoch: Any = None

    def before_epoch(self) -> None:
        self.epoch = self.context.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(**self.arguments)

    def after_epoch(self, progress: Progress) -> bool:
        def model() -> dict[str, Any]:
            found: dict[str, Any] = self.estimator._attributes_of(progress, self.task)
            return found

        return bool(
            self.epoch.call_on_fit_task_end(reconstruction_attributes=model, **self.arguments)
        )

    def end(self) -> None:
        self.context.call_on_fit_task_end(reconstruction_attributes={}, **self.arguments)


def has_callbacks(estimator: Any) -> bool:
    """Whether there are callbacks, or a meta-estimator that counts its fits."""
    return bool(vars(estimator).get("_skl_callbacks")) or hasattr(estimator, "_parent_callback_ctx")


@contextlib.contextmanager
def listening(
    estimator: Any,
    task: Any,
    epochs: int,
    progress: Progress,
    saving: Callable[[Progress], None] | None = None,
) -> Iterator[Callable[[], None]]:
    """Tell the listeners of every epoch of ``progress``; yields what to call after the last one.

    With ``verbose``, a line an epoch on standard output, and a progress bar on standard error if it
    takes longer, with rows a second and the time that is left. ``saving`` is told after the others.
    """
    callbacks = _Callbacks(estimator, task, epochs) if has_callbacks(estimator) else None
    listeners: list[Callable[[Progress], bool | None]] = []
    if callbacks is not None and callbacks.wanted:
        listeners.append(callbacks.after_epoch)
        progress.before_epoch = callbacks.before_epoch
    stream = getattr(task, "stream", None)
    rows = task.X.shape[0] if stream is None else stream.rows
    watch = vars(estimator).get("_watch")  # of the command line
    if watch is not None:
        watch.begin(progress, rows, epochs)
        progress.on_rows = watch.on_rows
        listeners.append(watch.on_epoch)
    lines = EpochLines(epochs, rows) if estimator.verbose else None
    if lines is not None:
        if watch is None:
            progress.on_rows = lines.on_rows
        listeners.append(lambda progress: lines.tell(progress.history.line()))
    if saving is not None:
        listeners.append(saving)
    if listeners:
        progress.on_epoch = lambda progress: sum(bool(tell(progress)) for tell in listeners) > 0
    try:
        yield (lambda: None) if callbacks is None else callbacks.end
    finally:
        if lines is not None:
            lines.close()
