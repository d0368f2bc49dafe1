"""The pictures of docs/explorer.md, of pages in a headless Chromium: python docs/explorer.py"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import Select, WebDriverWait

from fastsgd.insight import explore

HERE = Path(__file__).resolve().parent

PICTURES = (
    ("logistic", {"rate": 2}, 30),
    ("network", {"rate": 0, "momentum": 1}, 60),
)
"""Problems, what is chosen, and the step; drawn to explorer-PROBLEM.png."""


def main() -> None:
    """Draw them."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    folder = Path(tempfile.mkdtemp())
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    browser.set_window_size(1366, 900)
    for problem, choices, step in PICTURES:
        browser.get(explore(problem).save(folder / f"{problem}.html").as_uri())
        ready = "return !!window.fastsgdExplorer"
        WebDriverWait(browser, 20).until(lambda one, ready=ready: one.execute_script(ready))
        for name, value in choices.items():
            Select(browser.find_element("id", name)).select_by_value(str(value))
        browser.execute_script(
            """const seek = document.getElementById("seek"); seek.value = arguments[0];
            seek.dispatchEvent(new Event("input")); document.activeElement.blur();
            const { theme } = window.fastsgdExplorer.state;
            if (theme === "dark") document.getElementById("theme").click();""",
            step,
        )
        drawn = "return new Promise((done) => setTimeout(done, 500))"
        browser.execute_script(drawn)
        browser.save_screenshot(str(HERE / f"explorer-{problem}.png"))
    browser.quit()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
