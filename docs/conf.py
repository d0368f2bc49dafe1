"""How the documentation is built: ``python -m sphinx -W --keep-going docs docs/_build/html``."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

import fastsgd

project = "fastsgd"
author = "The fastsgd developers"
copyright = author
version = release = fastsgd.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "matplotlib.sphinxext.plot_directive",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "docstrings",
    "explorers",
    "mathml",
    "public_api",
    "unbroken",
]
exclude_patterns = ["_build", "_extensions", "_templates", "**/README.md"]
templates_path = ["_templates"]
highlight_language = "none"
toc_object_entries_show_parents = "hide"

# Markdown
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4

suppress_warnings = ["myst.header"]  # tables that the benchmarks write have headings of level 3

# Docstrings
autosummary_generate = True
autosummary_imported_members = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# Pictures of the pages
plot_formats = [("png", 110)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_basedir = "."
plot_rcparams = {
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
plot_apply_rcparams = True
warnings.filterwarnings("ignore", message=".*not interactive", category=UserWarning)

# The gallery, of scripts that run while the site is built
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "within_subsection_order": "FileNameSortKey",
    "subsection_order": [
        f"../examples/{name}" for name in ("linear_models", "steps", "data", "models")
    ],
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "write_computation_times": False,
    "plot_gallery": "True",
    "only_warn_on_example_error": False,
    "remove_config_comments": True,
    "reset_modules": ("matplotlib",),
    "capture_repr": (),
    "matplotlib_animations": False,
}

# HTML: nothing is loaded from another host
html_theme = "pydata_sphinx_theme"
html_title = f"fastsgd {release}"
html_math_renderer = "mathml"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["fastsgd.css"]
html_js_files = [("offline.js", {"priority": 300}), "frames.js"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "fastsgd"},
    "show_prev_next": True,
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    # tables of the benchmarks have the width of the sidebar too
    "secondary_sidebar_items": {"**": ["page-toc"], "benchmarks": [], "defaults": []},
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "search_bar_text": "Search the documentation",
}
ALONE = "index", "contributing", "security", "changelog", "reliability"
html_sidebars = {page: [] for page in ALONE}  # nothing is beside them in their section
html_context = {"default_mode": "auto"}


def leave_out(app, name, source):
    """Leave pages out of the table of contents that are not there."""
    if name == "index" and not (Path(app.srcdir) / "reliability.md").exists():
        source[0] = source[0].replace("\nreliability\n", "\n")


def setup(app):
    """Connect it."""
    app.connect("source-read", leave_out)
