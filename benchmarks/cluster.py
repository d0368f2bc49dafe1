"""Does a cluster pay, and what do shards cost in loss?

    python benchmarks/cluster.py           measures, writes docs/distributed.md and .png
    python benchmarks/cluster.py --quick   a tenth of the rows, fewer shards, prints alone

Five parts: fits on clusters of one and two processes of this machine; seconds to the loss of
dask-ml's Incremental, where it is installed, and of it to the loss that comes to; what a round
costs beside its steps, and the bytes it moves; the loss of 4 to 1,024 shards, simulated in one
process; and a model of the seconds of an epoch,

    T(n, k) = n / (k v) + R (h + b log2(k) / c) + read(n / k),

n rows, k workers of v rows a second, R rounds an epoch that cost h seconds each, b bytes of a model
over a network of c bytes a second; rows that do not fit into the memory of a worker are read from
its disk in every epoch. v, h, c and the speed of the disk are measured here: c is what rounds of
1,000,000 features move through Dask between two processes of this machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import log_loss

from fastsgd import SGDClassifier
from fastsgd.bench import environment, format_header
from fastsgd.dask import SGDClassifier as OnDask
from fastsgd.distributed import Shard
from fastsgd.distributed.executors import ExecutorEngine
from fastsgd.distributed.stream import ShardStream
from fastsgd.estimators.rows import Rows

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- measured -->\n", "<!-- end -->\n"
PARTITIONS = 16
LOSSES = "### Loss of other rows above that of one machine"
"""Title of the table of losses."""

MOST_PASSES = 20
"""Of dask-ml, to the loss of another."""

MODEL: dict[str, Any] = {"loss": "log_loss", "random_state": 0, "tol": None}

MEMORY = 64e9
"""Bytes of a worker: what the model assumes."""

DISK_BYTES, READ_BYTES = 1 << 30, 1 << 20
"""Bytes that are read from the disk to measure it, and at once."""


@dataclass
class Costs:
    """What the model of an epoch's seconds knows of a machine.

    Attributes
    ----------
    speed : float
        Rows a second that a process trains on.
    round : float
        Seconds of a round beside its steps.
    network, disk : float
        Bytes a second.
    """

    speed: float
    round: float
    network: float
    disk: float


def dense_block(part: int, n: int, d: int = 100) -> tuple[Any, Any]:
    """Rows of a partition: correlated float32 features, labels with noise."""
    mix = np.random.default_rng(1).normal(size=(d, d)).astype(np.float32) / np.float32(d**0.5)
    rng = np.random.default_rng([2, part])
    X = rng.standard_normal((n, d), dtype=np.float32) @ mix
    w = np.random.default_rng(3).normal(size=d) / d**0.5
    return X, (2.0 * (X @ w) + rng.logistic(size=n) > 0).astype(np.int64)


def sparse_block(part: int, n: int, d: int = 50_000, nnz: int = 30) -> tuple[Any, Any]:
    """Rows of a partition: words of a power law, in CSR."""
    rng = np.random.default_rng([4, part])
    words = np.minimum((d * rng.random((n, nnz)) ** 3).astype(np.int32), d - 1)
    values = np.full(n * nnz, nnz**-0.5, dtype=np.float32)
    X = sp.csr_array(
        (values, words.ravel(), np.arange(0, n * nnz + 1, nnz, dtype=np.int32)), (n, d)
    )
    X.sum_duplicates()
    w = np.random.default_rng(5).normal(size=d) * 3.0
    return X, (X @ w + rng.logistic(size=n) > 0).astype(np.int64)


BLOCKS = {"dense": dense_block, "sparse": sparse_block}


def table(title: str, lines: list[dict[str, str]]) -> str:
    """A table of Markdown."""
    rows = [list(lines[0]), ["---"] * len(lines[0]), *(list(line.values()) for line in lines)]
    return f"### {title}\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


@contextmanager
def client_of(processes: int) -> Iterator[Any]:
    """A client of so many processes of this machine, of one thread each."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=processes, threads_per_worker=1, dashboard_address=":0", memory_limit=0
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(processes)
        yield client


def placed(client: Any, kind: str, rows: int) -> list[Any]:
    """Blocks of rows, as many on each worker, those that follow each other on the same one."""
    from distributed import wait

    workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
    blocks = []
    for part in range(PARTITIONS):
        worker = workers[part * len(workers) // PARTITIONS]
        blocks.append(
            client.submit(BLOCKS[kind], part, rows // PARTITIONS, workers=worker, pure=False)
        )
    wait(blocks)
    return blocks


def fitted(make: Callable[[int], Any], *rows: Any, **arguments: Any) -> tuple[Any, float, float]:
    """The last of five models that are fitted, the least seconds of a fit, and of an epoch."""
    seconds, inside = [], [float("inf")]
    for number in range(5):
        model = make(number)
        start = time.perf_counter()
        model.fit(*rows, **arguments)
        seconds.append(time.perf_counter() - start)
        inside += list(getattr(model, "history_", {}).get("seconds", []))
    return model, min(seconds), min(inside)


def on_dask(epochs: int, number: int) -> Any:
    """A model that is not fitted, the same for each number."""
    return OnDask(**MODEL, max_iter=epochs)


def fits(kind: str, rows: int, test: tuple[Any, Any]) -> tuple[list[dict[str, str]], float]:
    """Fits on one and two processes; rows a second of one."""
    lines, speed, before = [], 0.0, {}
    for processes in (1, 2):
        with client_of(processes) as client:
            blocks = placed(client, kind, rows)
            for epochs in (1, 20):
                model, seconds, inside = fitted(partial(on_dask, epochs), blocks)
                loss = log_loss(test[1], model.predict_proba(test[0]))
                if processes == 1:
                    speed, before[epochs] = rows / inside, (seconds, inside)
                cells = {"processes": str(processes), "epochs": str(epochs)}
                cells |= {"seconds of a fit": f"{seconds:.2f}", "of an epoch": f"{inside:.3f}"}
                cells["times as fast, fit"] = f"{before[epochs][0] / seconds:.2f}"
                cells["epoch"] = f"{before[epochs][1] / inside:.2f}"
                lines.append(cells | {"log loss": f"{loss:.5f}"})
                print(lines[-1], flush=True)
    return lines, speed


def peers(kind: str, rows: int, test: tuple[Any, Any]) -> list[dict[str, str]]:
    """Seconds to the loss that one pass of dask-ml's Incremental comes to, on two processes; and
    those of dask-ml to the loss that this has."""
    import dask.array as da
    from dask_ml.wrappers import Incremental
    from distributed import wait
    from sklearn.linear_model import SGDClassifier as Sklearn

    lines = []
    each, d = rows // PARTITIONS, test[0].shape[1]
    meta = None if kind == "dense" else sp.csr_array((0, d), dtype=np.float32)
    with client_of(2) as client:
        blocks = placed(client, kind, rows)
        X = [client.submit(itemgetter(0), block, pure=False) for block in blocks]
        y = [client.submit(itemgetter(1), block, pure=False) for block in blocks]
        X = [da.from_delayed(part, (each, d), np.float32, meta=meta) for part in X]
        y = [da.from_delayed(part, (each,), np.int64) for part in y]
        X, y = client.persist([da.concatenate(X), da.concatenate(y)])
        wait([X, y])

        def incremental_of(number: int) -> Any:
            """Dask would know the result of a model that it has fitted before."""
            return Incremental(Sklearn(loss="log_loss", random_state=number), random_state=number)

        incremental, slow, _ = fitted(incremental_of, X, y, classes=[0, 1])
        asked = log_loss(test[1], incremental.estimator_.predict_proba(test[0]))
        lines.append(_peer("dask-ml Incremental of scikit-learn", 1, slow, slow, asked))
        for epochs in (1, 2, 3, 5, 10, 20, 50):
            model, seconds, _ = fitted(partial(on_dask, epochs), X, y)
            loss = log_loss(test[1], model.predict_proba(test[0]))
            lines.append(_peer("fastsgd.dask", epochs, seconds, slow, loss))
            if loss <= asked:
                break
        incremental, passes, spent = incremental_of(0), 0, 0.0
        while passes < MOST_PASSES and asked > loss:
            start = time.perf_counter()
            incremental.partial_fit(X, y, classes=[0, 1])
            spent, passes = spent + time.perf_counter() - start, passes + 1
            asked = log_loss(test[1], incremental.estimator_.predict_proba(test[0]))
        lines.append(_peer("dask-ml, until the loss above or no more", passes, spent, slow, asked))
    return lines


def _peer(name: str, passes: int, seconds: float, slow: float, loss: float) -> dict[str, str]:
    cells = {"fit": name, "passes": str(passes), "seconds": f"{seconds:.2f}"}
    cells |= {"times as fast": f"{slow / seconds:.2g}", "log loss": f"{loss:.5f}"}
    print(cells, flush=True)
    return cells


def linear_xgboost(test: tuple[Any, Any]) -> str:
    """What the linear booster of xgboost.dask says."""
    import dask.array as da
    from xgboost.dask import DaskXGBClassifier

    with client_of(2):
        X, y = (da.from_array(part, chunks=(5_000, *part.shape[1:])) for part in test)
        try:
            DaskXGBClassifier(booster="gblinear", n_estimators=5).fit(X, y)
        except NotImplementedError as error:
            return f"xgboost.dask has no linear model: {error}\n"
    return "xgboost.dask trains a linear model, which is not compared yet.\n"


def loopback_bytes() -> int:
    """Bytes that the loopback device has carried; 0 where the system does not count them."""
    devices = Path("/proc/net/dev")
    lines = devices.read_text().splitlines() if devices.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.strip().startswith("lo:"))


def disk_rate() -> float:
    """Bytes a second of a file that is not in the page cache."""
    part = np.random.default_rng(0).bytes(READ_BYTES)
    with tempfile.NamedTemporaryFile(dir=".") as file:
        for _ in range(DISK_BYTES // READ_BYTES):
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        start, buffer = time.perf_counter(), bytearray(READ_BYTES)
        with open(file.name, "rb", buffering=0) as written:
            while written.readinto(buffer):
                pass
        return DISK_BYTES / (time.perf_counter() - start)


def network_rate(lines: list[dict[str, str]]) -> float:
    """Bytes a second of the rounds that move most."""
    wide = [line for line in lines if line["features"] == "1,000,000"]
    return max(1e9 * float(line["MB moved in a round"]) / float(line["least"]) for line in wide)


def rounds() -> tuple[list[dict[str, str]], float]:
    """Milliseconds of rounds of next to no rows, and bytes that they move; those of 16 shards."""
    lines, overhead = [], 0.0
    with client_of(2) as client:
        for shards in (4, 16, 64):
            for d in (100, 10_000, 1_000_000):
                blocks = [client.submit(sparse_block, part, 8, d, 4) for part in range(shards)]
                seconds, moved = [], {}
                for epochs in (4, 24):  # the difference is that of 20 rounds
                    before = loopback_bytes()
                    model = OnDask(
                        **MODEL, max_iter=epochs, batch_size=8, learning_rate="constant"
                    ).fit(blocks)
                    moved[epochs] = loopback_bytes() - before
                    seconds = model.history_["seconds"][1:]
                found = float(np.median(seconds))
                if (shards, d) == (16, 100):
                    overhead = found
                lines.append(
                    {
                        "shards": str(shards),
                        "features": f"{d:,}",
                        "ms of a round": f"{1e3 * found:.0f}",
                        "least": f"{1e3 * min(seconds):.0f}",
                        "MB moved in a round": f"{(moved[24] - moved[4]) / 20e6:.2f}",
                        "MB of the sums of all shards": f"{shards * d * 16e-6:.2f}",
                    }
                )
                print(lines[-1], flush=True)
    return lines, overhead


def simulated(
    kind: str, rows: int, shard_counts: tuple[int, ...], by_class: bool, test: Any
) -> list[dict[str, str]]:
    """Loss above that of a fit of one machine to convergence, by shards and epochs."""
    X, y = BLOCKS[kind](0, rows)
    if by_class:
        order = np.argsort(y, kind="stable")
        X, y = X[order], y[order]
    local = SGDClassifier(**MODEL | {"tol": 1e-4}, max_iter=50).fit(X, y)
    best = log_loss(test[1], local.predict_proba(test[0]))
    lines = []
    for shards in shard_counts:
        for local_epochs in (1.0, 0.1) if shards <= 64 else (1.0,):
            parts = np.array_split(np.arange(rows), shards)
            held = [Shard(i, X[p[0] : p[-1] + 1], y[p], None) for i, p in enumerate(parts)]
            cells = {"rows": f"{kind}{', by class' * by_class}", "shards": str(shards)}
            cells["local_epochs"] = str(local_epochs)
            for epochs in (1, 5, 20):
                stream = ShardStream(ExecutorEngine(None, held), local_epochs)
                some = stream.sample()
                model = SGDClassifier(**MODEL, max_iter=epochs, n_jobs=1)
                model.fit(Rows(some.X, some.y, some.sample_weight, stream))  # type: ignore[arg-type]
                loss = log_loss(test[1], model.predict_proba(test[0])) - best
                cells[f"{epochs} epochs" if epochs > 1 else "1 epoch"] = f"{loss:+.1e}"
            lines.append(cells)
            print(cells, flush=True)
    return lines


def epoch_seconds(rows: Any, workers: Any, costs: Costs) -> Any:
    """The model of the module, for rows of 400 bytes and a model of 100 features."""
    part = rows / workers
    read = np.where(part * 400.0 > MEMORY, part * 400.0 / costs.disk, 0.0)
    moved = 1600.0 * np.log2(workers) / costs.network
    return np.maximum(part / costs.speed, read) + np.where(workers > 1, costs.round + moved, 0.0)


def draw(costs: Costs) -> None:
    """How many times as fast k workers are as one, by rows."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.colors import LogNorm

    rows, workers = np.logspace(4, 11, 141), np.logspace(1, 10, 91, base=2.0)
    n, k = np.meshgrid(rows, workers)
    gain = epoch_seconds(n, 1.0, costs) / epoch_seconds(n, k, costs)
    figure, ax = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    levels = [0.001, 0.01, 0.1, 0.5, 1, 2, 10, 100, 1000]
    filled = ax.contourf(
        n, k, gain, levels=levels, norm=LogNorm(1e-3, 1e3), cmap="RdBu", extend="both"
    )
    lines = ax.contour(n, k, gain, levels=[1.0], colors="black", linewidths=2)
    ax.clabel(lines, fmt={1.0: "equal"})
    ax.axvline(MEMORY / 400.0, color="black", linestyle=":")
    ax.text(MEMORY / 400.0 * 1.15, 2.3, "more than the\nmemory of one", fontsize=9)
    ax.text(1.5e4, 2.3, "one machine is faster", fontsize=9)
    ax.set(xscale="log", xlabel="rows of 100 float32 features", ylabel="workers")
    ax.set_yscale("log", base=2)
    figure.colorbar(filled, label="times as fast as one worker", format="%g", ticks=levels)
    figure.savefig(DOCS / "distributed.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description="Does a cluster pay?")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows; prints alone")
    parser.add_argument("--no-losses", action="store_true", help="keep those of the page")
    parser.add_argument("--write", action="store_true", help="into the page, though it is quick")
    options = parser.parse_args()
    quick = options.quick
    warnings.simplefilter("ignore")
    scale = 10 if quick else 1
    tests = {kind: block(999, 20_000) for kind, block in BLOCKS.items()}
    parts = []
    dense, speed = fits("dense", 4_000_000 // scale, tests["dense"])
    parts.append(table(f"{4_000_000 // scale:,} rows of 100 float32 features", dense))
    sparse, _ = fits("sparse", 1_000_000 // scale, tests["sparse"])
    parts.append(table(f"{1_000_000 // scale:,} rows of 30 of 50,000 features, CSR", sparse))
    if importlib.util.find_spec("dask_ml"):
        for kind, rows in (("dense", 4_000_000), ("sparse", 1_000_000)):
            title = f"Seconds to the loss of dask-ml, two processes, {rows // scale:,} rows, {kind}"
            parts.append(table(title, peers(kind, rows // scale, tests[kind])))
    if importlib.util.find_spec("xgboost"):
        parts.append(linear_xgboost(tests["dense"]))
    lines, overhead = rounds()
    parts.append(table("A round of 8 rows a shard, on two processes", lines))
    costs = Costs(speed, overhead, network_rate(lines), disk_rate())
    page = DOCS / "distributed.md"
    if options.no_losses:
        parts.append(LOSSES + page.read_text().split(LOSSES)[1].split("\nThe plot has")[0])
    else:
        counts = (4, 64, 256) if quick else (4, 16, 64, 256, 1024)
        lines, rows = [], 128_000 if quick else 512_000
        for kind, by_class in itertools.product(("dense", "sparse"), (False, True)):
            lines += simulated(kind, rows, counts, by_class, tests[kind])
        parts.append(table(f"{LOSSES[4:]}, {rows:,} rows", lines))
    parts.append(
        f"The plot has v = {speed:,.0f} rows a second, h = {1e3 * overhead:.0f} ms, "
        f"{costs.network / 1e9:.2f} GB/s of network and {costs.disk / 1e9:.2f} GB/s of disk, all "
        f"measured, and assumes {MEMORY / 1e9:.0f} GB of memory a worker.\n"
    )
    text = "\n".join(parts)
    print(text)
    if quick and not options.write:
        return
    before, rest = page.read_text().split(BEGIN)
    size = "a quick run, " if quick else ""
    header = f"> {size}{format_header(environment())}\n"
    page.write_text(before + BEGIN + header + "\n" + text + END + rest.split(END)[1])
    draw(costs)


if __name__ == "__main__":
    main()
