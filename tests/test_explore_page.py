"""The explorer's page: what its legend says, the ticks of its axes, and the page as a frame."""

import re

import browser
import numpy as np
import pytest
from browser import Page, media

from fastsgd.insight import explore

chromium = browser.chromium

LOG_AXES = (
    ("loss-steps", "left"),
    ("loss-examples", "left"),
    ("loss-examples", "below"),
    ("norm", "left"),
)
TICKS = """const figure = window.fastsgdExplorer.figures[arguments[0]];
    const axis = figure[arguments[1]][0];
    const range = figure[arguments[1] === "left" ? "y_range" : "x_range"];
    return [[range.start, range.end], [...axis.ticker.ticks],
      [...axis.ticker.ticks].map((v) => axis.major_label_overrides.get(v))]"""


@pytest.fixture(scope="module", params=["logistic", "least-squares", "network"])
def opened(chromium, request, tmp_path_factory):
    pytest.importorskip("bokeh")
    one = explore(request.param, steps=40)
    path = one.save(tmp_path_factory.mktemp("explore") / "page.html")
    return Page(chromium, path), one


@pytest.mark.parametrize("rate", range(3))
@pytest.mark.parametrize("batch", range(3))
def test_logarithmic_axes_have_ticks_within_their_range(opened, batch, rate):
    page, _ = opened
    page.choose("batch", batch)
    page.choose("rate", rate)
    for figure, side in LOG_AXES:
        (low, high), ticks, labels = page.run(TICKS, figure, side)
        assert 3 <= len(ticks) <= 10
        assert low <= min(ticks) and max(ticks) <= high
        assert np.all(np.diff(ticks) > 0.0)
        assert len(set(labels)) == len(ticks) and all(labels)


@pytest.mark.parametrize("rate", range(3))
def test_losses_of_runs_that_do_not_diverge_are_within_the_axes(opened, rate):
    """Single samples with momentum rise to a hundred times the loss of the start."""
    page, _ = opened
    page.choose("batch", 0)
    page.choose("rate", rate)
    page.choose("momentum", 1)
    (_, high), *_ = page.run(TICKS, "loss-steps", "left")
    lines = [page.drawn("loss-steps", f"path{i}")["y"] for i in range(4)]
    page.choose("momentum", 0)
    lines = [np.array(line, dtype=float) for line in lines]
    start = lines[0][0]
    for line in lines:
        peak = np.nanmax(line)
        assert peak < high or peak > 1000 * start
    assert high < 2000 * start


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_legend_says_which_shade_is_low(opened, theme):
    """The bar goes from the colour of the least loss to that of the largest, as the plane does."""
    page, one = opened
    media(page.browser, theme)
    bar = page.browser.find_element("css selector", ".marks .bar")
    text = bar.find_element("xpath", "..").text
    shades = page.run("return getComputedStyle(arguments[0]).backgroundImage", bar)
    assert "linear-gradient" in shades
    if hasattr(one, "landscape"):
        assert text.index("low") < text.index("high")
        assert f"{one.landscape.min():.3g}" in text
        alphas = [float(part) for part in re.findall(r"([\d.]+)\)(?=,|\))", shades)]
        assert len(alphas) > 10 and np.all(np.diff(alphas) > 0.0)
    else:
        assert all(f"class {name}" in text for name in one.classes)


def test_a_frame_names_a_run_and_a_step(chromium, tmp_path):
    pytest.importorskip("bokeh")
    inner = explore("least-squares", steps=40).save(tmp_path / "inner.html")
    outer = tmp_path / "outer.html"
    outer.write_text(
        f"""<!doctype html><iframe src="{inner.name}#batch=0&rate=1&momentum=1&step=7&schedule=99"
        style="width: 360px; height: 300px"></iframe><script>
        window.heard = [];
        addEventListener("message", (event) => {{ window.heard.push(event.data.fastsgdHeight);
          event.source.postMessage({{ fastsgdTheme: "dark" }}, "*"); }});</script>"""
    )
    chromium.get(outer.as_uri())
    frame = chromium.find_element("css selector", "iframe")
    chromium.switch_to.frame(frame)
    page = Page(chromium, outer, again=True)
    names = "batch", "rate", "momentum", "step", "schedule"
    assert [page.state[name] for name in names] == [0, 1, 1, 7, 0]
    page.wait(lambda: page.state["theme"] == "dark")
    high = page.run("return document.body.getBoundingClientRect().height")
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    chromium.switch_to.default_content()
    assert chromium.execute_script("return window.heard")[-1] >= high - 1.0
