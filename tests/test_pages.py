"""The code of the README and of the pages runs as it stands, and prints what they say it prints.

``python tests/test_pages.py`` writes into the pages what their code prints now.
"""

import re
import sys
from pathlib import Path

import pages
import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    DOCS / "index.md",
    *sorted(p for f in ("start", "guide", "learn") for p in (DOCS / f).glob("*.md")),
]
RUN = [page for page in PAGES if pages.BLOCK.search(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", RUN, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_page(page, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.chdir(tmp_path)
    assert pages.run(page) == page.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")), ids=lambda path: path.stem)
def test_links_of_the_repository_lead_to_files(path):
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"""\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)\"""", text)
    local = [one or other for one, other in links if "://" not in one and not one.startswith("#")]
    missing = [link for link in local if not (ROOT / link.partition("#")[0]).exists()]
    assert not missing


def test_no_line_of_a_page_is_taken_for_a_comment():
    """The site leaves out lines that begin with a percent sign."""
    pages_of_site = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")]
    lines = [(p.name, line) for p in pages_of_site for line in p.read_text("utf-8").splitlines()]
    assert len(lines) > 5_000
    assert not [(name, line) for name, line in lines if line.lstrip().startswith("%")]


def test_a_page_that_is_wrong_is_found(tmp_path):
    page = tmp_path / "page.md"
    text = "```python\nprint(1)\n```\n\n```text\n{}\n```\n\n```pycon\n>>> 1 + 1\n{}\n```\n"
    page.write_text(text.format(0, 3))
    assert pages.run(page) == text.format(1, 2)


if __name__ == "__main__":
    for one in [Path(name).resolve() for name in sys.argv[1:]] or RUN:
        one.write_text(pages.run(one), encoding="utf-8")
