"""Pages of the API reference: every public name, from the lists that the modules have of them.

A page a module, with a table of its names, and a page a name. Public is what stands in ``__all__``.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from docstrings import prepared
from sphinx.pycode import ModuleAnalyzer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FIELD = type(NamedTuple("Tuple", [("field", int)]).field)  # type: ignore[misc]
"""What a class of tuples has for a field."""

MODULES = {
    "fastsgd": "Estimators, searches, and the functions most programs need.",
    "fastsgd.schedules": "Schedules of the learning rate, for `learning_rate=`.",
    "fastsgd.optimizers": "How a step moves a weight, for `optimizer=`.",
    "fastsgd.losses": "Losses with their slopes, and losses of your own.",
    "fastsgd.sampling": "Orders of the rows, as pure functions of seed and epoch.",
    "fastsgd.insight": "Gradients and noise of a model, experiments, and the explorer.",
    "fastsgd.model_selection": "Searches by cross-validation, and paths of penalties.",
    "fastsgd.minimization": "Models of your own.",
    "fastsgd.data": "Sources of rows: files, tables, iterators.",
    "fastsgd.dask": "The linear models on a Dask cluster.",
    "fastsgd.distributed": "Rounds of training on any cluster, as pure functions.",
    "fastsgd.certificate": "How far a model is from the minimum at most.",
    "fastsgd.network": "A multilayer perceptron and its objective.",
    "fastsgd.problem": "Rows, hyper-parameters and settings, as the solver takes them.",
    "fastsgd.solver": "The solver behind the estimators.",
    "fastsgd.reference": "The same mathematics in plain NumPy.",
}
"""Public modules, in the order of the reference, and what they are for."""


def names(module: str) -> dict[str, list[str]]:
    """Public names of a module: classes, functions, others, which are constants, and what an
    earlier module has too."""
    kinds = "Classes", "Functions", "Constants", "Elsewhere"
    found: dict[str, list[str]] = {kind: [] for kind in kinds}
    imported = importlib.import_module(module)
    earlier = list(MODULES)[: list(MODULES).index(module)]
    for name in imported.__all__:
        value = getattr(imported, name)
        if inspect.ismodule(value) or name.startswith("__"):
            continue
        homes = [one for one in earlier if has(one, name, value)]
        if homes and callable(value):
            found["Elsewhere"].append(f"{homes[0]}.{name}")
        elif inspect.isclass(value):
            found["Classes"].append(name)
        elif inspect.isroutine(value):
            found["Functions"].append(name)
        else:
            found["Constants"].append(name)
    return found


def has(module: str, name: str, value: Any) -> bool:
    """Whether a module has this object, by this name."""
    imported = importlib.import_module(module)
    return name in imported.__all__ and getattr(imported, name) is value


def page(module: str) -> str:
    """The page of a module, as reStructuredText."""
    lines = [module, "=" * len(module), "", MODULES[module].replace("`", "``"), ""]
    lines += [f".. currentmodule:: {module}", ""]
    for kind, of_kind in names(module).items():
        if not of_kind:
            continue
        lines += [kind, "-" * len(kind), ""]
        if kind == "Elsewhere":
            lines += [*(f"* :obj:`{name}`" for name in of_kind), ""]
        elif kind == "Constants":
            for name in of_kind:
                lines += [f".. py:data:: {name}", ""]
                lines += [*(f"   {line}" for line in prepared(documentation(module, name))), ""]
        else:
            lines += [".. autosummary::", "   :toctree: names", "   :nosignatures:", ""]
            lines += [f"   {name}" for name in of_kind]
            lines.append("")
    return "\n".join(lines)


def documentation(module: str, name: str) -> list[str]:
    """Lines of the string below a constant, in whichever module of the package defines it.

    Raises
    ------
    ValueError
        If there is none.
    """
    value = getattr(sys.modules[module], name)
    for home in [module, *sorted(one for one in sys.modules if one.startswith("fastsgd."))]:
        python = str(sys.modules[home].__file__).endswith(".py")
        if python and getattr(sys.modules[home], name, None) is value:
            lines = ModuleAnalyzer.for_module(home).find_attr_docs().get(("", name))
            if lines:
                return lines
    raise ValueError(f"{module}.{name} has no description")


def write_pages(folder: Path) -> None:
    """Write the pages of all modules; a page that is as it should be is left alone."""
    found = {module: names(module) for module in MODULES}
    pages = [f"{m}.{n}.rst" for m in found for n in found[m]["Classes"] + found[m]["Functions"]]
    for old in (folder / "names").glob("*.rst"):
        if old.name not in pages:
            old.unlink()
    for module in MODULES:
        path, text = folder / f"{module}.rst", page(module)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def skip(app: Any, what: str, name: str, value: Any, skipped: bool, options: Any) -> bool | None:
    """Whether a member is left out: what scikit-learn and the standard library give a class, and
    fields of tuples, which are among the attributes."""
    if isinstance(value, FIELD):
        return True
    code = inspect.unwrap(getattr(value, "fget", None) or getattr(value, "func", value))
    home = getattr(code, "__module__", None)
    if what == "class" and inspect.isroutine(code) and not str(home).startswith("fastsgd"):
        return True
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages before Sphinx looks for its sources."""
    write_pages(Path(app.srcdir) / "api")
    app.connect("autodoc-skip-member", skip)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
