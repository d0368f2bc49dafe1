"""The built site in a browser, at the widths of a phone and of a desk.

Build it first (CONTRIBUTING.md). ``FASTSGD_SITE`` names its folder, if it is not docs/_build/html.
"""

import functools
import http.server
import importlib
import json
import os
import re
import threading
from pathlib import Path

import browser
import pytest
from browser import Page, luminance, media

ROOT = Path(__file__).parents[1]
SITE = Path(os.environ.get("FASTSGD_SITE", ROOT / "docs" / "_build" / "html"))
PAGES = (
    *("index", "start/first-fit", "guide/losses", "learning-rate", "learn/variance"),
    *("learn/nonconvex", "gallery/index", "gallery/data/plot_stream", "api/index"),
    *("api/names/fastsgd.SGDClassifier", "benchmarks", "contributing", "decisions/core"),
)
WIDTHS = 390, 1400
FOUND = "learning-rate", "api/names/fastsgd.SGDClassifier"
"""Pages that a search for "learning_rate" has to find."""

pytestmark = pytest.mark.skipif(
    not (SITE / "index.html").exists(), reason="needs the built site: see CONTRIBUTING.md"
)


chromium = browser.chromium


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def host():
    """The site's address on this machine."""
    handler = functools.partial(Quiet, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Site:
    """The site in a browser of a width."""

    wait = Page.wait
    run = Page.run

    def __init__(self, driver, host, width):
        self.browser, self.host, self.width = driver, host, width
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for kind in ("browser", "performance"):
            driver.get_log(kind)

    def open(self, page):
        """Open a page; one of the site has a heading, which Chromium may have a little later."""
        self.browser.get(page if ":" in page else f"{self.host}/{page}")
        if ":" not in page:
            self.wait(lambda: self.find("h1"))

    def find(self, selector):
        return self.browser.find_elements("css selector", selector)

    def complaints(self):
        """Warnings and errors of the console."""
        return [one["message"] for one in self.browser.get_log("browser") if one["level"] != "INFO"]

    def others(self):
        """What was asked of other hosts."""
        events = [json.loads(e["message"])["message"] for e in self.browser.get_log("performance")]
        sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        urls = [one["request"]["url"] for one in sent]
        ours = self.host, "file:", "data:", "blob:", "chrome:", "about:"
        return [url for url in urls if not url.startswith(ours)]


@pytest.fixture(params=WIDTHS)
def site(chromium, host, request):
    media(chromium, "light")
    yield Site(chromium, host, request.param)
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_asks_nobody_and_complains_of_nothing(site, page):
    site.open(f"{page}.html")
    assert site.find("h1")
    assert site.run("return document.documentElement.scrollWidth") <= site.width
    broken = "return [...document.images].filter((i) => i.complete && !i.naturalWidth).length"
    assert site.run(broken) == 0
    assert site.complaints() == []
    assert site.others() == []


def test_navigation(site):
    """From the first page to a section, and on to a page of it, by what is seen."""
    site.open("index.html")
    if site.width < 500:
        site.wait(lambda: site.find("button.primary-toggle"))
        site.find("button.primary-toggle")[0].click()
        drawer = ".pst-sidebar-primary a, dialog[open] a, #pst-primary-sidebar-modal a"
    else:
        drawer = ".bd-header a.nav-link"

    def entry():
        links = [a for a in site.find(drawer) if a.text == "Understand SGD" and a.is_displayed()]
        return links and links[0]

    site.wait(entry)
    entry().click()
    site.wait(lambda: site.browser.current_url.endswith("learn/index.html"))
    link = site.find(".toctree-wrapper a[href='variance.html']")[0]
    site.run("arguments[0].scrollIntoView({block: 'center'})", link)
    link.click()
    site.wait(lambda: site.browser.title.startswith("Variance and the batch size"))
    assert site.complaints() == []


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_search_finds_a_parameter(site, scheme):
    """From a server, and from the files alone."""
    page = "search.html" if scheme == "http" else (SITE / "search.html").as_uri()
    site.open(f"{page}?q=learning_rate")
    found = "#search-results ul.search li a"
    pages = "return [...document.querySelectorAll(arguments[0])].map((a) => a.href)"

    def listed():
        links = site.run(pages, found)
        return all(any(f"/{page}.html" in link for link in links) for page in FOUND)

    site.wait(listed, 30.0)
    assert site.complaints() == []
    assert site.others() == []


def test_dark(site):
    """A page follows the system's theme, and its text can be read; so does the explorer in it."""
    shades = []
    for scheme in ("light", "dark"):
        media(site.browser, scheme)
        site.open("learn/variance.html")
        style = "const s = getComputedStyle(document.querySelector('{}')); return s.{}"
        back = luminance(site.run(style.format("body", "backgroundColor")))
        ink = luminance(site.run(style.format("article p", "color")))
        assert (max(ink, back) + 0.05) / (min(ink, back) + 0.05) > 7.0
        shades.append(back)
        frame = site.find("figure.explorer iframe")[0]
        site.run("arguments[0].scrollIntoView()", frame)
        site.browser.switch_to.frame(frame)
        site.wait(lambda: site.run("return !!window.fastsgdExplorer"), 30.0)
        assert site.run("return window.fastsgdExplorer.state.theme") == scheme
        site.browser.switch_to.default_content()
    assert shades[0] > 0.9 and shades[1] < 0.1
    assert site.complaints() == []


def test_the_explorer_in_a_page(site):
    """It begins where the page says, is as high as its content, and can be used."""
    site.open("learn/momentum.html")
    frame = site.find("figure.explorer iframe")[0]
    site.run("arguments[0].scrollIntoView()", frame)
    site.browser.switch_to.frame(frame)
    site.wait(lambda: site.run("return !!window.fastsgdExplorer"), 30.0)
    state = site.run("return window.fastsgdExplorer.state")
    assert [state[name] for name in ("batch", "rate", "momentum", "step")] == [4, 1, 1, 80]
    assert site.run("return document.documentElement.scrollWidth <= window.innerWidth")

    def whole():
        inner = site.run("return document.documentElement.scrollHeight - window.innerHeight")
        return inner <= 1

    site.wait(whole)
    button = site.browser.find_element("id", "forward")
    site.run("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    site.wait(lambda: site.run("return window.fastsgdExplorer.state.step") == 81)
    site.browser.switch_to.default_content()
    assert site.complaints() == []
    assert site.others() == []


@pytest.fixture
def links(monkeypatch):
    """The checker of links, which is no part of a package."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("links")


def test_every_public_name_has_its_page():
    from test_docstrings import NAMES

    written = {path.stem for path in (SITE / "api" / "names").glob("*.html")}
    by_object = {}
    for name, value in NAMES.items():
        by_object.setdefault(id(value), set()).add(name)
    missing = [names for names in by_object.values() if not names & written]
    assert not missing


def test_examples_ran_without_a_warning():
    pages = sorted((SITE / "gallery").glob("*/plot_*.html"))
    assert len(pages) >= 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "Warning:" not in text and "<img" in text, page.name


def test_links_lead_somewhere(links):
    assert links.check(SITE) == []


def test_numbers_and_dates_do_not_break():
    """Numbers with an exponent and dates would break behind their hyphens."""
    whole = r'<span class="unbroken">{}</span>'
    rates = (SITE / "rates.html").read_text("utf-8")
    cells = [cell for cell in re.findall(r"<td.*?</td>", rates, re.S) if re.search(r"\de-\d", cell)]
    assert len(cells) > 400
    assert not any(re.search(r"\de-\d", re.sub(whole.format(".*?"), "", cell)) for cell in cells)
    stopping = (SITE / "decisions" / "stopping.html").read_text("utf-8")
    assert whole.format("2026-11-28") in stopping


def test_prose_has_arrows_and_signatures_defaults():
    decisions = [page.read_text("utf-8") for page in (SITE / "decisions").glob("*.html")]
    articles = [re.findall(r"<article.*?</article>", page, re.S)[0] for page in decisions]
    prose = [re.sub(r"<(code|pre).*?</\1>", "", article, flags=re.S) for article in articles]
    assert len(prose) > 10 and not any(" -&gt; " in one for one in prose)
    assert any(" → " in one for one in prose)
    pages = [page.read_text("utf-8") for page in (SITE / "api" / "names").glob("*.html")]
    assert len(pages) > 50 and not any("factory&gt;" in page for page in pages)
