"""An iterator that runs in a thread, ahead of whoever asks for its items."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

from .block import Block
from .source import Source

__all__ = ["ahead", "blocks_ahead"]

_Item = TypeVar("_Item")

WAIT = 0.05
"""Seconds after which a thread that waits looks whether it is still wanted."""


def ahead(items: Iterator[_Item], count: int = 1) -> Iterator[_Item]:
    """The items of an iterator that runs in a thread, at most so many ahead.

    An exception of the iterator comes in the place of the item. If whoever asks ends early, the
    thread ends with the item that it is at.
    """
    found: queue.Queue[Any] = queue.Queue(count)
    stopped: list[bool] = []  # or not: a call, as of an Event, could be ended by Ctrl-C instead

    def put(one: Any) -> bool:
        while not stopped:
            try:
                found.put(one, timeout=WAIT)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((None, StopIteration()))
        except BaseException as error:  # handed to whoever asks for the item
            put((None, error))

    thread = threading.Thread(target=read, name="fastsgd-reader", daemon=True)
    try:
        thread.start()
        while True:
            item, error = found.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stopped.append(True)
        if thread.is_alive():
            thread.join()


def blocks_ahead(source: Source) -> Iterator[Block]:
    """The blocks of a source, read ahead where no code of the user makes them."""
    return source.blocks() if source.columns is None else ahead(source.blocks())
