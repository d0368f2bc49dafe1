"""Docstrings of public names: written as numpydoc asks, and with examples that run.

Public is what stands in ``__all__`` of the package and of the packages below, and the public
methods and properties of these classes.
"""

import ast
import dataclasses
import doctest
import importlib
import importlib.util
import inspect
import re

import pytest

numpydoc_validate = pytest.importorskip("numpydoc.validate")
docscrape = importlib.import_module("numpydoc.docscrape")

PACKAGES = (
    *("fastsgd", "fastsgd.data", "fastsgd.certificate", "fastsgd.insight", "fastsgd.minimization"),
    *("fastsgd.model_selection", "fastsgd.distributed"),
    *(("fastsgd.dask",) if importlib.util.find_spec("distributed") else ()),
    *("fastsgd.optimizers", "fastsgd.losses", "fastsgd.sampling", "fastsgd.schedules"),
    *("fastsgd.problem", "fastsgd.reference", "fastsgd.solver"),
)

UNCHECKED = {
    "ES01": "a summary may be enough",
    "SA01": "not every name is related to another",
    "EX01": "test_examples_run asks classes and functions for examples",
    "SS06": "ruff checks the length of lines",
    "PR05": "a type may be a sentence",
    "PR06": "'str' and 'string' do not differ to a reader",
    "PR08": "names and code may begin a description",
    "PR09": "lists may end a description",
    "RT02": "a single value may have a name",
    "RT04": "names and code may begin a description",
    "RT05": "lists may end a description",
    "SS05": "summaries of classes and of properties are nouns",
    "YD01": "nothing yields",
    "GL09": "nothing is deprecated",
}
"""Codes of numpydoc that are not asked for, and why; all others are."""

OF_CONSTRUCTORS = {"PR01", "PR02", "PR03"}
"""Not asked of results and of exceptions, which users do not make: Attributes describe them."""


def public_names():
    """Qualified name and object of every public class and function."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found.setdefault(f"{package}.{name}", value)
    return found


NAMES = public_names()


def members():
    """The same, and the public methods and properties that its own code defines."""
    found = dict(NAMES)
    for name, value in NAMES.items():
        if not inspect.isclass(value):
            continue
        for attribute in dir(value):
            member = inspect.getattr_static(value, attribute)
            member = getattr(member, "__func__", getattr(member, "func", member))
            is_property = isinstance(member, property)
            code = member.fget if is_property else member
            ours = getattr(code, "__module__", "") or ""
            if attribute.startswith("_") or not ours.startswith("fastsgd"):
                continue
            if is_property or inspect.isfunction(code):
                found[f"{name}.{attribute}"] = member
    return found


MEMBERS = members()


def codes_of(name):
    """Codes of numpydoc that the docstring of a name violates."""
    found = {code for code, _ in numpydoc_validate.validate(name)["errors"]}
    value = MEMBERS[name]
    if inspect.isclass(value) and (
        dataclasses.is_dataclass(value) or issubclass(value, (Exception, Warning, tuple))
    ):
        found -= OF_CONSTRUCTORS
    return found - set(UNCHECKED)


@pytest.mark.parametrize("name", MEMBERS)
def test_docstring(name):
    assert inspect.getdoc(MEMBERS[name])
    wrong = codes_of(name)
    assert not wrong, {code: numpydoc_validate.ERROR_MSGS[code] for code in wrong}


def test_codes_are_those_of_numpydoc():
    assert set(UNCHECKED) | OF_CONSTRUCTORS <= set(numpydoc_validate.ERROR_MSGS)


def examples_of(name):
    """Doctests of a class or function, and of the methods of a class."""
    return [test for test in doctest.DocTestFinder().find(NAMES[name], name) if test.examples]


def has_example(name):
    return any(test.name == name for test in examples_of(name))


def test_a_wrong_docstring_is_found():
    """The codes that are asked for are raised by a docstring without any of it."""

    def undocumented(a, b=1):
        """does something"""
        return a

    module = inspect.getmodule(test_a_wrong_docstring_is_found)
    module.undocumented = undocumented
    found = {code for code, _ in numpydoc_validate.validate(f"{__name__}.undocumented")["errors"]}
    assert {"PR01", "RT01", "SS02", "SS03"} <= found - set(UNCHECKED)


MADE_BY_USERS = (
    *("fastsgd.optimizers", "fastsgd.losses", "fastsgd.schedules"),
    *("fastsgd.problem", "fastsgd.solver"),
)

RESULTS = [
    name
    for name, value in NAMES.items()
    if dataclasses.is_dataclass(value) and not name.startswith(MADE_BY_USERS)
]
"""Classes that functions return."""


@pytest.mark.parametrize("name", RESULTS)
def test_attributes_of_results_are_their_fields(name):
    """In the same order, each with its type and a sentence."""
    parsed = docscrape.ClassDoc(NAMES[name])
    described = [entry for entry in parsed["Attributes"] if entry.desc]
    fields = [field.name for field in dataclasses.fields(NAMES[name])]
    assert [entry.name for entry in described] == fields
    assert all(entry.type for entry in described)


def defaults_of(name):
    """Defaults that the docstring of a class or function gives for its parameters, as texts."""
    value = NAMES[name]
    parsed = (docscrape.ClassDoc if inspect.isclass(value) else docscrape.FunctionDoc)(value)
    described = [*parsed["Parameters"], *parsed["Other Parameters"], *parsed["Attributes"]]
    found = [(entry.name, re.search(r"default=(.+)", entry.type)) for entry in described]
    return {
        one: text
        for names, default in found
        if default
        for one, text in zip(names.split(", "), default[1].split(" and "), strict=True)
    }


def same(text, default):
    """Whether a default is what a docstring calls it."""
    try:
        return ast.literal_eval(text) == default
    except (ValueError, SyntaxError):
        return text.removeprefix("np.") in (repr(default), str(default))


DEFAULTS = {name: found for name in NAMES if (found := defaults_of(name))}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_those_of_the_docstring(name):
    parameters = inspect.signature(NAMES[name]).parameters
    for parameter, text in DEFAULTS[name].items():
        assert same(text, parameters[parameter].default), (parameter, text)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name):
    """Each public class and function has an example; of a class, its methods' too."""
    matplotlib = pytest.importorskip("matplotlib")
    pytest.importorskip("bokeh")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    assert has_example(name)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in examples_of(name):
        said = []
        test.globs = {}
        runner.run(test, out=said.append)
        assert not runner.failures, "".join(said)
    plt.close("all")
