"""How named columns become X, y and sample_weight: what a model keeps to read other data so."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

__all__ = ["Columns"]

DTYPES = ("float64", "float32", "float16", "uint8")
MISSING = ("error", "zero", "mean")


@dataclass(frozen=True)
class Columns:
    """How named columns become X, y and sample_weight.

    X has the numeric columns in front, in the order of ``numeric``. Behind them are ``2 **
    hash_bits`` columns, if there are categories or texts: a category is a 1 in the column of the
    hash of ``name=value``, a word of a text its count in that of ``name=word``. Words are those of
    scikit-learn's CountVectorizer: lower case, of two or more letters, digits or underscores. The
    hash is ``murmurhash3_32(..., positive=True) % 2 ** hash_bits``, without an alternating sign.
    A missing category is a value of its own; a missing text has no words.

    Attributes
    ----------
    numeric : tuple of str
        Columns of numbers.
    categorical : tuple of str
        Columns whose values are hashed.
    kinds : tuple of str
        What these columns hold: "string", "number", "boolean" or "time" each.
    text : tuple of str
        Columns whose words are hashed and counted.
    target : str, tuple of str or None
        The column of y, or those of y with two dimensions.
    sample_weight : str or None
        The column of weights.
    dtype : str
        Of X.
    hash_bits : int
        Binary logarithm of the number of hashed columns, from 1 to 30.
    missing : {"error", "zero", "mean"}
        What a missing number, null or NaN, becomes.
    means : tuple of float or None
        What it becomes in each numeric column, if that is "mean".
    keep_names : int
        How many names of hashed columns are remembered while reading.

    Examples
    --------
    >>> from fastsgd.data import Columns
    >>> columns = Columns(numeric=("age",), categorical=("town",), kinds=("string",), hash_bits=10)
    >>> columns.n_features
    1025
    >>> Columns.from_json(columns.to_json()) == columns
    True
    """

    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    target: str | tuple[str, ...] | None = None
    sample_weight: str | None = None
    dtype: str = "float64"
    hash_bits: int = 18
    missing: str = "error"
    means: tuple[float, ...] | None = None
    keep_names: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("dtype", DTYPES), ("missing", MISSING)):
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        for name, most in (("hash_bits", 30), ("keep_names", 2**31)):
            value, least = getattr(self, name), name == "hash_bits"
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, got {value!r}")
            if not least <= value <= most:
                raise ValueError(f"{name} must be from {int(least)} to {most}, got {value}")
        if len(self.kinds) != len(self.categorical):
            raise ValueError("kinds must be as many as categorical")
        if self.means is not None and len(self.means) != len(self.numeric):
            raise ValueError("means must be as many as numeric")

    @property
    def hashes(self) -> bool:
        """Whether columns are hashed, so that X is CSR."""
        return bool(self.categorical or self.text)

    @property
    def n_features(self) -> int:
        """Number of columns of X."""
        return len(self.numeric) + (2**self.hash_bits if self.hashes else 0)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the columns of y."""
        if self.target is None:
            return ()
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def names(self) -> list[str]:
        """Names of all columns that are read, each once."""
        weight = () if self.sample_weight is None else (self.sample_weight,)
        every = (*self.numeric, *self.categorical, *self.text, *self.targets, *weight)
        return list(dict.fromkeys(every))

    def to_json(self) -> str:
        """Write all fields.

        Returns
        -------
        str
            JSON, for :meth:`from_json`.
        """
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Columns:
        """Read what :meth:`to_json` has written.

        Parameters
        ----------
        text : str
            JSON.

        Returns
        -------
        Columns
            With the same fields.

        Raises
        ------
        ValueError
            If the text is not of this kind.
        """
        try:
            fields = json.loads(text)
            known = {field.name for field in dataclasses.fields(cls)}
            if set(fields) != known:
                raise ValueError(f"fields {sorted(set(fields) ^ known)} are missing or unknown")
            values: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in fields.items()
            }
            return cls(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"not the JSON of Columns: {error}") from None
