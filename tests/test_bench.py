"""``python -m fastsgd bench`` on small tables: its table, its JSON, its exit status."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import fields, replace

import numpy as np
import pytest

from fastsgd import __version__, _core, bench
from fastsgd.__main__ import LEAST_ROWS, main

ROWS = 1500
SMALL = {"rows": ROWS, "twin_rows": 300, "repeats": 1}
LINES = [
    ("diabetes", "linear", 331, 10),
    ("breast cancer", "logistic", 426, 30),
    ("digits", "logistic x 10", 1347, 64),
    ("generated", "linear", ROWS, 28),
    ("generated", "logistic", ROWS, 28),
]


@pytest.fixture(scope="module")
def printed() -> str:
    """What a small run prints."""
    with redirect_stdout(io.StringIO()) as out:
        assert bench.run(**SMALL) == 0
    return out.getvalue()


def test_header_names_versions_machine_and_bandwidth(printed):
    header = printed.splitlines()[0]
    assert header.startswith(f"fastsgd {__version__} ({_core.isa()}), Python 3.")
    assert f"NumPy {np.__version__}" in header
    assert bench.cpu_model() in header
    assert header.endswith(" GB/s")


def test_table_has_a_line_for_every_case_under_every_column(printed):
    _, table, notes = printed.split("\n\n")
    head, rule, *lines = table.splitlines()
    cells = [[cell for cell in line.split("  ") if cell] for line in (head, *lines)]
    assert cells[0] == sorted(cells[0], key=lambda name: head.index(name))
    assert [name.strip() for name in cells[0]] == list(bench.COLUMNS)
    assert {len(line) for line in (head, rule, *lines)} == {len(rule)}
    for line, (data, model, rows, features) in zip(cells[1:], LINES, strict=True):
        values = [value.strip() for value in line]
        assert values[:4] == [data, model, f"{rows:,}", str(features)]
        assert all(value.split()[1] in ("s", "ms", "us") for value in values[4:7])
        assert all(value.endswith(" x") for value in values[7:9])
        assert float(values[9]) < 1e-5
    assert "the first 300 rows" in notes


@pytest.fixture(scope="module")
def piped() -> subprocess.CompletedProcess[str]:
    """The command with both outputs in pipes."""
    command = [sys.executable, "-m", "fastsgd", "bench", "--json", "--repeats=1", "--rows=500"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_pipe_gets_no_progress_bar_and_exit_status_0(piped):
    assert piped.stderr == ""
    assert piped.returncode == 0


def test_json_holds_every_figure(piped):
    document = json.loads(piped.stdout)
    assert document["environment"]["fastsgd"] == __version__
    assert document["environment"]["read_bytes_per_second"] > 1e8
    assert document["settings"]["batch_size"] == 1
    assert [r["rows"] for r in document["results"]] == [331, 426, 1347, 500, 500]
    for result in document["results"]:
        assert set(result) == {field.name for field in fields(bench.Result)}
        assert all(math.isfinite(v) for v in result.values() if not isinstance(v, str))
        assert result["difference"] <= result["tolerance"]
        ratio = result["twin_seconds"] / result["fastsgd_seconds"]
        assert result["over_twin"] == pytest.approx(ratio)
        assert result["fastsgd_score"] == pytest.approx(result["sklearn_score"], abs=0.15)


@pytest.fixture(scope="module")
def case() -> bench.Case:
    return replace(bench.make_cases(**SMALL)[-1], repeats=1)


def test_exit_status_1_and_a_message_if_the_twin_differs(case, monkeypatch, capsys):
    monkeypatch.setattr(bench, "make_cases", lambda *_: [case])
    monkeypatch.setattr(bench, "ROUNDING", 0)
    assert bench.run() == 1
    assert "differ by" in capsys.readouterr().err


@pytest.mark.parametrize("twin_rows", [300, None])
def test_twin_and_core_differ_by_rounding(case, twin_rows):
    seconds, difference = bench.compare_with_twin(replace(case, twin_rows=twin_rows))
    assert seconds > 0
    assert difference < bench.ROUNDING * np.finfo(np.float32).eps


def test_part_of_an_epoch_is_scaled_without_the_order(case, monkeypatch):
    clock = iter([2.0, 5.0, 0.0, 0.0])  # twin: order and one row, order and 300 rows; then core

    def seconds_of(function):
        function()
        return next(clock)

    monkeypatch.setattr(bench, "seconds_of", seconds_of)
    assert bench.compare_with_twin(case)[0] == 2.0 + 3.0 * ROWS / 300


def test_the_least_table_is_enough():
    for rows in range(LEAST_ROWS, LEAST_ROWS + 100):
        y = bench.generated_table(rows, 28)[1]["logistic"]
        assert len(np.unique(y)) == 2
    for case in bench.make_cases(LEAST_ROWS, repeats=1)[-2:]:
        assert math.isfinite(bench.measure(case).fastsgd_score)


def test_interleaved_calls_in_turn():
    calls: list[str] = []
    seconds = bench.interleaved([lambda: calls.append("a"), lambda: calls.append("b")], 3)
    assert calls == ["a", "b"] * 3
    assert len(seconds) == 2
    assert min(seconds) >= 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["bench", "--rows", "0"],
        ["bench", "--rows", "1"],
        ["bench", "--rows", "99"],
        ["bench", "--repeats=x"],
        ["explore", "--seed", "-1"],
        ["explore", "--seed", str(2**32)],
    ],
)
def test_bad_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: python -m fastsgd" in capsys.readouterr().err
