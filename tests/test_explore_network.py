"""The explorer of networks: its runs against core and twin, its page in a browser."""

import json
import re
from functools import cache
from itertools import product

import browser
import numpy as np
import pytest
from browser import Page, media
from numpy.testing import assert_allclose, assert_array_equal

from fastsgd import _core
from fastsgd.__main__ import main
from fastsgd.descent import VectorDescent
from fastsgd.insight import explore
from fastsgd.insight.explorer.choices import SCHEDULES
from fastsgd.insight.explorer.network_page import SIDE
from fastsgd.insight.explorer.networks import MOST_ROWS, NETWORK_PROBLEMS
from fastsgd.optimizers import SGD
from fastsgd.problem import Data
from fastsgd.reference import network as twin
from fastsgd.sampling import order
from fastsgd.schedules import Schedule

rng = np.random.default_rng(0)
X = rng.normal(size=(61, 2)) * [3.0, 0.2] + [5.0, -1.0]
Y = np.where(X[:, 0] - 5.0 > 3.0 * np.sin(9.0 * X[:, 1]), "up", "down")
FEW = {"steps": 40, "rates": (0.1, 0.6), "batch_sizes": (1, 8, 61), "random_state": 3}


@cache
def found(name):
    """The default exploration of a built-in problem, or one of the rows above."""
    if name in NETWORK_PROBLEMS:
        return explore(name)
    if name == "float32":
        return explore("network", X=X.astype(np.float32), y=Y, activation="logistic", **FEW)
    assert name == "relu"
    return explore("network", X=X, y=Y, activation="relu", hidden=(5, 3), **FEW)


EVERY = (*NETWORK_PROBLEMS, "float32", "relu")


def data_of(one):
    return Data(one.X, one.y.astype(one.X.dtype), None, one.offset, one.scale)


# ------------------------------------------------------------------ runs


@pytest.mark.parametrize("name", EVERY)
def test_runs_have_the_bits_of_the_core(name):
    """Of nouns made by hand, an epoch a call; and by the recorded ``descent``, a step a call."""
    one = found(name)
    data, network, seed = data_of(one), one.network, 0 if name in NETWORK_PROBLEMS else 3
    unit, moved = network.unit(data.dtype), 0
    wanted = product(one.batch_sizes, one.rates, one.momenta, one.schedules)
    for run, (m, rate, beta, schedule) in zip(one.runs, wanted, strict=True):
        assert (run.batch_size, run.rate, run.momentum, run.schedule) == (m, rate, beta, schedule)
        batches, last = -(-data.n // m), len(run.weights) - 1
        constants = SCHEDULES[schedule](one.steps / batches)
        by_hand = VectorDescent(
            eta0=rate,
            batch_size=m,
            optimizer=SGD(beta),
            seed=seed,
            schedule=Schedule(schedule, **constants),
        )
        for descent, most in ((by_hand, batches), (run.descent, 1)):
            state = _core.VectorState(network.length(unit), data.dtype, descent)
            coefs, intercepts = zip(*network.views(one.start), strict=True)
            state.set(network.pack(coefs, intercepts, data.dtype, unit))
            core = _core.NetworkRun(data, network, descent, state)
            while True:
                parts = network.views(state.last(), unit)
                coefs, intercepts = zip(*parts, strict=True)
                theta = network.pack(coefs, intercepts, data.dtype)
                assert run.weights.dtype == data.dtype
                assert theta.tobytes() == run.weights[state.t].tobytes()
                if state.t + most > last:
                    break
                core.advance(1 << 30, state.row + m if most == 1 else None)
        moved += not np.array_equal(run.weights[0], run.weights[-1])
    assert moved == len(one.runs)


@pytest.mark.parametrize("name", EVERY)
def test_gradients_norms_and_losses_are_the_twins(name):
    one = found(name)
    data, network = data_of(one), one.network
    tolerance = {"rtol": 1e-3, "atol": 1e-5} if name == "float32" else {"rtol": 1e-9, "atol": 1e-12}
    every = np.arange(data.n)
    stops = np.cumsum([(inputs + 1) * outputs for inputs, outputs in network.shapes])[:-1]
    for run in one.runs[::5]:
        points = len(run.loss)
        for t in (0, 1, points // 2, points - 1):
            theta = run.weights[t].astype(np.float64)
            rows, y = data.rows(every), data.y.astype(np.float64)
            each = twin.row_gradients(network, theta, rows, y)
            norms = [np.linalg.norm(part, axis=1) for part in np.split(each, stops, axis=1)]
            assert_allclose(run.row_norms[t], np.transpose(norms), **tolerance)
            full, loss, weight = twin.gradient(data, network, theta, every)
            assert_allclose(run.full_gradient[t], full, **tolerance)
            assert_allclose(run.loss[t], loss / weight, **tolerance)
            batch = twin.gradient(data, network, theta, run.batch_rows[t])[0]
            assert_allclose(run.batch_gradient[t], batch, **tolerance)
    assert one.runs[0].row_norms.min() < one.runs[0].row_norms.max()


@pytest.mark.parametrize("name", EVERY)
def test_the_twin_goes_the_same_way(name):
    """Two epochs of every batch size."""
    one = found(name)
    data, network = data_of(one), one.network
    for run in one.runs[:: len(one.runs) // 3]:
        batches = -(-data.n // run.batch_size)
        if batches >= len(run.weights):
            continue
        state = twin.State(network.length(), run.descent)
        state.theta = one.start.copy()
        epochs = min(2, (len(run.weights) - 1) // batches)
        for _ in range(epochs):
            twin.run_epoch(data, network, run.descent, state)
        scale = np.abs(state.theta).max()
        error = np.abs(run.weights[epochs * batches] - state.theta).max()
        assert error < (1e-4 if name == "float32" else 1e-9) * scale


@pytest.mark.parametrize("name", EVERY)
def test_steps_are_made_of_the_gradients_shown(name):
    """w - eta v with v = beta v + g_B, of the rows that the order has."""
    one = found(name)
    n, seed = len(one.X), 0 if name in NETWORK_PROBLEMS else 3
    for run in one.runs:
        v = np.zeros(run.weights.shape[1])
        for t in range(len(run.weights) - 1):
            v = run.momentum * v + run.batch_gradient[t]
            step = run.weights[t + 1].astype(float) - run.weights[t]
            scale = np.abs(run.weights[: t + 2]).max() + np.abs(run.learning_rate[t] * v).max()
            tolerance = 1e-4 if name == "float32" else 1e-9
            assert np.abs(step + run.learning_rate[t] * v).max() < tolerance * scale
        seen = np.concatenate(run.batch_rows)
        epochs = [order("reshuffle", n, seed, e) for e in range(-(-len(seen) // n))]
        assert_array_equal(seen, np.concatenate(epochs)[: len(seen)])
        assert_array_equal(np.diff(run.examples), [len(rows) for rows in run.batch_rows[:-1]])
        assert len(run.loss) == len(run.examples) == len(run.learning_rate) == one.steps + 1
        assert (run.schedule == "constant") == (run.learning_rate == run.rate).all()


def test_the_network_learns_the_rows():
    """What the built-in problems are there for: a curve, which not every run gets."""
    for name in NETWORK_PROBLEMS:
        one = found(name)
        losses = [run.loss[-1] for run in one.runs]
        assert min(losses) < 0.05 < 0.2 < max(losses)
        data = data_of(one)
        best = one.runs[int(np.argmin(losses))].weights[-1]
        scores = twin.forward(one.network, best, data.rows(np.arange(data.n)))[-1][:, 0]
        assert ((scores > 0.0) == (one.y > 0.0)).all()


def test_your_own_rows():
    one = found("relu")
    assert one.classes.tolist() == ["down", "up"]
    assert_array_equal(one.y, Y == "up")
    assert_array_equal(one.X, X)
    assert not np.shares_memory(one.X, X)
    assert one.network.sizes == (2, 5, 3, 1) and one.network.activation == "relu"
    standard = (X - one.offset) * one.scale
    assert_allclose(standard.mean(axis=0), 0.0, atol=1e-12)
    assert_allclose(standard.std(axis=0), 1.0)
    (low, high), _ = one.view
    assert low < X[:, 0].min() and high > X[:, 0].max()
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["length", "width"])
    small = {"steps": 2, "rates": (0.1,), "momenta": (0.0,), "batch_sizes": (4,)}
    assert explore("network", X=frame, y=Y == "up", **small).names == ("length", "width")
    assert explore("network", X=X.tolist(), y=Y.tolist(), **small).runs[0].loss[-1] > 0.0
    constant = np.column_stack([X[:, 0], np.full(61, 7.0)])
    assert np.isfinite(explore("spiral", X=constant, y=Y, **small).runs[0].weights).all()


def test_a_run_that_diverges_ends():
    one = explore("network", activation="relu", rates=(1e12,), schedules=("constant",), steps=60)
    assert all(run.diverged for run in one.runs)
    for run in one.runs:
        assert 1 <= len(run.loss) == len(run.weights) == len(run.batch_rows) <= 60
        assert np.isfinite(run.weights).all() and np.isfinite(run.row_norms).all()
    pytest.importorskip("bokeh")
    assert "NaN" not in re.search(r'id="data">(.*?)</script>', one.html, re.DOTALL)[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"y": Y}, "X must be given"),
        ({"X": X}, "y must be given"),
        ({"X": X[:, :1], "y": Y}, "X must have 2 features"),
        ({"X": np.column_stack([X, X]), "y": Y}, "X must have 2 features"),
        ({"X": np.full((3, 2), np.nan), "y": [0, 1, 0]}, "X contains NaN"),
        ({"X": np.full((2, 2), 1e300) * [[1.0], [-1.0]], "y": [0, 1]}, "X must have features"),
        ({"X": np.zeros((MOST_ROWS + 1, 2)), "y": np.zeros(MOST_ROWS + 1)}, "X must have at most"),
        ({"X": X, "y": Y[:5]}, "y must have as many values"),
        ({"X": X, "y": np.arange(61) % 3}, "y must have two classes"),
        ({"X": X, "y": np.zeros(61)}, "y must have two classes"),
        ({"X": X, "y": X[:, 0]}, "y must have two classes"),
        ({"X": X, "y": np.where(Y == "up", None, 3)}, "y must have two classes"),
        ({"X": X, "y": np.where(Y == "up", np.nan, 3.0)}, "y must have two classes"),
        ({"problem": ["network"]}, "problem must be one of"),
        ({"hidden": ()}, "hidden must be"),
        ({"hidden": 8}, "hidden must be"),
        ({"hidden": "8"}, "hidden must be"),
        ({"hidden": (17,)}, "hidden must be"),
        ({"hidden": (0,)}, "hidden must be"),
        ({"hidden": (True,)}, "hidden must be"),
        ({"hidden": (2.5,)}, "hidden must be"),
        ({"hidden": (4, 4, 4)}, "hidden must be"),
        ({"hidden": [[4]]}, "hidden must be"),
        ({"activation": "cubic"}, "activation must be"),
        ({"activation": 3}, "activation must be"),
        ({"estimator": object()}, "estimator must be None"),
        ({"start": (0.0, 0.0)}, "start must be None"),
        ({"coordinates": (0, "intercept")}, "coordinates must be left out"),
        ({"batch_sizes": (200,)}, "batch_sizes must"),
        ({"rates": (0.0,)}, "rates must"),
        ({"momenta": (1.0,)}, "momenta must"),
        ({"schedules": ("auto",)}, "schedules must"),
        ({"steps": 0}, "steps must"),
        ({"random_state": -1}, "random_state must"),
        ({"problem": "logistic", "hidden": (3,)}, "hidden and activation are for networks"),
        ({"problem": "sine", "activation": "tanh"}, "hidden and activation are for networks"),
    ],
)
def test_bad_input(arguments, said):
    with pytest.raises(ValueError, match=said):
        explore(**{"problem": "network"} | arguments)


# ------------------------------------------------------------------ the page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    pytest.importorskip("bokeh")
    return found("network").save(tmp_path_factory.mktemp("explore") / "network.html")


@pytest.mark.parametrize("name", EVERY)
def test_the_page_is_one_small_document(name):
    pytest.importorskip("bokeh")
    text = found(name).html
    assert len(text.encode()) < 5_000_000
    body = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"(src|href)=\"(?!data:,)", body)
    assert not re.search(r"<script[^>]+src=|@import|url\(", body)
    assert "$" not in body and "{" not in re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)


def test_names_are_text_on_the_page():
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("bokeh")
    frame = pandas.DataFrame(X, columns=["<b>", '"&'])
    y = np.where(Y == "up", "</script>", "<i>$x")
    text = explore("network", X=frame, y=y, steps=2, rates=(0.1,), batch_sizes=(4,)).html
    assert text.count("</script>") == text.count("<script")
    body = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert "class &lt;i&gt;$x" in body and "class &lt;/script&gt;" in body
    assert "&lt;b&gt; and &quot;&amp;" in body and "<i>" not in body and "<b>" not in body


def test_command(tmp_path, capsys):
    pytest.importorskip("bokeh")
    target = tmp_path / "runs.html"
    assert main(["explore", "network", "--output", str(target)]) == 0
    assert "36 runs" in capsys.readouterr().out
    assert "half moons" in target.read_text("utf-8")
    with pytest.raises(SystemExit):
        main(["explore", "network", "--problem", "sine"])


# ------------------------------------------------------------------ in a browser

chromium = browser.chromium


@pytest.fixture
def explorer(chromium, page):
    """The page at its start: paused, at step 0, nothing zoomed."""
    opened = Page(chromium, page, again=chromium.current_url == page.as_uri())
    if opened.state["playing"]:
        opened.press("play")
    opened.press("first")
    opened.press("reset")
    for name, value in (("batch", 1), ("rate", 1), ("momentum", 0), ("schedule", 0), ("speed", 1)):
        opened.choose(name, value)
    opened.run("document.activeElement.blur()")
    return opened


def chosen(batch=1, rate=1, momentum=0, schedule=0):
    """The run of four choices, by their numbers."""
    return found("network").runs[((batch * 3 + rate) * 2 + momentum) * 2 + schedule]


def at(explorer, run, step):
    """Whether the page stands at a step of a run: parameters within their rounding."""
    state = explorer.state
    assert state["step"] == step
    error = np.abs(np.array(state["weights"]) - run.weights[step]).max()
    return error < 2e-5 * np.abs(run.weights[step]).max()


def image(explorer):
    """The drawn probabilities (SIDE, SIDE), and the coordinates of their points."""
    drawn = explorer.run("""const { image, x, y, dw, dh } = window.fastsgdExplorer.model("regions",
        "image").data; return [Array.from(image[0]), x[0], y[0], dw[0], dh[0]]""")
    codes, x, y, dw, dh = drawn
    middle = (np.arange(SIDE) + 0.5) / SIDE
    grid = np.stack(np.meshgrid(x + dw * middle, y + dh * middle), axis=-1)
    return np.array(codes).reshape(SIDE, SIDE), grid.reshape(-1, 2)


def probability(one, run, step, points):
    """The twin's, at points (p, 2)."""
    standard = (points - one.offset) * one.scale
    theta = run.weights[step].astype(np.float64)
    return twin.forward(one.network, theta, standard)[-2][:, 0]


def test_it_opens_at_once_and_asks_for_nothing(chromium, page):
    for _ in range(3):  # other work on the machine may delay one
        opened = Page(chromium, page)
        milliseconds = opened.run("return window.fastsgdExplorer.loaded")
        if milliseconds < 2000.0:
            break
    assert milliseconds < 2000.0
    opened.press("last")
    opened.run("return new Promise(requestAnimationFrame)")
    events = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    urls = [one["request"]["url"] for one in sent if one["documentURL"] == page.as_uri()]
    assert page.as_uri() in urls
    assert not [url for url in urls if not url.startswith(("file:", "data:", "blob:"))]
    wrong = [entry for entry in chromium.get_log("browser") if entry["level"] != "INFO"]
    assert not wrong, wrong
    sizes = opened.run("""return [...document.querySelectorAll(".plot")].map(
        (plot) => [plot.clientWidth, plot.clientHeight, plot.children.length])""")
    assert len(sizes) == 5 and all(w > 200 and h > 150 and n == 1 for w, h, n in sizes)


def test_buttons_step_and_jump(explorer):
    run = chosen()
    assert at(explorer, run, 0)
    explorer.press("forward")
    explorer.press("forward")
    assert at(explorer, run, 2)
    explorer.press("back")
    assert at(explorer, run, 1)
    explorer.press("last")
    assert at(explorer, run, 200)
    explorer.press("first")
    assert at(explorer, run, 0)


@pytest.mark.parametrize("step", (0, 45, 200))
def test_the_regions_are_those_of_the_run(explorer, step):
    """Probabilities as bytes, and the line where they are 1/2."""
    one, run = found("network"), chosen(momentum=1)
    explorer.choose("momentum", 1)
    explorer.seek(step)
    codes, grid = image(explorer)
    expected = 255.0 * probability(one, run, step, grid).reshape(SIDE, SIDE)
    assert np.abs(codes - expected).max() < 1.0
    assert codes.max() - codes.min() > 60
    ends = explorer.drawn("regions", "boundary")
    points = np.transpose([ends["x0"] + ends["x1"], ends["y0"] + ends["y1"]])
    assert len(points) > SIDE
    cell = np.ptp(grid, axis=0) / (SIDE - 1)
    around = [points + cell * [i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    beside = [probability(one, run, step, moved) for moved in around]
    assert (np.min(beside, axis=0) < 0.5).all() and (np.max(beside, axis=0) > 0.5).all()


def test_what_is_drawn_is_the_run(explorer):
    """Rows as large as their gradients are long, those of the next batch ringed; the charts."""
    one, run, step = found("network"), chosen(), 30
    explorer.seek(step)
    assert at(explorer, run, step)
    norms = np.linalg.norm(run.row_norms, axis=2)
    seen = []
    for k in range(2):
        drawn = explorer.drawn("regions", f"class{k}")
        rows = np.array(drawn["row"])
        assert (one.y[rows] == k).all()
        places = np.transpose([drawn["x"], drawn["y"]])
        assert_array_equal(places, one.X[rows].astype("<f4"))
        sizes = np.clip(20.0 * np.sqrt(norms[step, rows] / norms[0].max()), 5.0, 34.0)
        assert np.abs(np.array(drawn["size"]) - sizes).max() < 0.1
        seen += drawn["row"]
    assert sorted(seen) == list(range(128))
    assert sorted(explorer.drawn("regions", "batch")["row"]) == sorted(run.batch_rows[step])
    runs = [chosen(batch=b) for b in range(3)] + [chosen(momentum=1)]
    for i, other in enumerate(runs):
        curve = explorer.drawn("loss-steps", f"path{i}")
        assert_allclose(np.array(curve["y"], dtype=float), other.loss, rtol=1e-6)
        assert explorer.drawn("loss-examples", f"path{i}")["x"] == other.examples[1:].tolist()
    assert_allclose(explorer.drawn("rate-chart", "path0")["y"], run.learning_rate, rtol=1e-6)
    gradients = run.full_gradient, run.batch_gradient
    parts = [part for g in gradients for part in np.split(g, [24], axis=1)]  # 2 x 8 and 8
    for i, part in enumerate(parts):
        drawn = explorer.drawn("norm", f"path{i}")["y"]
        assert_allclose(drawn, np.linalg.norm(part, axis=1), rtol=1e-5)
        head = explorer.drawn("norm", f"head{i}")
        assert head["x"] == [step] and head["y"] == [drawn[step]]
    said = explorer.browser.find_element("id", "readout").text
    assert said.startswith("step 30 of 200 · 480 examples (3.75 epochs)")
    wrong = ((probability(one, run, step, one.X) > 0.5) != (one.y > 0.5)).sum()
    assert f"loss {run.loss[step]:.3g}" in said and f"{wrong} of 128 rows" in said


@pytest.mark.parametrize("batch", (0, 1, 2))
def test_the_rows_of_every_next_batch_are_ringed(explorer, batch):
    run = chosen(batch=batch)
    explorer.choose("batch", batch)
    for step in (0, 7, 8, 127, 128, 200):  # also the last of an epoch
        explorer.seek(step)
        rows = explorer.drawn("regions", "batch")["row"]
        assert sorted(rows) == sorted(run.batch_rows[step])


@pytest.mark.parametrize(
    ("name", "count"), [("batch", 3), ("rate", 3), ("momentum", 2), ("schedule", 2)]
)
def test_every_choice_is_a_run_of_its_own(explorer, name, count):
    explorer.press("last")
    pictures = set()
    for value in range(count):
        explorer.choose(name, value)
        assert at(explorer, chosen(**{name: value}), 200)
        pictures.add(image(explorer)[0].tobytes())
        assert explorer.state[name] == value
    assert len(pictures) == count
    labels = [o.text for o in explorer.browser.find_elements("css selector", f"#{name} option")]
    assert len(labels) == count and "" not in labels


def test_keys_play_and_zoom(explorer):
    from selenium.webdriver import Keys

    explorer.type(Keys.ARROW_RIGHT * 3, Keys.ARROW_LEFT)
    assert explorer.state["step"] == 2
    explorer.type(Keys.END)
    assert explorer.state["step"] == 200
    explorer.type(Keys.HOME)
    explorer.type(" ")
    explorer.wait(lambda: explorer.state["step"] >= 2)
    explorer.type(" ")
    assert not explorer.state["playing"]
    before, (_, whole) = explorer.state["view"], image(explorer)
    explorer.type("i")
    assert explorer.state["view"][0] > before[0] and explorer.state["view"][1] < before[1]
    _, near = image(explorer)
    assert_allclose(np.ptp(near, axis=0), 0.7 * np.ptp(whole, axis=0))
    explorer.type("r")
    assert_allclose(explorer.state["view"], before)


def test_what_is_shown_can_be_changed(explorer):
    explorer.press("rings")
    assert explorer.drawn("regions", "batch")["row"] == []
    explorer.press("rings")
    assert len(explorer.drawn("regions", "batch")["row"]) == 16
    explorer.press("sizes")
    assert set(explorer.drawn("regions", "class0")["size"]) == {9}
    explorer.press("sizes")
    assert len(set(explorer.drawn("regions", "class0")["size"])) > 10


def test_light_and_dark(chromium, page):
    for scheme in ("dark", "light"):
        media(chromium, scheme)
        explorer = Page(chromium, page)
        assert explorer.state["theme"] == scheme
        assert explorer.contrast("#readout") > 7.0
        assert explorer.contrast("footer") > 4.5
        shades = explorer.run(
            """return window.fastsgdExplorer.model("regions", "shades").palette"""
        )
        assert len(set(shades)) > 100
        undecided = [int(shades[128][i : i + 2], 16) for i in (1, 3, 5)]
        assert (max(undecided) < 80) == (scheme == "dark")
        for mark in (".mark.class0", ".mark.class1", ".mark.layer0", ".mark.layer1"):
            assert explorer.contrast(mark) > 3.0
    media(chromium, "light")


def test_a_phone_needs_no_sideways_scrolling(chromium, page):
    size = {"width": 375, "height": 720, "deviceScaleFactor": 2, "mobile": True}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        explorer = Page(chromium, page)
        wide, room = explorer.run("""return [Math.max(document.documentElement.scrollWidth,
            ...[...document.querySelectorAll("body *")].map(
                (one) => one.getBoundingClientRect().right)), innerWidth]""")
        assert room == 375 and wide <= room
        tops = explorer.run("""return [...document.querySelectorAll(".plot")].map(
            (plot) => plot.getBoundingClientRect().top)""")
        assert tops == sorted(set(tops))  # one below the other
        explorer.press("forward")
        assert explorer.state["step"] == 1
    finally:
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("name", ("relu", "float32", "spiral"))
def test_other_networks_are_drawn_too(chromium, tmp_path, name):
    """Two layers, other functions, your own rows, runs that end."""
    one = found(name)
    explorer = Page(chromium, one.save(tmp_path / "page.html"))
    state = explorer.state
    run = one.runs[state["run"]]
    explorer.press("last")
    codes, grid = image(explorer)
    expected = 255.0 * probability(one, run, len(run.loss) - 1, grid).reshape(SIDE, SIDE)
    assert np.abs(codes - expected).max() < 1.5
    wrong = [entry for entry in chromium.get_log("browser") if entry["level"] != "INFO"]
    assert not wrong, wrong


def test_a_run_that_diverges_says_so(chromium, tmp_path):
    one = explore("network", activation="relu", rates=(1e12,), schedules=("constant",), steps=60)
    explorer = Page(chromium, one.save(tmp_path / "page.html"))
    explorer.press("last")
    run = one.runs[explorer.state["run"]]
    said = explorer.browser.find_element("id", "readout").text
    assert said.startswith(f"diverged after {len(run.weights) - 1} steps")
    wrong = [entry for entry in chromium.get_log("browser") if entry["level"] != "INFO"]
    assert not wrong, wrong
