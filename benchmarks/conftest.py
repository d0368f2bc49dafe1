"""The option and the closing table of the benchmarks; ``pytest benchmarks`` runs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

from fastsgd.bench import bandwidth, environment, format_header

REPORT = pytest.StashKey[list[dict[str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--check-targets",
        action="store_true",
        help="fail where a speed-up or a memory target of the benchmarks is missed",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REPORT] = []


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Every library gets one thread, fastsgd and its peers alike."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def read_bandwidth(one_thread: None) -> float:
    """Bytes a second that one core reads, streaming."""
    return bandwidth()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> list[dict[str, str]]:
    """Lines of the closing table, as column: cell."""
    return request.config.stash[REPORT]


@pytest.fixture
def check_targets(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--check-targets")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what the benchmarks reported, one table for each set of columns."""
    lines = config.stash[REPORT]
    if not lines:
        return
    terminalreporter.section("fastsgd: one thread, medians of interleaved fits")
    terminalreporter.write_line(format_header(environment()))
    for columns in dict.fromkeys(map(tuple, lines)):
        rows = [columns, *(tuple(line.values()) for line in lines if tuple(line) == columns)]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        terminalreporter.write_line("")
        for row in rows:
            cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
            terminalreporter.write_line("  ".join((row[0].ljust(widths[0]), *cells)))
