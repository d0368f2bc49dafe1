"""``fastsgd convert``: the cache of large files, made ahead."""

from __future__ import annotations

import argparse
import time

from ..data.cache import open_cache, write_cache
from .sources import add_data, open_given
from .terminal import UsageError, add_common, printed_json

__all__ = ["fill", "run"]


def fill(parser: argparse.ArgumentParser) -> None:
    """Give the parser its arguments."""
    add_data(parser, last="DIR")
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read, and write."""
    if len(arguments.data) < 2:
        raise UsageError("name the files, and behind them the folder of the cache")
    *arguments.data, folder = arguments.data
    start = time.perf_counter()
    source = open_given(arguments)
    cache = open_cache(folder, source)
    there = cache is not None
    if cache is None:
        cache = write_cache(source, folder)
    size = sum(cache.bytes_of_block(number) for number in range(cache.count))
    seconds = time.perf_counter() - start
    if arguments.json:
        found = {"folder": folder, "rows": cache.rows, "features": cache.manifest.features}
        printed_json(found | {"bytes": size, "seconds": seconds, "was_there": there})
        return 0
    print(
        f"{folder}: {cache.rows:,} rows of {cache.manifest.features:,} features, {size:,} bytes, "
        + ("was there already" if there else f"{seconds:.2f} s")
    )
    return 0
