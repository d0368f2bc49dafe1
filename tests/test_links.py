"""The checker of the links of the site, on small sites of its own."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def links(monkeypatch):
    """The checker of links, which is no part of a package."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("links")


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("gone.html", "no file"),
        ("other.html#gone", "no element"),
        ("../outside.html", "no file"),
    ],
)
def test_a_wrong_link_is_found(links, tmp_path, link, said):
    (tmp_path / "outside.html").write_text("<p>")
    site = tmp_path / "site"
    site.mkdir()
    (site / "other.html").write_text("<p id='here'>")
    (site / "index.html").write_text(f"<a href='other.html#here'>a</a><a href='{link}'>b</a>")
    found = links.check(site)
    assert len(found) == 1 and said in found[0]


def test_what_is_loaded_from_elsewhere_is_found(links, tmp_path):
    (tmp_path / "index.html").write_text("<script src='https://example.org/a.js'></script>")
    assert "another host" in links.check(tmp_path)[0]


def test_a_site_that_is_not_built_is_an_error(links, tmp_path):
    with pytest.raises(FileNotFoundError, match="build the site first"):
        links.check(tmp_path)
