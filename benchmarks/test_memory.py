"""Peak memory of ``fit``, in a fresh process for each layout and type of X."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from memory import LAYOUTS
from results import Results

SCRIPT = Path(__file__).with_name("memory.py")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_growth_of_fit(layout: str, report: Results, check_targets: bool) -> None:
    command = [sys.executable, str(SCRIPT), layout]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    rows = result["rows"]
    report.append(
        {
            "peak memory of fit": f"{layout}, {rows:,} rows",
            "X": f"{result['x_bytes'] / 1e6:.0f} MB",
            "growth": f"{result['growth_bytes'] / 1e6:.1f} MB",
            "a row": f"{result['growth_bytes'] / rows:.0f} bytes",
            "budget": f"{result['budget_bytes'] / 1e6:.1f} MB",
        }
    )
    assert result["growth_bytes"] > 0, "even the order of the rows takes room"
    if check_targets:
        assert result["growth_bytes"] <= result["budget_bytes"]
