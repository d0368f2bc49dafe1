"""The contestants of ``larger_than_memory.py``, each in a process of its own.

    python benchmarks/out_of_core.py CONTESTANT stored.json folder pool_bytes

Prints, as JSON, what was found, with the moments at which each phase began and ended. Each is used
as its documentation advises, and trains on one thread; reading may take another.

==============  ================================================================================
contestant      how
==============  ================================================================================
fastsgd         ``fit`` of the files with a cache; three epochs from the cache
Vowpal Wabbit   text, from which its first pass makes cache files; three passes from these, with
                its default learning rates
scikit-learn    ``partial_fit`` of batches of pyarrow, converted in each pass; categories hashed
                by the murmurhash3_32 of each distinct value, which is faster than FeatureHasher;
                alpha is the best of a grid on the first two batches, which is not timed
xgboost         gblinear on an external-memory DMatrix; a pass is a round of boosting. Its updater
                "shotgun" takes a step with each page; "coord_descent" reads all pages for each
                feature, which takes minutes on the smallest of these data
==============  ================================================================================
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # docs/data.md: the other keeps more

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from numpy.typing import NDArray
from stored_data import Stored, batches_of

PASSES = 3
WORD = re.compile(r"(?u)\b\w\w+\b")
BATCH_ROWS = {"numbers": 1 << 16, "categorical": 1 << 18, "text": 1 << 10}
"""Rows of a batch of scikit-learn's; wide models take a while for each call."""

ALPHAS = tuple(10.0 ** -np.arange(1, 7))
"""Of scikit-learn's, whose documentation advises to search these."""

TEXT_BYTES = 2 << 30
"""Of text that Vowpal Wabbit is given at a time, about."""


@dataclass
class Found:
    """What a contestant says.

    Attributes
    ----------
    conversion : float
        Seconds before the first pass.
    first, further : float
        Seconds of the first pass, and of one of the others.
    losses : list of float
        Of the test part after 1 and after 3 passes.
    phases : list of (name, begin, end)
        By the monotonic clock.
    cache_bytes : int
        What it keeps on disk between passes.
    """

    conversion: float = 0.0
    first: float = 0.0
    further: float = 0.0
    losses: list[float] = field(default_factory=list)
    phases: list[tuple[str, float, float]] = field(default_factory=list)
    cache_bytes: int = 0

    def timed(self, name: str, call: Callable[[], Any]) -> tuple[Any, float]:
        """What a call gives, and its seconds."""
        begin = time.monotonic()
        value = call()
        end = time.monotonic()
        self.phases.append((name, begin, end))
        return value, end - begin


def log_losses(scores: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """The log loss of each row."""
    signs = np.where(y > 0, 1.0, -1.0)
    return np.logaddexp(0.0, -signs * np.asarray(scores, dtype=np.float64))


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# Batches as matrices, for those who take them.


def batch_rows(stored: Stored) -> int:
    kind = "text" if stored.text else "categorical" if stored.categorical else "numbers"
    return BATCH_ROWS[kind]


def matrices(stored: Stored, paths: list[str]) -> Iterator[tuple[Any, NDArray[Any]]]:
    """X and y of each batch: float32, dense or CSR."""
    for batch in batches_of(paths, batch_rows(stored), [*stored.columns, "y"]):
        y = batch.column("y").to_numpy()
        if stored.text:
            from sklearn.feature_extraction.text import HashingVectorizer

            vectorizer = HashingVectorizer(
                n_features=2**stored.hash_bits, norm=None, alternate_sign=False, dtype=np.float32
            )
            yield vectorizer.transform(batch.column(stored.text[0]).to_pylist()), y
        elif stored.categorical:
            yield hashed_batch(stored, batch), y
        else:
            X = np.empty((batch.num_rows, len(stored.numbers)), dtype=np.float32)
            for j, name in enumerate(stored.numbers):
                X[:, j] = batch.column(name).to_numpy()
            yield X, y


def hashed_batch(stored: Stored, batch: Any) -> Any:
    """CSR, by one hash for each distinct value of a column."""
    from sklearn.utils import murmurhash3_32

    m, d, mask = batch.num_rows, len(stored.categorical), 2**stored.hash_bits - 1
    indices = np.empty((m, d), dtype=np.int32)
    for j, name in enumerate(stored.categorical):
        column = batch.column(name)
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        codes = column.indices.to_numpy(zero_copy_only=False)
        used, places = np.unique(codes, return_inverse=True)
        values = column.dictionary.take(pa.array(used)).to_pylist()
        hashes = [murmurhash3_32(f"{name}={value}", positive=True) & mask for value in values]
        indices[:, j] = np.array(hashes, dtype=np.int32)[places]
    ones, starts = np.ones(m * d, dtype=np.float32), np.arange(0, m * d + 1, d, dtype=np.int32)
    X = sp.csr_matrix((ones, indices.ravel(), starts), shape=(m, mask + 1))
    X.sum_duplicates()
    return X


# The contestants.


def fastsgd(stored: Stored, folder: Path, pool_bytes: int) -> Found:
    """A first epoch that writes the cache, then a model of three epochs from it."""
    from fastsgd import SGDClassifier
    from fastsgd.data import open_source

    found, cache = Found(), folder / "cache"
    options = stored.source_options() | {"cache": cache, "pool_bytes": pool_bytes}

    def train(epochs: int) -> SGDClassifier:
        settings = {"alpha": stored.alpha, "optimizer": stored.optimizer}
        model = SGDClassifier("log_loss", max_iter=epochs, tol=None, random_state=0, **settings)
        return model.fit(stored.train, **options)

    def loss(model: SGDClassifier) -> float:
        source = open_source(stored.test, columns=model.columns_)
        pairs = ((model.decision_function(block.X), block.y) for block in source.blocks())
        return float(np.concatenate([log_losses(*pair) for pair in pairs]).mean())

    model, found.first = found.timed("first", lambda: train(1))
    found.losses.append(loss(model))
    del model
    model, seconds = found.timed("further", lambda: train(PASSES))
    found.further = seconds / PASSES
    found.losses.append(loss(model))
    found.cache_bytes = folder_bytes(cache)
    return found


def scikit_learn(stored: Stored, folder: Path, pool_bytes: int) -> Found:
    """``partial_fit`` of every batch; all work is done anew in each pass."""
    from sklearn.linear_model import SGDClassifier

    found = Found()

    def trial(alpha: float) -> float:
        """The loss of the second batch after the first one; of the first if that is all."""
        model = SGDClassifier("log_loss", alpha=alpha, random_state=0)
        two = list(itertools.islice(matrices(stored, stored.train), 2))
        model.partial_fit(*two[0], classes=[0, 1])
        return float(log_losses(model.decision_function(two[-1][0]), two[-1][1]).mean())

    model = SGDClassifier("log_loss", alpha=min(ALPHAS, key=trial), random_state=0)

    def train(passes: int) -> None:
        for _ in range(passes):
            for X, y in matrices(stored, stored.train):
                model.partial_fit(X, y, classes=[0, 1])

    def loss() -> float:
        pairs = ((model.decision_function(X), y) for X, y in matrices(stored, [stored.test]))
        return float(np.concatenate([log_losses(*pair) for pair in pairs]).mean())

    _, found.first = found.timed("first", lambda: train(1))
    found.losses.append(loss())
    _, seconds = found.timed("further", lambda: train(PASSES - 1))
    found.further = seconds / (PASSES - 1)
    found.losses.append(loss())
    return found


def vowpal_wabbit(stored: Stored, folder: Path, pool_bytes: int) -> Found:
    """Text in pieces, each given up once it is a cache file; then passes over all of these.

    The first pass learns while it makes the caches; the model goes from piece to piece.
    """
    from vowpalwabbit import Workspace

    found, caches, model = Found(), [], ""
    bits = stored.hash_bits
    common = f"--quiet --loss_function logistic --holdout_off -b {bits}"
    rows = batch_rows(stored)
    text = folder / "piece.txt"
    batches = batches_of(stored.train, rows, [*stored.columns, "y"])

    def write_piece() -> bool:
        with text.open("wb") as file:
            for batch in batches:
                write_text(stored, batch, file)
                if file.tell() >= TEXT_BYTES:
                    break
            return file.tell() > 0

    while True:
        more, seconds = found.timed("conversion", write_piece)
        if not more:
            break
        found.conversion += seconds
        caches.append(folder / f"{len(caches):04d}.cache")
        start, model = model and f"-i {model}", str(folder / f"{len(caches) % 2}.model")
        command = f"{common} --data {text} --cache_file {caches[-1]} {start}"
        command += f" -f {model} --save_resume"
        _, seconds = found.timed("first", lambda: Workspace(command).finish())  # noqa: B023
        found.first += seconds
    found.losses.append(vw_loss(stored, folder, model, common))
    names = " ".join(f"--cache_file {path}" for path in caches)
    model = str(folder / "last.model")
    command = f"{common} {names} --passes {PASSES} -f {model}"
    _, seconds = found.timed("further", lambda: Workspace(command).finish())
    found.further = seconds / PASSES
    found.losses.append(vw_loss(stored, folder, model, common))
    found.cache_bytes = sum(path.stat().st_size for path in caches)
    return found


def vw_loss(stored: Stored, folder: Path, model: str, common: str) -> float:
    """Of the test part, whose text is made once."""
    from vowpalwabbit import Workspace

    text, scores = folder / "test.txt", folder / "scores.txt"
    labels = []
    with text.open("wb") as file:
        for batch in batches_of([stored.test], batch_rows(stored), [*stored.columns, "y"]):
            write_text(stored, batch, file)
            labels.append(batch.column("y").to_numpy())
    command = f"{common} -t -i {model} --data {text} -p {scores}"
    Workspace(command.replace(f" -b {stored.hash_bits}", "")).finish()
    found = np.array(scores.read_text().split(), dtype=np.float64)
    return float(log_losses(found, np.concatenate(labels)).mean())


def write_text(stored: Stored, batch: Any, file: Any) -> None:
    """Lines ``label | name:value ...``, ``label | name=value ...`` or ``label | word ...``."""
    parts: list[Any] = [pc.if_else(pc.equal(batch.column("y"), 1), "1 |", "-1 |")]
    for j, name in enumerate(stored.numbers):
        parts += [f" {j}:", pc.cast(batch.column(name), pa.string())]
    for name in stored.categorical:
        parts += [f" {name}=", pc.cast(batch.column(name), pa.string())]
    for name in stored.text:
        texts = batch.column(name).to_pylist()
        parts += [" ", pa.array([" ".join(WORD.findall(text.lower())) for text in texts])]
    lines = pc.binary_join_element_wise(*parts, "\n", "")
    _, offsets, data = lines.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)
    file.write(memoryview(data)[: int(ends[lines.offset + len(lines)])])


def xgboost(stored: Stored, folder: Path, pool_bytes: int) -> Found:
    """Its external memory are files that the first pass makes."""
    import xgboost as xgb

    found = Found()

    class Batches(xgb.DataIter):
        def __init__(self) -> None:
            self.batches: Any = None
            super().__init__(cache_prefix=str(folder / "xgboost"))

        def reset(self) -> None:
            self.batches = matrices(stored, stored.train)

        def next(self, input_data: Any) -> bool:
            pair = next(self.batches, None)
            if pair is None:
                return False
            input_data(data=pair[0], label=pair[1])
            return True

    parameters = {"booster": "gblinear", "objective": "binary:logistic", "nthread": 1}

    def first() -> tuple[Any, Any]:
        data = xgb.DMatrix(Batches(), nthread=1)
        return data, xgb.train(parameters, data, 1)

    def loss(booster: Any) -> float:
        parts = []
        for X, y in matrices(stored, [stored.test]):
            scores = booster.predict(xgb.DMatrix(X, nthread=1), output_margin=True)
            parts.append(log_losses(scores, y))
        return float(np.concatenate(parts).mean())

    (data, booster), found.first = found.timed("first", first)
    found.losses.append(loss(booster))
    booster, seconds = found.timed("further", lambda: xgb.train(parameters, data, PASSES))
    found.further = seconds / PASSES
    found.losses.append(loss(booster))
    found.cache_bytes = folder_bytes(folder)
    return found


CONTESTANTS: dict[str, Callable[[Stored, Path, int], Found]] = {
    "fastsgd": fastsgd,
    "Vowpal Wabbit": vowpal_wabbit,
    "scikit-learn": scikit_learn,
    "xgboost": xgboost,
}


# A process and its memory.


def anonymous_bytes(pid: int) -> int:
    """RssAnon of a process; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def watched(command: list[str], every: float = 0.02) -> tuple[str, list[tuple[float, int]]]:
    """Run a command; its output, and its anonymous memory by the monotonic clock.

    Raises
    ------
    RuntimeError
        If it fails; the text is the last line of what it said.
    """
    import subprocess

    samples: list[tuple[float, int]] = []
    done = threading.Event()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:

        def sample() -> None:
            while not done.wait(every):
                samples.append((time.monotonic(), anonymous_bytes(process.pid)))

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            out, error = process.communicate()
        finally:
            done.set()
            sampler.join()
    if process.returncode != 0:
        lines = [line for line in error.splitlines() if line.strip()] or ["no message"]
        raise RuntimeError(f"status {process.returncode}: {lines[-1][:200]}")
    return out, samples


def run(who: str, stored: Stored, folder: Path, pool_bytes: int) -> dict[str, Any]:
    """A contestant in a process of its own, with its peak memory in the phases of training."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = folder.parent / "stored-of-run.json"
    path.write_text(json.dumps(asdict(stored)))
    try:
        arguments = [who, str(path), str(folder), str(pool_bytes)]
        out, samples = watched([sys.executable, __file__, *arguments])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        path.unlink()
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    spans = [(a, b) for name, a, b in found["phases"] if name != "conversion"]
    found["peak"] = max(
        (size for at, size in samples if any(a <= at <= b for a, b in spans)), default=0
    )
    begin = spans[0][0]
    step = max(1, len(samples) // 1000)
    found["memory"] = [
        (round(samples[i][0] - begin, 2), max(size for _, size in samples[i : i + step]))
        for i in range(0, len(samples), step)
        if samples[i][0] >= begin - 0.1
    ]
    found["phases"] = [
        (name, round(a - begin, 2), round(b - begin, 2)) for name, a, b in found["phases"]
    ]
    return found


def main(arguments: list[str]) -> None:
    who, stored, folder, pool_bytes = arguments
    data = Stored(**json.loads(Path(stored).read_text()))
    found = CONTESTANTS[who](data, Path(folder), int(pool_bytes))
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main(sys.argv[1:])
