"""Whether the links of the built site lead somewhere, without a network: python docs/links.py

Links within the site must lead to a file, and to an element of it where they name one. What a page
loads by itself (scripts, styles, pictures, frames) must be of the site too.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).parent / "_build" / "html"
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Elements that make a browser load something, and the attribute that says what."""


@dataclass
class Page(HTMLParser):
    """What a page links to, what it loads, and the names of its elements."""

    links: set[str] = field(default_factory=set)
    loads: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.names |= {given[key] for key in ("id", "name") if key in given}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        if tag in LOADS and LOADS[tag] in given:
            self.loads.add(given[LOADS[tag]])


@cache
def read(path: Path) -> Page:
    """A page, parsed."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def wrong(site: Path, path: Path) -> list[str]:
    """What is wrong with the links of a page, one sentence each."""
    page, found = read(path), []
    for link in sorted(page.links | page.loads):
        parts = urlsplit(link)
        if parts.scheme == "data" or (parts.scheme and link not in page.loads):
            continue
        if parts.scheme or parts.netloc:
            found.append(f"loads {link} from another host")
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        if not target.is_file() or not target.is_relative_to(site):
            found.append(f"{link} is no file of the site")
        elif parts.fragment and target.suffix == ".html" and link not in page.loads:
            name = unquote(parts.fragment)
            if name not in read(target).names:
                found.append(f"{link} names no element of that page")
    return found


def check(site: Path) -> list[str]:
    """What is wrong on all pages of a site, each with the page's name.

    Raises
    ------
    FileNotFoundError
        If there are no pages.
    """
    site = site.resolve()
    made_elsewhere = {"explorers", "_static"}
    pages = [path for path in sorted(site.rglob("*.html")) if not made_elsewhere & {*path.parts}]
    if not pages:
        raise FileNotFoundError(f"no pages in {site}: build the site first (CONTRIBUTING.md)")
    return [f"{path.relative_to(site)}: {text}" for path in pages for text in wrong(site, path)]


if __name__ == "__main__":
    problems = check(Path(sys.argv[1]) if len(sys.argv) > 1 else SITE)
    print("\n".join(problems) or "all links of the site lead somewhere")
    sys.exit(bool(problems))
