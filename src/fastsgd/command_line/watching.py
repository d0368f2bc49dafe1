"""What is said while a model is trained: the loss so far, at powers of two rows and passes."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

__all__ = ["Watch"]

HEAD = f"{'pass':>6}{'rows':>14}{'loss since':>13}{'loss so far':>13}{'seconds':>10}{'rows/s':>13}"


def _loss(value: float) -> str:
    return f"{value:.6f}" if 1e-3 <= abs(value) < 1e4 else f"{value:.5g}"


class Watch:
    """Told of the rows and epochs of a fit.

    In the first pass a line is due once twice as many rows were trained on as at the last one:
    their average loss, each row's before its step, since that line and since the beginning, as
    Vowpal Wabbit prints them. After it there is a line at passes that are powers of two, at each
    pass of more than a second, and at the last one. On a terminal a bar shows the pass under way.

    Parameters
    ----------
    prints : bool
        Whether lines are printed.

    Attributes
    ----------
    lines : list of dict
        What they say.
    rows : int
        Rows of a pass.
    """

    def __init__(self, *, prints: bool) -> None:
        self.prints = prints
        self.lines: list[dict[str, Any]] = []
        self.rows = self.epochs = 0
        self.bar: tqdm[Any] | None = None
        self.start = time.perf_counter()
        self.due, self.before, self.first = 1, (0.0, 0.0), True
        self.passes, self.begun, self.at = 0, 0, 0.0
        self.loss: float | None = None  # of the pass under way
        self.last: dict[str, Any] | None = None  # line, if it was left out

    def begin(self, progress: Any, rows: int, epochs: int) -> None:
        """The rows of a pass, and the most passes there are."""
        self.rows, self.epochs = rows, epochs
        self.start = time.perf_counter()
        self.passes = len(progress.history)
        self.first, self.begun = self.passes == 0, self.passes * rows
        if self.prints:
            self._print(HEAD)
        if sys.stderr.isatty():
            self.bar = tqdm(total=rows, unit=" rows", unit_scale=True, leave=False)

    def on_rows(self, progress: Any) -> None:
        """Called within an epoch, and at its end."""
        state = progress.state
        ended = state.epoch > self.passes
        row = self.rows if ended else int(state.row)
        counts = state.row_count
        total, count = float((state.loss_sum / counts.clip(1.0)).mean()), float(counts.mean())
        self.loss = total
        if self.bar is not None:
            self.bar.set_description(f"pass {self.passes + 1}", refresh=False)
            self.bar.update(row - self.bar.n)
        if not self.first or row < self.due or count == 0.0 or ended:
            return
        self._line(row, total, count)
        while self.due <= row:
            self.due *= 2

    def _line(self, row: int, average: float, count: float) -> None:
        """A line within the first pass."""
        before, counted = self.before
        new = count - counted
        since = (average * count - before) / new if new > 0.0 else average
        self.before = average * count, count
        self._add(1, row, since, average)

    def on_epoch(self, progress: Any) -> None:
        """Called after an epoch."""
        loss = progress.history.columns["loss"][-1] if self.loss is None else self.loss
        if self.first and self.loss is not None:
            self._line(self.rows, loss, float(progress.state.row_count.mean()))
        else:
            done = self.passes + 1
            self._add(done, self.rows * done, loss, loss)
        self.first, self.loss = False, None
        self.passes += 1
        if self.bar is not None:
            self.bar.reset(total=self.rows)

    def _add(self, number_of_pass: int, rows: int, since: float, average: float) -> None:
        seconds = time.perf_counter() - self.start
        trained = rows if number_of_pass == 1 else self.rows * number_of_pass
        rate = (trained - self.begun) / max(seconds, 1e-9)
        line = {"pass": number_of_pass, "rows": rows, "loss_since": since, "loss": average}
        line |= {"seconds": seconds, "rows_per_second": rate}
        short = seconds - self.at < 1.0 and number_of_pass > 1
        self.at = seconds
        if short and number_of_pass & (number_of_pass - 1) and number_of_pass < self.epochs:
            self.last = line
        else:
            self._tell(line)

    def _tell(self, line: dict[str, Any]) -> None:
        self.last = None
        self.lines.append(line)
        if self.prints:
            cells = f"{_loss(line['loss_since']):>13}{_loss(line['loss']):>13}"
            work = f"{line['seconds']:>10.2f}{line['rows_per_second']:>13,.0f}"
            self._print(f"{line['pass']:>6}{line['rows']:>14,}{cells}{work}")

    def _print(self, text: str) -> None:
        if self.bar is None:
            print(text, flush=True)
        else:
            tqdm.write(text, file=sys.stdout)

    def close(self) -> None:
        """Say what was left out of the last pass, and take the bar away."""
        if self.last is not None:
            self._tell(self.last)
        if self.bar is not None:
            self.bar.close()
            self.bar = None
