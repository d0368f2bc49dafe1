"""What ``larger_than_memory.py`` measures of fastsgd alone, each in a process of its own.

    python benchmarks/out_of_core_checks.py CHECK stored.json folder pool_bytes

Prints seconds and rows as JSON; which are asked for is in ``larger_than_memory.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from out_of_core import folder_bytes, log_losses
from stored_data import Stored, batches_of, sorted_by_class

from fastsgd import SGDClassifier
from fastsgd.data import open_source

EPOCHS = 4
"""Epochs that are timed, behind the second one."""

ROUNDS, FEW_BYTES = 3, 4 << 30
"""Rounds of a median, where the data are no larger than that; else one."""

MEMORY_PART = 512 << 20
"""Bytes of the rows that are trained on in memory, at most."""

SORTED_ROWS, SORTED_EPOCHS = 2_000_000, 10
READ_BYTES = 1 << 20
BATCH_ROWS = 1 << 16


def seconds(call: Callable[[], Any]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start


def median(values: list[float]) -> float:
    return float(np.median(values))


def rounds(size: int) -> int:
    return ROUNDS if size <= FEW_BYTES else 1


# The page cache.


def synchronise(paths: list[Path]) -> None:
    """What is not written yet cannot be dropped."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def drop(path: Any) -> None:
    """Drop a file from the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


# Checks.


def model(stored: Stored, epochs: int, **options: Any) -> SGDClassifier:
    same = {"loss": "log_loss", "alpha": stored.alpha, "tol": None, "random_state": 0}
    return SGDClassifier(max_iter=epochs, **same, **options)


def in_memory(stored: Stored, most_bytes: int) -> tuple[Any, Any]:
    """The first rows, X and y."""
    blocks, size = [], 0
    for block in open_source(stored.train, **stored.source_options()).blocks():
        X = block.X
        size += X.data.nbytes + X.indices.nbytes if sp.issparse(X) else X.nbytes
        if blocks and size > most_bytes:
            break
        blocks.append(block)
    X = [block.X for block in blocks]
    joined = sp.vstack(X, format="csr") if sp.issparse(X[0]) else np.concatenate(X)
    return joined, np.concatenate([block.y for block in blocks])


def epochs(stored: Stored, folder: Path, pool_bytes: int, cold: bool) -> dict[str, Any]:
    """Epochs, a sequential read of the cache, and training in memory: from the third epoch on, or
    with dropped files the only one of a fit."""
    cache = folder / "cache"
    options = stored.source_options() | {"cache": cache, "pool_bytes": pool_bytes}
    model(stored, 1).fit(stored.train, **options)
    files = sorted(path for path in cache.rglob("*") if path.is_file())
    size = folder_bytes(cache)
    synchronise(files)

    def read() -> None:
        buffer = bytearray(READ_BYTES)
        for path in files:
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

    def drop_all() -> None:
        for path in files:
            drop(path)

    rows = [in_memory(stored, MEMORY_PART)]
    rows_in_memory = len(rows[0][1])

    def memory(epochs: int) -> None:
        model(stored, epochs, sampling="block").fit(*rows[0])

    def disk(epochs: int) -> None:
        model(stored, epochs).fit(stored.train, **options)

    found: dict[str, list[float]] = {"read": [], "memory": [], "epoch": []}
    for _ in range(rounds(size)):
        if cold:
            drop_all()
        else:
            read()
        found["read"].append(seconds(read))
        two, more = (seconds(lambda n=n: memory(n)) for n in (2, 2 + EPOCHS))
        found["memory"].append((more - two) / EPOCHS)
    rows.clear()
    for _ in range(rounds(size)):
        if cold:  # one epoch, whose first pool nothing is trained beside
            drop_all()
            fitted = model(stored, 1).fit(stored.train, **options)
            found["epoch"].append(fitted.history_["seconds"][-1])
            continue
        two, more = (seconds(lambda n=n: disk(n)) for n in (2, 2 + EPOCHS))
        found["epoch"].append((more - two) / EPOCHS)
    rates = {
        "read": stored.rows / median(found["read"]),
        "memory": rows_in_memory / median(found["memory"]),
        "epoch": stored.rows / median(found["epoch"]),
    }
    return {"rows_per_second": rates, "bytes": size}


def warm_epochs(stored: Stored, folder: Path, pool_bytes: int) -> dict[str, Any]:
    return epochs(stored, folder, pool_bytes, cold=False)


def cold_epochs(stored: Stored, folder: Path, pool_bytes: int) -> dict[str, Any]:
    return epochs(stored, folder, pool_bytes, cold=True)


def bare_scan(stored: Stored) -> None:
    """Each column of each batch as an array of NumPy; of categories their codes."""
    for path in stored.train:
        with pq.ParquetFile(path, read_dictionary=stored.categorical) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                for column in batch.columns:
                    codes = column.indices if pa.types.is_dictionary(column.type) else column
                    codes.to_numpy(zero_copy_only=False)


def scan_into_rows(stored: Stored) -> None:
    """Each batch of numbers as one array (m, d) in C order, made by pyarrow."""
    for batch in batches_of(stored.train, BATCH_ROWS, stored.numbers):
        batch.to_tensor().to_numpy()


def first_pass(stored: Stored, folder: Path, pool_bytes: int) -> dict[str, Any]:
    """The Parquet files, from the disk each time: scanned, as blocks, and as a cache."""
    cache = folder / "cache"
    options = stored.source_options()

    def blocks() -> None:
        for _ in open_source(stored.train, **options).blocks():
            pass

    def fit() -> None:
        model(stored, 1).fit(stored.train, **options, cache=cache, pool_bytes=pool_bytes)

    def from_disk(call: Callable[[], None]) -> float:
        for path in stored.train:
            drop(path)
        return seconds(call)

    synchronise([Path(path) for path in stored.train])
    found: dict[str, list[float]] = {"scan": [], "blocks": [], "cache": [], "fit": []}
    if not stored.categorical:
        found["rows"] = []
    for _ in range(rounds(stored.bytes)):
        shutil.rmtree(cache, ignore_errors=True)
        found["scan"].append(from_disk(lambda: bare_scan(stored)))
        if "rows" in found:
            found["rows"].append(from_disk(lambda: scan_into_rows(stored)))
        found["blocks"].append(from_disk(blocks))
        found["fit"].append(from_disk(fit))
        found["cache"].append(found["fit"][-1] - seconds(fit))
    return {name: median(values) for name, values in found.items()} | {"bytes": stored.bytes}


def class_sorted(stored: Stored, folder: Path, pool_bytes: int) -> dict[str, Any]:
    """Losses on the training rows, stored by class: by pools of an eighth, and in memory."""
    part = sorted_by_class(stored, folder / "sorted", min(stored.rows, SORTED_ROWS))
    options = part.source_options()
    X, y = in_memory(part, 1 << 62)
    size = X.data.nbytes + X.indices.nbytes if sp.issparse(X) else X.nbytes
    reshuffled = model(part, SORTED_EPOCHS).fit(X, y)
    pools = model(part, SORTED_EPOCHS)
    pools.fit(part.train, **options, cache=folder / "cache", pool_bytes=size // 8)

    def objective(fitted: SGDClassifier) -> float:
        penalty = 0.5 * part.alpha * float(np.square(fitted.coef_, dtype=np.float64).sum())
        return float(log_losses(fitted.decision_function(X), y).mean()) + penalty

    return {"rows": part.rows, "pools": objective(pools), "reshuffled": objective(reshuffled)}


def prediction(stored: Stored, folder: Path, pool_bytes: int) -> dict[str, Any]:
    """``fastsgd predict`` of the training files, and a process that only reads and writes."""
    path, out = folder / "model.safetensors", folder / "out.parquet"
    options = stored.source_options() | {"cache": folder / "cache", "pool_bytes": pool_bytes}
    model(stored, 1).fit(stored.train[:1], **options).save(path)
    stored_path = folder / "stored.json"
    stored_path.write_text(json.dumps(vars(stored)))
    commands = {
        "predict": ["-m", "fastsgd", "predict", str(path), *stored.train, "-o", str(out)],
        "bare": [__file__, "bare_copy", str(stored_path), str(folder), "0"],
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds(stored.bytes)):
        for name, command in commands.items():
            out.unlink(missing_ok=True)
            for file in stored.train:
                drop(file)

            def call(command: list[str] = command) -> None:
                done = subprocess.run(
                    [sys.executable, *command], capture_output=True, text=True, check=False
                )
                if done.returncode:
                    raise RuntimeError(done.stderr.strip().splitlines()[-1])

            found[name].append(seconds(call))
            if pq.read_metadata(out).num_rows != stored.rows:
                raise RuntimeError(f"{name} has not written all rows")
    return {name: median(values) for name, values in found.items()}


def bare_copy(stored: Stored, folder: Path, pool_bytes: int) -> dict[str, Any]:
    """Read all columns of X and write one of as many rows, batch by batch."""
    schema = pa.schema([("label", pa.int64())])
    with pq.ParquetWriter(folder / "out.parquet", schema) as writer:
        for batch in batches_of(stored.train, BATCH_ROWS, stored.columns):
            labels = pa.array(np.arange(batch.num_rows) % 2)
            writer.write_batch(pa.record_batch([labels], schema=schema))
    return {}


CHECKS: dict[str, Callable[[Stored, Path, int], dict[str, Any]]] = {
    "warm_epochs": warm_epochs,
    "cold_epochs": cold_epochs,
    "first_pass": first_pass,
    "class_sorted": class_sorted,
    "prediction": prediction,
    "bare_copy": bare_copy,
}


def main(arguments: list[str]) -> None:
    what, stored, folder, pool_bytes = arguments
    data = Stored(**json.loads(Path(stored).read_text()))
    print(json.dumps(CHECKS[what](data, Path(folder), int(pool_bytes))))


if __name__ == "__main__":
    main(sys.argv[1:])
