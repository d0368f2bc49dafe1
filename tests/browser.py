"""A headless Chromium, and the explorer's page in it, for the tests of its pages."""

import re
import shutil
import time

import numpy as np
import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1366,860",
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A headless browser of its own profile, which notes messages and requests."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    from selenium.webdriver.chrome.service import Service

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    started.get("about:blank")
    yield started
    started.quit()


class Page:
    """The explorer in a browser: its state, its controls, its keys."""

    def __init__(self, browser, path, again=False):
        self.browser = browser
        if not again:
            for kind in ("browser", "performance"):  # what came before is not of this page
                browser.get_log(kind)
            browser.get(path.as_uri())
        self.wait(lambda: self.run("return !!window.fastsgdExplorer"))

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def wait(self, condition, seconds=10.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.02)

    @property
    def state(self):
        return self.run("return window.fastsgdExplorer.state")

    def drawn(self, figure, name):
        """The data of a source, as lists."""
        script = """const data = window.fastsgdExplorer.model(arguments[0], arguments[1]).data;
            return Object.fromEntries(Object.entries(data).map(([k, v]) => [k, Array.from(v)]))"""
        return self.run(script, figure, name)

    def press(self, name):
        self.browser.find_element("id", name).click()

    def choose(self, name, value):
        from selenium.webdriver.support.ui import Select

        Select(self.browser.find_element("id", name)).select_by_value(str(value))

    def type(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def contrast(self, name):
        """Of an element's text with the page behind it, as WCAG has it."""
        style = f"const s = getComputedStyle(document.querySelector('{name}'));"
        ink = luminance(self.run(f"{style} return s.color"))
        back = luminance(self.run("return getComputedStyle(document.body).backgroundColor"))
        return (max(ink, back) + 0.05) / (min(ink, back) + 0.05)

    def seek(self, step):
        self.run(
            "const s = document.getElementById('seek'); s.value = arguments[0]; "
            "s.dispatchEvent(new Event('input'))",
            step,
        )

    def at(self, run, step):
        """Whether the state stands at a step of a run, as it was drawn."""
        state = self.state
        assert state["step"] == step
        return np.array_equal(state["weights"], run.weights[step].astype("<f4"))


def luminance(colour):
    """Of a colour as CSS has it."""
    parts = [int(part) / 255.0 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def media(browser, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
