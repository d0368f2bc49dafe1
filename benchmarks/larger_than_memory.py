"""Training on data larger than memory, against peers: docs/larger-than-memory.md.

    python benchmarks/larger_than_memory.py --folder data         # 30 GB and more
    python benchmarks/larger_than_memory.py --rows 6000000 20000000
    python benchmarks/larger_than_memory.py --only flights        # the rest of the page is kept
    python benchmarks/larger_than_memory.py --quick               # a minute or two, prints only
    python benchmarks/larger_than_memory.py --render              # page and plot from the .json

The folder has room for the data and for the largest cache of a contestant, and is not in memory
(no tmpfs). Data are written into it once; everything else is removed again. Contestants are in
``out_of_core.py``, what is measured of fastsgd alone in ``out_of_core_checks.py``. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import out_of_core
import out_of_core_checks
from datasets import Unavailable
from out_of_core import CONTESTANTS, watched
from plot import styles
from results import DOCS, markdown_table, put
from stored_data import GENERATED, REAL, Stored, generated, real

from fastsgd.bench import environment, format_header

STORE, PAGE, PLOT = (DOCS / f"larger-than-memory.{kind}" for kind in ("json", "md", "png"))
ROWS = {"dense": 60_000_000, "hashed": 200_000_000}
QUICK_ROWS = {"dense": 200_000, "hashed": 100_000}
QUICK = ("dense", "hashed")
POOL_BYTES, LEAST_POOL, POOLS = 1 << 29, 1 << 22, 4
"""Memory for rows: this at most, and at most so small a part of the data."""

MEMORY, EPOCH, FIRST, SORTED, PREDICT = 300e6, 0.8, 1.3, 1e-3, 0.7
"""What is asked: bytes beside the pool, parts of a rate, times a scan, a loss, a part of a copy."""

XGBOOST_BYTES = {"dense": 2100, "hashed": 1800}
"""Of a row, in its files."""

CHECKS = {
    "dense": ("warm_epochs", "cold_epochs", "first_pass", "class_sorted", "prediction"),
    "hashed": ("warm_epochs", "cold_epochs", "first_pass", "class_sorted", "prediction"),
}


def matrix_bytes(stored: Stored) -> int:
    """Bytes of the rows as a matrix, about."""
    of_row = 4 * len(stored.numbers) + 8 * len(stored.categorical)
    return stored.rows * of_row + (stored.bytes if stored.text else 0)


def pool_of(stored: Stored) -> int:
    return min(POOL_BYTES, max(LEAST_POOL, matrix_bytes(stored) // POOLS))


@dataclass
class Store:
    """All that was measured.

    Attributes
    ----------
    data : dict
        By data set what it is, what the contestants found, and what was checked.
    reasons : dict of str to str
        Why a contestant, a check or a data set is left out.
    """

    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def load() -> Store:
        return Store(**json.loads(STORE.read_text())) if STORE.exists() else Store()

    def save(self) -> None:
        lines = [f"{json.dumps(name)}: {json.dumps(one)}" for name, one in self.data.items()]
        text = '{"data": {\n' + ",\n".join(lines) + "\n},\n"
        STORE.write_text(text + f'"reasons": {json.dumps(self.reasons, indent=1)}}}\n')

    def publish(self) -> None:
        """The JSON, the page and the plot."""
        self.save()
        put(PAGE, self.markdown())
        draw(self.data, PLOT)

    # Judged.

    def verdicts(self) -> Iterator[tuple[str, str, str, bool]]:
        """What was asked, of how much, what was found, and whether that is enough."""
        for name, one in self.data.items():
            checks, pool = one["checks"], one["pool"]
            own = one["contestants"].get("fastsgd")
            if own is not None and own["cache_bytes"] >= POOLS * pool and name in GENERATED:
                yield (
                    f"{name}: peak anonymous memory, pool of {pool / 1e6:.0f} MB",
                    f"{(pool + MEMORY) / 1e6:.0f} MB",
                    f"{own['peak'] / 1e6:.0f} MB",
                    own["peak"] <= pool + MEMORY,
                )
            for kind, cache in (("warm", "in the page cache"), ("cold", "not in the page cache")):
                if f"{kind}_epochs" in checks:
                    rates = checks[f"{kind}_epochs"]["rows_per_second"]
                    least = min(("read", "memory"), key=rates.__getitem__)
                    part = rates["epoch"] / rates[least]
                    said = "sequential read" if least == "read" else "training in memory"
                    yield (
                        f"{name}: rows a second of an epoch, cache {cache}, over those of {said}",
                        f"{EPOCH:.0%}",
                        f"{part:.0%}, {rates['epoch'] / 1e6:.3g} of {rates[least] / 1e6:.3g} M",
                        part >= EPOCH,
                    )
            if "first_pass" in checks:
                found = checks["first_pass"]
                for scan, into in (("scan", "an array a column"), ("rows", "an array (m, d)")):
                    if scan not in found:
                        continue
                    times = found["cache"] / found[scan]
                    yield (
                        f"{name}: making the cache from Parquet, over pyarrow's scan into {into}",
                        f"{FIRST:g} x",
                        f"{times:.2f} x, {found['cache']:.3g} s (blocks {found['blocks']:.3g} s)",
                        times <= FIRST,
                    )
            if "class_sorted" in checks:
                found = checks["class_sorted"]
                gap = found["pools"] - found["reshuffled"]
                yield (
                    f"{name}, stored by class: loss of pools less that of reshuffling in memory",
                    f"{SORTED:g}",
                    f"{gap:+.1e}",
                    abs(gap) <= SORTED,
                )
            if "prediction" in checks:
                found = checks["prediction"]
                part = found["bare"] / found["predict"]
                yield (
                    f"{name}: fastsgd predict, rate over that of reading and writing alone",
                    f"{PREDICT:.0%}",
                    f"{part:.0%}, {found['predict']:.3g} s",
                    part >= PREDICT,
                )

    def missed(self) -> list[str]:
        return [what for what, *_, met in self.verdicts() if not met]

    # Written.

    def markdown(self) -> str:
        machines = dict.fromkeys(one["machine"] for one in self.data.values())
        parts = [f"> {machine}\n" for machine in machines]
        parts += [f"Left out: {what}: {why}\n" for what, why in self.reasons.items()]
        judged = [
            {"": what, "asked": asked, "found": found, "met": "yes" if met else "**no**"}
            for what, asked, found, met in self.verdicts()
        ]
        if judged:
            parts += ["### Asked and found\n", markdown_table(judged)]
        parts += ["### Data\n", markdown_table([_data(*item) for item in self.data.items()])]
        lines = [
            _contestant(name, one, who, found)
            for name, one in self.data.items()
            for who, found in one["contestants"].items()
        ]
        return "\n".join([*parts, "### Passes\n", markdown_table(lines)])


def _data(name: str, one: dict[str, Any]) -> dict[str, str]:
    return {
        "": name,
        "rows": f"{one['rows']:,}",
        "test rows": f"{one['test_rows']:,}",
        "columns": str(one["columns"]),
        "features": f"{one['features']:,}",
        "Parquet, MB": f"{one['bytes'] / 1e6:,.0f}",
        "fastsgd's cache, MB": f"{one['cache_bytes'] / 1e6:,.0f}",
        "pool, MB": f"{one['pool'] / 1e6:.0f}",
    }


def _contestant(name: str, one: dict[str, Any], who: str, found: dict[str, Any]) -> dict[str, str]:
    return {
        "": name,
        "who": who,
        "conversion, s": f"{found['conversion']:.3g}" if found["conversion"] else "-",
        "first pass, s": f"{found['first']:.3g}",
        "a further pass, s": f"{found['further']:.3g}",
        "rows a second": f"{one['rows'] / found['further']:,.0f}",
        "peak memory, MB": f"{found['peak'] / 1e6:,.0f}",
        "test loss, 1 pass": f"{found['losses'][0]:.4f}",
        "3 passes": f"{found['losses'][1]:.4f}",
    }


def draw(data: dict[str, dict[str, Any]], path: Path) -> None:
    """Losses against seconds of the generated data, and memory of fastsgd between them."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    style = styles([*CONTESTANTS])
    fig, axes = plt.subplots(1, 3, figsize=(15.0, 4.4), layout="constrained")
    for ax, name in ((axes[0], "dense"), (axes[2], "hashed")):
        one = data.get(name)
        if one is None:
            ax.axis("off")
            continue
        ends = [loss for found in one["contestants"].values() for loss in found["losses"]]
        low = min(ends)
        top = low + 0.08
        for who, found in one["contestants"].items():
            start = found["conversion"] + found["first"]
            at = [start, start + 2 * found["further"]]
            losses = [min(loss, top) for loss in found["losses"]]
            label = who if max(losses) < top else f"{who}, above {top:.2f}: at the edge"
            ax.plot(at, losses, label=label, **style[who], clip_on=False)
        ax.set(xscale="log", xlabel="seconds, conversion included", ylim=(low - 0.01, top))
        ax.set(ylabel="test loss after 1 and 3 passes")
        ax.set_title(f"{name}, {one['rows']:,} rows")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.legend(frameon=False)
    for name, colour in (("dense", "#d55e00"), ("hashed", "#0072b2")):
        if name not in data or "fastsgd" not in data[name]["contestants"]:
            continue
        one, found = data[name], data[name]["contestants"]["fastsgd"]
        of_end = found["phases"][-1][2]
        points = [(at / of_end, size / 1e6) for at, size in found["memory"] if at <= of_end]
        axes[1].plot(*zip(*points, strict=True), color=colour, label=name)
        allowed = (one["pool"] + MEMORY) / 1e6
        said = f"its pool and {MEMORY / 1e6:.0f} MB"
        axes[1].axhline(allowed, color=colour, linestyle="--", linewidth=1, label=said)
        axes[1].axvline(found["phases"][0][2] / of_end, color=colour, linestyle=":", linewidth=1)
    axes[1].set(xlabel="part of the time; dotted: end of the first pass", ylim=(0, None))
    axes[1].set(ylabel="anonymous memory, MB", title="memory of fastsgd")
    axes[1].set_ylim(top=1.25 * axes[1].get_ylim()[1])  # room for the legend
    axes[1].legend(frameon=False, ncols=2, loc="upper left")
    for ax in axes:
        ax.grid(visible=True, color="0.92", linewidth=0.6)
    fig.savefig(path, dpi=100)
    plt.close(fig)


# Measured.


def measure(stored: Stored, folder: Path, store: Store, asked: argparse.Namespace) -> None:
    """Put what is found of a data set into the store, one process after the other."""
    pool = asked.pool_bytes or pool_of(stored)
    one: dict[str, Any] = {
        "rows": stored.rows,
        "test_rows": stored.test_rows,
        "columns": len(stored.columns),
        "features": stored.features,
        "bytes": stored.bytes,
        "cache_bytes": 0,
        "pool": pool,
        "machine": f"{date.today().isoformat()}: {format_header(environment())}",
        "contestants": {},
        "checks": {},
    }
    before = store.data.get(stored.name, {})
    if all(before.get(key) == one[key] for key in ("rows", "pool")):
        if asked.who:
            one["contestants"] |= before["contestants"]
        if asked.no_checks:
            one["checks"] |= before["checks"]
    store.data[stored.name] = one
    scratch = folder / f"run-{os.getpid()}" / stored.name  # several runs may share the data
    for who in asked.who or CONTESTANTS:
        what = f"{who} on {stored.name}"
        store.reasons.pop(what, None)
        need = XGBOOST_BYTES.get(stored.name, 0) * stored.rows if who == "xgboost" else 0
        if need > shutil.disk_usage(folder).free:
            store.reasons[what] = f"its files would take {need / 1e9:.0f} GB of the disk"
            continue
        start = time.perf_counter()
        try:
            one["contestants"][who] = out_of_core.run(who, stored, scratch, pool)
        except RuntimeError as error:
            store.reasons[what] = str(error)
        _said(what, start)
    if "fastsgd" in one["contestants"]:
        one["cache_bytes"] = one["contestants"]["fastsgd"]["cache_bytes"]
    for check in () if asked.no_checks else CHECKS.get(stored.name, ()):
        what = f"{check} on {stored.name}"
        store.reasons.pop(what, None)
        start = time.perf_counter()
        try:
            one["checks"][check] = checked(check, stored, scratch, pool)
        except RuntimeError as error:
            store.reasons[what] = str(error)
        _said(what, start)
    scratch.parent.rmdir()


def checked(check: str, stored: Stored, scratch: Path, pool: int) -> dict[str, Any]:
    """A check in a process of its own."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    path = scratch / "stored-of-check.json"
    path.write_text(json.dumps(asdict(stored)))
    command = [sys.executable, out_of_core_checks.__file__, check, str(path), str(scratch)]
    try:
        out, _ = watched([*command, str(pool)])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def _said(what: str, start: float) -> None:
    print(f"{what}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("larger-than-memory-data"))
    parser.add_argument(
        "--rows",
        type=int,
        nargs=2,
        metavar=("DENSE", "HASHED"),
        help=f"training rows of the generated data ({ROWS['dense']:,} and {ROWS['hashed']:,})",
    )
    parser.add_argument("--pool-bytes", type=int, help="512 MiB, or a quarter of smaller data")
    parser.add_argument("--only", choices=[*GENERATED, *REAL], help="one data set")
    parser.add_argument(
        "--who", nargs="+", choices=CONTESTANTS, help="these alone; others are kept"
    )
    parser.add_argument("--no-checks", action="store_true", help="passes alone; checks are kept")
    parser.add_argument("--print", action="store_true", help="leave page and plot as they are")
    parser.add_argument("--quick", action="store_true", help="few rows; prints only")
    parser.add_argument("--render", action="store_true", help="page and plot from the .json alone")
    parser.add_argument("--check-targets", action="store_true", help="fail where one is missed")
    asked = parser.parse_args(arguments)
    store = Store() if asked.quick or asked.print else Store.load()
    if not asked.render:
        rows = dict(zip(GENERATED, asked.rows, strict=True)) if asked.rows else ROWS
        rows = QUICK_ROWS if asked.quick else rows
        folder = asked.folder.resolve()
        for name in (*GENERATED, *REAL):
            if asked.only not in (None, name) or (asked.quick and name not in QUICK):
                continue
            store.reasons.pop(name, None)
            where = folder / (f"{name}-quick" if asked.quick else name)
            try:
                is_generated = name in GENERATED
                stored = generated(name, where, rows[name]) if is_generated else real(name, where)
                measure(stored, folder, store, asked)
            except Unavailable as reason:
                store.reasons[name] = str(reason)
            if not (asked.quick or asked.print):  # whatever stops the run, what was measured stays
                store.save()
    print(store.markdown())
    if not (asked.quick or asked.print):
        store.publish()
    return int(asked.check_targets and bool(store.missed()))


if __name__ == "__main__":
    sys.exit(main())
