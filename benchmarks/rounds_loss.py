"""How near to the minimum rounds on shards come, and what becomes of momentum between rounds.

    python benchmarks/rounds_loss.py             tables of docs/distributed.md and decisions.md
    python benchmarks/rounds_loss.py --quick     a quarter of the rows, one seed
    python benchmarks/rounds_loss.py --cluster   seconds on two processes

Shards are simulated in one process: no figure is a time but those of ``--cluster``, which fits the
data of benchmarks/cluster.py on two processes with and without ``finish="lbfgs"``. The measure is

    (P(w, b) - P*) / (P(0, 0) - P*)

in percent, P the objective over the training rows, and P* its minimum: by L-BFGS until the duality
gap says that it is near enough.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from cluster import BLOCKS, PARTITIONS, table

from fastsgd import SGDClassifier
from fastsgd.certificate import certificate
from fastsgd.distributed import Common, Part, Plan, Shard
from fastsgd.distributed.executors import ExecutorEngine
from fastsgd.distributed.full_batch import finish_fit
from fastsgd.distributed.stream import ShardStream
from fastsgd.estimators.rows import Rows
from fastsgd.problem import Data, Lanes, Settings

MODEL: dict[str, Any] = {"loss": "log_loss", "tol": None, "n_jobs": 1}
ALPHA, SHARDS, LOCAL_EPOCHS = 1e-4, (4, 16, 64), (1.0, 0.1)


class Restarting(ExecutorEngine):
    """Begins momentum or averages anew in every round."""

    def train(self, plan: Plan, common: Common) -> Part:
        """See :class:`ExecutorEngine`."""
        vectors = common.vectors.copy()
        if plan.settings.momentum:
            vectors[1] = 0.0
            intercepts = common.intercepts.copy()
            intercepts[1] = 0.0
            common = replace(common, vectors=vectors, intercepts=intercepts)
        if plan.settings.average:
            settings = replace(plan.settings, average=int(common.t.max()) + 1)
            plan = replace(plan, settings=settings)
        return super().train(plan, common)


class Problem:
    """Rows, their shards, and the minimum."""

    def __init__(self, kind: str, rows: int, by_class: bool) -> None:
        self.name = f"{kind}{', by class' * by_class}"
        X, y = BLOCKS[kind](0, rows)
        if by_class:
            order = np.argsort(y, kind="stable")
            X, y = X[order], y[order]
        self.X, self.y = X, y
        self.at_zero = float(np.log(2.0))
        self.found = self.fit(1, 1.0, 5, iterations=1000)
        proof = self.certified(self.found)
        self.least, gap = float(proof.objective[0]), float(proof.duality_gap[0])
        print(f"{self.name}: P* {self.least:.8f}, at most {gap:.1e} above the minimum", flush=True)

    def certified(self, model: Any) -> Any:
        """Objective and gap of a model."""
        data = Data(self.X, self.y.astype(np.float32), None, checked=True)
        lanes, settings = Lanes(1, ALPHA, 1.0), Settings("log_loss", sign_targets=True)
        return certificate(data, lanes, settings, model.coef_, model.intercept_)

    def gap(self, model: Any) -> float:
        """The measure, in percent."""
        value = float(self.certified(model).objective[0])
        return 100.0 * (value - self.least) / (self.at_zero - self.least)

    def fit(
        self,
        shards: int,
        local_epochs: float,
        epochs: int,
        *,
        iterations: int = 0,
        restarts: bool = False,
        **more: Any,
    ) -> Any:
        """A fit in rounds."""
        parts = np.array_split(np.arange(len(self.y)), shards)
        held = [Shard(i, self.X[p[0] : p[-1] + 1], self.y[p], None) for i, p in enumerate(parts)]
        stream = ShardStream((Restarting if restarts else ExecutorEngine)(None, held), local_epochs)
        some = stream.sample()
        model = SGDClassifier(**{"random_state": 0, **MODEL, **more}, alpha=ALPHA, max_iter=epochs)
        rows: Any = Rows(some.X, some.y, some.sample_weight, stream)
        model.fit(rows)
        if iterations:
            finish_fit(model, stream, iterations)
        return model


def suboptimality(problem: Problem) -> list[dict[str, str]]:
    """By shards and local_epochs, and of the fit of one machine."""
    lines = []
    for shards, local_epochs in [(0, 1.0), *((s, e) for s in SHARDS for e in LOCAL_EPOCHS)]:
        cells = {"rows": problem.name, "shards": str(shards) if shards else "one machine"}
        cells["local_epochs"] = str(local_epochs) if shards else ""
        for epochs in (1, 5, 20):
            if shards:
                model = problem.fit(shards, local_epochs, epochs)
            else:
                model = SGDClassifier(**MODEL, random_state=0, alpha=ALPHA, max_iter=epochs)
                model.fit(problem.X, problem.y)
            cells[f"{epochs} epochs" if epochs > 1 else "1 epoch"] = f"{problem.gap(model):.3f}"
        for iterations in (10, 20, 50):
            cells[f"1 epoch, {iterations} of L-BFGS"] = ""
            if shards:
                model = problem.fit(shards, local_epochs, 1, iterations=iterations)
                gap, rounds = problem.gap(model), model.finish_["rounds"]
                cells[f"1 epoch, {iterations} of L-BFGS"] = f"{gap:.3f} ({rounds} rounds)"
        lines.append(cells)
        print(cells, flush=True)
    return lines


def carried(problem: Problem, seeds: int) -> list[dict[str, str]]:
    """Momentum and averages that are averaged, against those that begin anew in every round."""
    lines = []
    options = {
        "momentum 0.9": {"momentum": 0.9, "batch_size": 16},
        "average": {"average": True, "batch_size": 1},
    }
    for shards in SHARDS:
        for local_epochs in LOCAL_EPOCHS:
            cells = {"rows": problem.name, "shards": str(shards), "local_epochs": str(local_epochs)}
            for name, more in options.items():
                for restarts in (False, True):
                    found = []
                    for seed in range(seeds):
                        how = {"restarts": restarts, "random_state": seed, **more}
                        found.append(problem.gap(problem.fit(shards, local_epochs, 5, **how)))
                    how = "restarted" if restarts else "carried"
                    cells[f"{name}, {how}"] = f"{np.median(found):.3f}"
            lines.append(cells)
            print(cells, flush=True)
    return lines


def on_cluster(kind: str, rows: int) -> list[dict[str, str]]:
    """Seconds and loss on two processes, with and without L-BFGS."""
    import dask
    from distributed import Client, LocalCluster, wait

    from fastsgd.dask import SGDClassifier as OnDask

    lines = []
    with (
        LocalCluster(2, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as cluster,
        Client(cluster) as client,
    ):
        each = rows // PARTITIONS
        blocks = [dask.delayed(BLOCKS[kind])(part, each) for part in range(PARTITIONS)]
        blocks = client.compute(blocks)
        wait(blocks)
        everything = client.gather(blocks)
        problem = object.__new__(Problem)
        stack = np.concatenate if kind == "dense" else __import__("scipy.sparse").sparse.vstack
        problem.X = stack([X for X, _ in everything])
        problem.X = problem.X.tocsr() if kind == "sparse" else problem.X
        problem.y = np.concatenate([y for _, y in everything])
        problem.name, problem.at_zero = kind, float(np.log(2.0))
        problem.least = float(
            problem.certified(problem.fit(1, 1.0, 3, iterations=1000)).objective[0]
        )
        for epochs, iterations in ((1, 0), (3, 0), (10, 0), (30, 0), (1, 10), (1, 20), (1, 50)):
            finish = {"finish": "lbfgs", "finish_max_iter": iterations} if iterations else {}
            start = time.perf_counter()
            model = OnDask("log_loss", tol=None, random_state=0, max_iter=epochs, **finish)
            model.fit(blocks)
            seconds = time.perf_counter() - start
            cells = {"rows": f"{rows:,} {kind}", "epochs": str(epochs)}
            cells |= {"L-BFGS": str(iterations), "seconds": f"{seconds:.2f}"}
            cells["percent above the minimum"] = f"{problem.gap(model):.4f}"
            lines.append(cells)
            print(cells, flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="How near to the minimum do rounds come?")
    parser.add_argument("--quick", action="store_true", help="a quarter of the rows, one seed")
    parser.add_argument("--cluster", action="store_true", help="seconds on two processes alone")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.cluster:
        lines = [line for kind in BLOCKS for line in on_cluster(kind, 1_000_000)]
        print(table("With and without L-BFGS, two processes", lines))
        return
    rows, fewer, seeds = (128_000, 32_000, 1) if options.quick else (512_000, 128_000, 3)
    above, between = [], []
    for kind, by_class in (("dense", False), ("sparse", False), ("dense", True), ("sparse", True)):
        above += suboptimality(Problem(kind, rows, by_class))
        between += carried(Problem(kind, fewer, by_class), seeds)
    print(table(f"Percent above the minimum, {rows:,} rows", above))
    print(table(f"Momentum and averages between rounds, 5 epochs, {fewer:,} rows", between))


if __name__ == "__main__":
    main()
