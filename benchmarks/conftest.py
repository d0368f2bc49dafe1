"""Options and the closing tables of the benchmarks; ``pytest benchmarks`` runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from results import Results
from threadpoolctl import threadpool_limits

from fastsgd.bench import bandwidth, environment, format_header

RESULTS = pytest.StashKey[Results]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--check-targets",
        action="store_true",
        help="fail where a speed-up or a memory target of the benchmarks is missed",
    )
    parser.addoption("--quick", action="store_true", help="fewer tables, less time for each peer")
    parser.addoption(
        "--write", action="store_true", help="put tables and plot into docs/benchmarks.*"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "thorough: left out with --quick")
    config.stash[RESULTS] = Results()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--quick"):
        for item in items:
            if item.get_closest_marker("thorough"):
                item.add_marker(pytest.mark.skip(reason="--quick"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Every library gets one thread, fastsgd and its peers alike."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def read_bandwidth(one_thread: None) -> Callable[[], float]:
    """Bytes a second that one core reads, streaming, measured at each call."""
    return partial(bandwidth, 128, repeats=1)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Results:
    """What the closing report is made of."""
    return request.config.stash[RESULTS]


@pytest.fixture
def check_targets(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--check-targets")


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--quick")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what the benchmarks reported, and write it where that was asked for."""
    results = config.stash[RESULTS]
    if not results.tables:
        return
    header = format_header(environment())
    terminalreporter.section("fastsgd: one thread, medians of interleaved fits")
    terminalreporter.write_line(header)
    for line in results.text():
        terminalreporter.write_line(line)
    if config.getoption("--write"):
        results.write(header)
