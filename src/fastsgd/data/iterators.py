"""Blocks from a user's code: callables, iterators, and objects with the verbs of XGBoost's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import scipy.sparse as sp

from .block import Block, block_of
from .source import Source

__all__ = ["CallableSource", "IteratorSource", "data_iter_factory"]


class UserBlocks(Source):
    """Blocks that must agree with the first in width, dtype and layout."""

    kind: str

    def _learn(self, first: Block) -> None:
        self._like = first.X[:0]
        self._has = first.y is not None, first.sample_weight is not None
        self.n_features = int(first.X.shape[1])

    def _checked(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Blocks that have rows."""
        for number, block in enumerate(blocks):
            self._check(block, number)
            if len(block):
                yield block

    def _check(self, block: Block, number: int) -> None:
        """Refuse a block unlike the first."""
        if block.X.shape[1] != self.n_features:
            raise ValueError(
                f"block {number} has {block.X.shape[1]} columns, but block 0 {self.n_features}"
            )
        if (layout(block.X), block.X.dtype) != (layout(self._like), self._like.dtype):
            raise ValueError(
                f"block {number} is {layout(block.X)} of {block.X.dtype}, but block 0 "
                f"{layout(self._like)} of {self._like.dtype}: give all blocks of one kind"
            )
        for name, first, now in zip(
            ("y", "sample_weight"),
            self._has,
            (block.y is not None, block.sample_weight is not None),
            strict=True,
        ):
            if first != now:
                raise ValueError(
                    f"block {number} has {'no' if first else 'a'} {name}, unlike block 0"
                )

    def fingerprint(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "n_features": self.n_features,
            "layout": layout(self._like),
            "dtype": str(self._like.dtype),
        }


def layout(X: Any) -> str:
    """Whether X is dense or CSR."""
    return "CSR" if sp.issparse(X) else "dense"


def parsed(blocks: Iterable[Any]) -> Iterator[Block]:
    """Blocks of a user: X, (X, y) or (X, y, sample_weight)."""
    for number, item in enumerate(blocks):
        parts = item if isinstance(item, tuple) else (item,)
        if not 1 <= len(parts) <= 3:
            raise ValueError(
                f"block {number} must be (X, y) or (X, y, sample_weight), got {len(parts)} items"
            )
        X, y, weight = (*parts, None, None)[:3]
        yield block_of(X, y, weight, f"block {number}")


class CallableSource(UserBlocks):
    """Blocks of a callable that returns a fresh iterator of them.

    Parameters
    ----------
    factory : callable
        Takes nothing and returns an iterable of (X, y) or (X, y, sample_weight).
    kind : str
    """

    def __init__(self, factory: Callable[[], Iterable[Any]], kind: str = "callable") -> None:
        self.factory, self.kind = factory, kind
        self._learn(next(self._parsed()))

    def _parsed(self) -> Iterator[Block]:
        blocks = self.factory()
        if not isinstance(blocks, Iterable):
            raise TypeError(f"X() must return an iterator of blocks, got {type(blocks).__name__}")
        found = parsed(blocks)
        first = next(found, None)
        if first is None:
            raise ValueError("X() returned an iterator without blocks: it must return a fresh one")
        return itertools.chain([first], found)

    def blocks(self) -> Iterator[Block]:
        return self._checked(self._parsed())


class IteratorSource(UserBlocks):
    """Blocks of an iterator, which can be read once.

    Parameters
    ----------
    iterator : iterator of (X, y) or (X, y, sample_weight)
    """

    kind = "iterator"
    repeatable = False

    def __init__(self, iterator: Iterator[Any]) -> None:
        found = parsed(iterator)
        first = next(found, None)
        if first is None:
            raise ValueError("X is an iterator without blocks")
        self._learn(first)
        self._blocks: Iterator[Block] | None = itertools.chain([first], found)

    def blocks(self) -> Iterator[Block]:
        blocks, self._blocks = self._blocks, None
        if blocks is None:
            raise ValueError("X is an iterator, which can be read only once, and has been")
        return self._checked(blocks)


def data_iter_factory(data_iter: Any) -> Callable[[], Iterator[Any]]:
    """A callable for :class:`CallableSource` of an object with ``reset()`` and ``next(input)``."""

    def blocks() -> Iterator[Any]:
        data_iter.reset()
        given: list[Any] = []

        def input_data(
            *,
            data: Any,
            label: Any = None,
            weight: Any = None,
            feature_names: Any = None,
            feature_types: Any = None,
            **others: Any,
        ) -> None:
            for name, value in others.items():
                if value is not None:
                    raise ValueError(
                        f"X.next gave input_data the argument {name}, which is not used here:"
                        " data, label and weight are"
                    )
            given.append((data, label, weight))

        while data_iter.next(input_data):
            if len(given) != 1:
                raise ValueError(f"X.next must call input_data once, and did {len(given)} times")
            yield given.pop()

    return blocks
