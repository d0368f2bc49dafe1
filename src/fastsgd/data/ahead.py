"""An iterator that runs in a thread, ahead of whoever asks for its items.

Ctrl-C may come between any two steps of Python, also within the locks of ``threading`` and of
``queue.Queue``, which then stay locked: a thread that waits for one waits for ever. What threads of
this package share are therefore lists and ``SimpleQueue``, whose calls are one step.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, TypeVar

from ..inputs.threads import next_result
from .block import Block
from .source import Source

__all__ = ["ahead", "at_the_end", "blocks_ahead"]

_Item = TypeVar("_Item")


def ahead(items: Iterator[_Item], count: int = 1) -> Iterator[_Item]:
    """The items of an iterator that runs in a thread, at most so many ahead.

    An exception of the iterator comes in the place of the item. If whoever asks ends early, the
    thread ends with the item that it is at.
    """
    found: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
    room: SimpleQueue[None] = SimpleQueue()
    stopped: list[bool] = []
    for _ in range(count):
        room.put(None)

    def read() -> None:
        try:
            for item in items:
                room.get()
                if stopped:
                    return
                found.put((item, None))
            found.put((None, StopIteration()))
        except BaseException as error:  # handed to whoever asks for the item
            found.put((None, error))

    thread = threading.Thread(target=read, name="fastsgd-reader", daemon=True)
    try:
        thread.start()
        while True:
            item, error = next_result(found, thread)
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            room.put(None)
            yield item
    finally:
        stopped.append(True)
        room.put(None)
        if thread.is_alive():
            thread.join()


def at_the_end(stack: contextlib.ExitStack, function: Callable[[], Any]) -> None:
    """Have a stack call a function at its end: twice, since Ctrl-C may end one of the calls."""
    stack.callback(function)
    stack.callback(function)


def blocks_ahead(source: Source) -> Iterator[Block]:
    """The blocks of a source, read ahead where no code of the user makes them."""
    return source.blocks() if source.columns is None else ahead(source.blocks())
