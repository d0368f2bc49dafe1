"""The pages of docs/examples run as they stand, and print what they say they print.

``python tests/test_examples.py`` draws their plots anew.
"""

import contextlib
import io
import os
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "examples"
PAGES = sorted(FOLDER.glob("*.md"))
BLOCK = re.compile(r"```(python|text)\n(.*?)```", re.DOTALL)


def run(page):
    """Execute a page's blocks in one namespace; those followed by text must print it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    namespace = {"__name__": page.stem}
    blocks = BLOCK.findall(page.read_text())
    assert blocks[0][0] == "python"
    for i, (kind, code) in enumerate(blocks):
        if kind == "text":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"{page.name}, block {i}", "exec"), namespace)
        if i + 1 < len(blocks) and blocks[i + 1][0] == "text":
            assert printed.getvalue() == blocks[i + 1][1]
    plt.close("all")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    run(page)
    picture = f"{page.stem}.png"
    assert (tmp_path / picture).stat().st_size > 10_000
    assert page.read_text().rstrip().endswith(f"({picture})")
    assert (FOLDER / picture).exists()


def test_there_are_pages():
    assert len(PAGES) == 6


if __name__ == "__main__":
    os.chdir(FOLDER)
    for one in PAGES:
        run(one)
