"""What a thread hands over, and what happens if it ends without it."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TypeVar

__all__ = ["next_result"]

Result = TypeVar("Result")

WAIT = 1.0
"""Seconds after which it is asked whether the thread is still there."""


def next_result(results: SimpleQueue[Result], thread: threading.Thread) -> Result:
    """What a thread puts next; waits for it, and may be interrupted.

    A thread hands over its exceptions too. Where there is no memory for that it just ends.

    Raises
    ------
    MemoryError
        If the thread has ended without a result.
    """
    while True:
        try:
            return results.get(timeout=WAIT)
        except Empty:
            if not thread.is_alive() and results.empty():
                raise MemoryError(f"there was no memory for the thread {thread.name!r}") from None
