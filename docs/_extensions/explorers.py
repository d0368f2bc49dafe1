"""Pages of the explorer, made while the site is built, and the directive that shows one in a frame.

``{explorer} logistic`` shows the page of a name of ``PAGES``; its content says which run and step
come first, as the page's address does ("rate=3&momentum=1&step=40", numbers of the choices).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from fastsgd.insight import explore

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PAGES: dict[str, dict[str, Any]] = {
    "logistic": {"problem": "logistic", "batch_sizes": (1, 4, 16, 64, 128), "steps": 150},
    "sine": {"problem": "sine", "steps": 150},
    "network": {"problem": "network", "steps": 150},
}
"""Arguments of ``explore``, by the names of the pages."""

FRAME = """<figure class="explorer">
<iframe src="{url}" title="{title}" loading="lazy"></iframe>
<figcaption><a href="{url}">Open the explorer on a page of its own</a>.</figcaption>
</figure>"""


class Explorer(SphinxDirective):
    """A page of the explorer in a frame, as wide as the text."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the frame."""
        name = self.arguments[0]
        if name not in PAGES:
            raise self.error(f"explorer must be one of {tuple(PAGES)}, got {name!r}")
        here = Path(self.env.docname).parent
        at = os.path.relpath(Path("explorers") / f"{name}.html", here)
        url = "#".join([at, *("".join(self.content).split())])
        html = FRAME.format(url=url, title=f"Explorer: {name}")
        return [nodes.raw("", html, format="html")]


def make_pages(app: Sphinx, error: Exception | None) -> None:
    """Write the pages beside the site's own, after these."""
    if error is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir) / "explorers"
    folder.mkdir(exist_ok=True)
    sources = Path(explore.__code__.co_filename).parent.glob("*.*")
    newest = max(path.stat().st_mtime for path in [Path(__file__), *sources])
    for name, arguments in PAGES.items():
        path = folder / f"{name}.html"
        if not path.exists() or path.stat().st_mtime < newest:
            explore(**arguments).save(path)


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the directive, and make the pages."""
    app.add_directive("explorer", Explorer)
    app.connect("build-finished", make_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
