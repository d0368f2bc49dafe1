"""Columns from the schema of a table: what each is, and whether it suits a model's columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import types as pat

from .columns import Columns

__all__ = ["check_columns", "kind_of", "resolve_columns"]

KINDS_OF_NUMERIC = ("number", "boolean")
KINDS_OF_CATEGORIES = ("string", "number", "boolean", "time")
KINDS_OF_TARGETS = ("string", "number", "boolean")


def value_type(kind: Any) -> Any:
    """The type of the values of a dictionary or of runs; another type as it is."""
    while pat.is_dictionary(kind) or pat.is_run_end_encoded(kind):
        kind = kind.value_type
    return kind


def kind_of(kind: Any) -> str:
    """What a column of an Arrow type holds."""
    kind = value_type(kind)
    if pat.is_string(kind) or pat.is_large_string(kind) or pat.is_string_view(kind):
        return "string"
    if pat.is_boolean(kind):
        return "boolean"
    if pat.is_integer(kind) or pat.is_floating(kind) or pat.is_decimal(kind):
        return "number"
    if pat.is_temporal(kind):
        return "time"
    return "null" if pat.is_null(kind) else "other"


def dtype_of(kinds: Iterable[Any], *, sparse: bool, fractions: bool) -> str:
    """The narrowest dtype of X that holds numbers of these Arrow types.

    Parameters
    ----------
    kinds : iterable of pyarrow.DataType
    sparse : bool
        Whether X is CSR.
    fractions : bool
        Whether values of a column of integers may be fractions, their mean.
    """
    found = set()
    for kind in map(value_type, kinds):
        if pat.is_boolean(kind):
            found.add("uint8")
        elif pat.is_null(kind) or pat.is_decimal(kind):
            found.add("float64")
        else:
            found.add(np.dtype(kind.to_pandas_dtype()).name)
    if not found or (sparse and found <= {"uint8", "float16"}):
        return "float32"
    if found == {"float16"} or (found == {"uint8"} and not fractions):
        return found.pop()
    narrow = {"float32", "float16", "int16", "uint16", "int8", "uint8"}
    return "float32" if found <= narrow else "float64"


def names_of(argument: str, names: Any, schema: Any, where: str) -> list[str]:
    """Names of columns as a list, all of which a schema has."""
    found = [names] if isinstance(names, str) else names
    if not isinstance(found, (list, tuple)) or not all(isinstance(name, str) for name in found):
        raise TypeError(f"{argument} must be names of columns, got {names!r}")
    found = list(found)
    for name in found:
        if name not in schema.names:
            known = ", ".join(map(repr, schema.names[:20]))
            raise ValueError(f"{argument}: {where} has no column {name!r}, but {known}")
    if len(set(found)) != len(found):
        raise ValueError(f"{argument} names a column twice: {names!r}")
    return found


def resolve_columns(
    schema: Any,
    where: str,
    *,
    target: str | Sequence[str] | None,
    sample_weight: str | None,
    features: Sequence[str] | None,
    categorical: str | Sequence[str] | None,
    text: str | Sequence[str] | None,
    **options: Any,
) -> Columns:
    """The columns of a schema by the arguments of :func:`open_source`.

    Raises
    ------
    ValueError
        Naming the argument or the column.
    TypeError
        If names are no strings.
    """
    if len(set(schema.names)) != len(schema.names):
        twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
        raise ValueError(f"{where} has several columns of the name {twice[0]!r}")
    targets = [] if target is None else names_of("target", target, schema, where)
    if sample_weight is not None and not isinstance(sample_weight, str):
        raise TypeError(f"sample_weight must be the name of a column, got {sample_weight!r}")
    weights = (
        [] if sample_weight is None else names_of("sample_weight", sample_weight, schema, where)
    )
    if features is None:
        used = [name for name in schema.names if name not in (*targets, *weights)]
    else:
        used = names_of("features", features, schema, where)
    for name in (*targets, *weights):
        if name in used:
            raise ValueError(f"features has {name!r}, which is the target or the sample_weight")
    texts = [] if text is None else names_of("text", text, schema, where)
    kinds = {name: kind_of(schema.field(name).type) for name in schema.names}
    if categorical is None:
        encoded = [name for name in used if pat.is_dictionary(schema.field(name).type)]
        hashed = [name for name in used if kinds[name] in ("string", "boolean")]
        categories = [name for name in used if name in {*encoded, *hashed} - set(texts)]
    else:
        categories = names_of("categorical", categorical, schema, where)
    for argument, names in (("categorical", categories), ("text", texts)):
        for name in names:
            if name not in used:
                raise ValueError(f"{argument} has {name!r}, which is none of the features")
    if both := set(categories) & set(texts):
        raise ValueError(f"categorical and text both have {sorted(both)[0]!r}")
    numeric = [name for name in used if name not in {*categories, *texts}]
    if not used:
        raise ValueError(f"{where} has no columns for X")
    sparse = bool(categories or texts)
    columns = Columns(
        numeric=tuple(numeric),
        categorical=tuple(categories),
        kinds=tuple(kinds[name] for name in categories),
        text=tuple(texts),
        target=target if target is None or isinstance(target, str) else tuple(targets),
        sample_weight=sample_weight,
        **options,
    )
    check_kinds(columns, schema, where)
    types = [schema.field(name).type for name in numeric]
    dtype = dtype_of(types, sparse=sparse, fractions=columns.missing == "mean")
    return dataclasses.replace(columns, dtype=dtype)


def check_kinds(columns: Columns, schema: Any, where: str) -> None:
    """Refuse columns that hold what they cannot be used for."""
    numeric = "which no number can be made of: name it in categorical or text, or leave it out of "
    roles: list[tuple[tuple[str, ...], tuple[str, ...], str]] = [
        (columns.numeric, KINDS_OF_NUMERIC, f"{numeric}features"),
        (columns.categorical, KINDS_OF_CATEGORIES, "which are no categories"),
        (columns.text, ("string",), "which is no text"),
        (columns.targets, KINDS_OF_TARGETS, "which are no targets"),
    ]
    if columns.sample_weight is not None:
        roles.append(((columns.sample_weight,), ("number", "boolean"), "which are no weights"))
    for names, kinds, why in roles:
        for name in names:
            kind = schema.field(name).type
            if kind_of(kind) not in (*kinds, "null"):
                raise ValueError(f"{where}: column {name!r} is of type {kind}, {why}")


def check_columns(columns: Columns, schema: Any, where: str) -> Columns:
    """The columns of a model for another table, which may lack targets and weights.

    Raises
    ------
    ValueError
        Naming a column that is missing or holds something else than before.
    """
    known = set(schema.names)
    for name in (*columns.numeric, *columns.categorical, *columns.text):
        if name not in known:
            raise ValueError(f"{where} has no column {name!r}, which the model needs")
        if schema.names.count(name) > 1:
            raise ValueError(f"{where} has several columns of the name {name!r}")
    if not known.issuperset(columns.targets):
        columns = dataclasses.replace(columns, target=None)
    if columns.sample_weight not in known:
        columns = dataclasses.replace(columns, sample_weight=None)
    check_kinds(columns, schema, where)
    for name, kind in zip(columns.categorical, columns.kinds, strict=True):
        found = schema.field(name).type
        if kind_of(found) not in (kind, "null"):
            raise ValueError(f"{where}: column {name!r} is of type {found}, not a {kind} as before")
    if columns.dtype in ("uint8", "float16"):  # which may not hold the numbers of other types
        types = [schema.field(name).type for name in columns.numeric]
        dtype = dtype_of(types, sparse=False, fractions=False)
        if dtype != columns.dtype:
            dtype = "float64" if dtype == "float64" else "float32"
        columns = dataclasses.replace(columns, dtype=dtype)
    return columns


def narrowed(schema: Any, columns: Columns) -> Any:
    """The fields of a schema that are read."""
    return pa.schema([schema.field(name) for name in columns.names])
