"""Parameters of a user's own model, an array or a tuple, list or dict of arrays, as one vector."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Structure"]

Array = NDArray[Any]


@dataclass(frozen=True)
class _Leaf:
    """An array of a shape."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Node:
    """A tuple, list or dict of parts; ``keys`` are those of a dict."""

    kind: type
    keys: tuple[Any, ...]
    parts: tuple[_Node | _Leaf, ...]


def _is_array_like(value: Any) -> bool:
    """Whether a value is one array: numbers, also in nested lists, but no container of arrays."""
    if isinstance(value, dict):
        return False
    if isinstance(value, (list, tuple)):
        parts = any(_is_array(part) or not _is_array_like(part) for part in value)
        return not parts and not hasattr(value, "_fields")
    return True


def _is_array(value: Any) -> bool:
    """Whether a value is an array, NumPy's or another library's, and not a number."""
    return hasattr(value, "__array__") and not isinstance(value, np.generic)


def _node_of(value: Any, leaves: list[Array], name: str) -> _Node | _Leaf:
    """The structure of a value, whose arrays are added to ``leaves``."""
    if _is_array_like(value):
        leaves.append(numbers(name, value))
        return _Leaf(leaves[-1].shape)
    keys = tuple(value) if isinstance(value, dict) else tuple(range(len(value)))
    parts = tuple(_node_of(value[key], leaves, f"{name}[{key!r}]") for key in keys)
    return _Node(dict if isinstance(value, dict) else type(value), keys, parts)


def numbers(name: str, value: Any) -> Array:
    """An array of real numbers.

    Parameters
    ----------
    name : str
        What the argument is called.
    value : array-like
        Its value.

    Returns
    -------
    ndarray
        The value itself if it is an array.

    Raises
    ------
    ValueError
        If it is not made of real numbers.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be an array of real numbers: {error}") from error
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise ValueError(f"{name} must be an array of real numbers, got dtype {array.dtype}")
    return array


class Structure:
    """The shapes of parameters, and where each array lies in a vector of all of them.

    Parameters
    ----------
    name : str
        What the argument is called in messages.
    tree : array-like, or tuple, list or dict of such, nested or not
        Parameters.

    Attributes
    ----------
    dtype : dtype
        float32 if all arrays are, else float64.
    shapes : tuple of tuple of int
        Shapes of the arrays, in the order of the vector.
    spans : tuple of slice
        Where they are in it.
    size : int
        Number of parameters.

    Raises
    ------
    ValueError
        If there are no parameters, or they are not finite real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.minimization.structures import Structure
    >>> structure = Structure("theta0", {"W": np.zeros((3, 2)), "b": np.zeros(2)})
    >>> structure.size, structure.views(np.arange(8.0))["b"]
    (8, array([6., 7.]))
    """

    def __init__(self, name: str, tree: Any) -> None:
        leaves: list[Array] = []
        self._root = _node_of(tree, leaves, name)
        dtypes = {leaf.dtype for leaf in leaves}
        self.dtype = np.dtype(np.float32 if dtypes == {np.dtype(np.float32)} else np.float64)
        self.shapes = tuple(leaf.shape for leaf in leaves)
        stops = np.cumsum([0, *(leaf.size for leaf in leaves)]).tolist()
        self.spans = tuple(slice(*pair) for pair in itertools.pairwise(stops))
        self.size = stops[-1]
        if self.size == 0:
            raise ValueError(f"{name} must have one parameter or more, got shapes {self.shapes}")

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Structure)
        return same and self._root == other._root  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]

    @property
    def is_array(self) -> bool:
        """Whether the parameters are one array."""
        return isinstance(self._root, _Leaf)

    def leaves(self, name: str, tree: Any) -> list[Any]:
        """The arrays of a value of this structure, in the order of the vector.

        Parameters
        ----------
        name : str
            What the argument is called.
        tree : object
            Its value.

        Returns
        -------
        list
            What stands where the arrays are.

        Raises
        ------
        ValueError
            If it is made of other parts.
        """
        return list(_walk(self._root, tree, name))

    def vector(self, name: str, tree: Any, *, broadcast: bool = False) -> Array:
        """A new vector with the numbers of a value of this structure.

        Parameters
        ----------
        name : str
            What the argument is called.
        tree : object
            Its value.
        broadcast : bool, default=False
            Whether its arrays may be smaller, as NumPy broadcasts them.

        Returns
        -------
        ndarray of shape (size,)
            The vector.

        Raises
        ------
        ValueError
            If it is of another structure or shape, or not finite.
        """
        out = np.empty(self.size, dtype=self.dtype)
        leaves = self.leaves(name, tree)
        for leaf, span, shape in zip(leaves, self.spans, self.shapes, strict=True):
            array = numbers(name, leaf)
            try:
                fits = np.broadcast_shapes(array.shape, shape) == shape
            except ValueError:
                fits = False
            if not (fits if broadcast else array.shape == shape):
                raise ValueError(f"{name} must be of shape {shape}, got {array.shape}")
            with np.errstate(over="ignore"):
                out[span].reshape(shape)[...] = array
        if not np.isfinite(out).all():
            raise ValueError(f"{name} must be finite in {self.dtype}")
        return out

    def views(self, vector: Array, *, writeable: bool = True) -> Any:
        """The parts of a vector, in the structure.

        Parameters
        ----------
        vector : ndarray of shape (size,)
            What :meth:`vector` made, or another of its kind.
        writeable : bool, default=True
            Whether the views may be written to.

        Returns
        -------
        object
            Views.
        """
        parts = []
        for span, shape in zip(self.spans, self.shapes, strict=True):
            part = vector[span].reshape(shape)
            part.flags.writeable = writeable
            parts.append(part)
        return _build(self._root, iter(parts))

    def rows(self, name: str, tree: Any, m: int) -> NDArray[np.float64]:
        """The rows (m, size) of a value with one set of parameters a row.

        Parameters
        ----------
        name : str
            What the argument is called.
        tree : object
            An array of shape (m, size), or the structure with arrays of shape (m, *shape).
        m : int
            Number of rows.

        Returns
        -------
        ndarray of shape (m, size)
            The rows, in float64.

        Raises
        ------
        ValueError
            If it is of another structure or shape.
        """
        if isinstance(tree, np.ndarray) and tree.shape == (m, self.size):
            return numbers(name, tree).astype(np.float64, copy=False)
        parts = []
        for leaf, shape in zip(self.leaves(name, tree), self.shapes, strict=True):
            array = numbers(name, leaf)
            if array.shape != (m, *shape):
                raise ValueError(f"{name} must be of shape {(m, *shape)}, got {array.shape}")
            parts.append(array.reshape(m, -1).astype(np.float64, copy=False))
        return np.concatenate(parts, axis=1)


def _walk(node: _Node | _Leaf, value: Any, name: str) -> Iterator[Any]:
    """What stands where a structure has its arrays."""
    if isinstance(node, _Leaf):
        if isinstance(value, dict):
            raise ValueError(f"{name} must be an array, got a dict")
        yield value
        return
    if node.kind is dict:
        if not isinstance(value, dict) or set(value) != set(node.keys):
            got = tuple(value) if isinstance(value, dict) else type(value).__name__
            raise ValueError(f"{name} must be a dict with the keys {node.keys}, got {got}")
    elif not isinstance(value, (list, tuple)) or len(value) != len(node.keys):
        got = f"{type(value).__name__}"
        if isinstance(value, (list, tuple)):
            got += f" of {len(value)}"
        raise ValueError(f"{name} must be a {node.kind.__name__} of {len(node.keys)}, got {got}")
    for key, part in zip(node.keys, node.parts, strict=True):
        yield from _walk(part, value[key], f"{name}[{key!r}]")


def _build(node: _Node | _Leaf, leaves: Iterator[Any]) -> Any:
    """A structure with given arrays."""
    if isinstance(node, _Leaf):
        return next(leaves)
    parts = [_build(part, leaves) for part in node.parts]
    if node.kind is dict:
        return dict(zip(node.keys, parts, strict=True))
    return node.kind(*parts) if hasattr(node.kind, "_fields") else node.kind(parts)
