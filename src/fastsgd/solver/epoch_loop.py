"""The loop over epochs, whatever is trained: linear lanes, a network."""

from __future__ import annotations

from typing import Any, Protocol

from ..exceptions import DivergenceError
from .epochs import check_unchanged
from .progress import Progress
from .standing import Standing
from .stopping import Stopping

__all__ = ["Verbs", "train"]


class Verbs(Protocol):
    """What the loop asks of a fit under way."""

    @property
    def backoffs(self) -> int:
        """How often it went back after a divergence."""

    def standing(self) -> Standing:
        """Where the fit stands: within an epoch, or at its end, before it decides what follows."""

    def restore(self, found: Standing) -> int:
        """Stand where another fit stood; the epochs it had done."""

    def plain_epochs(self, most: int) -> int:
        """Train epochs after which there is nothing to decide, at most so many; how many."""

    def epoch(self) -> float:
        """Train to the end of the epoch; the seconds that took."""

    def measure(self) -> None:
        """The model and its losses at the end of the epoch."""

    def check(self) -> None:
        """Raise a DivergenceError if they are not finite."""

    def record(self, seconds: float) -> None:
        """Publish the epoch's model and add the epoch to the history."""

    def decide(self, *, last: bool = False) -> bool:
        """Whether everything has stopped."""

    def recover(self, error: DivergenceError) -> None:
        """Go back to the last good state, or raise."""

    def restore_best(self) -> None:
        """Make the best weights those of the model, where that was asked for."""

    def restore_rates(self) -> None:
        """Make rates that were lowered for this call alone what they were."""


def train(
    training: Verbs, X: Any, structure: int | None, stopping: Stopping, progress: Progress
) -> None:
    """Epochs until everything has stopped or ``max_epochs`` are done.

    ``structure`` is the fingerprint of the index arrays of CSR X before the first of them.
    """
    done, retries, over, most = 0, 0, False, stopping.max_epochs
    progress.standing = training.standing
    try:
        if progress.resumed is not None:
            done, retries = training.restore(progress.resumed), training.backoffs
            if progress.resumed.get("within") is None:
                over = training.decide(last=done >= most)
            else:
                most = max(most, done + 1)  # an epoch that was begun is ended
        while not over and done < most:
            if progress.before_epoch is not None and retries == training.backoffs:
                progress.before_epoch()
            retries = training.backoffs
            try:
                done += training.plain_epochs(most - done)
                if done == most:
                    break
                seconds = training.epoch()
                training.measure()
                training.check()
            except DivergenceError as error:
                check_unchanged(X, structure)
                training.recover(error)
                continue
            done += 1
            training.record(seconds)
            if progress.on_epoch is not None and progress.on_epoch(progress):
                progress.ended = True
                break
            if training.decide(last=done == most):
                break
        check_unchanged(X, structure)
        training.restore_best()
    finally:
        progress.standing = None  # or the two would hold each other, and the rows
        training.restore_rates()
