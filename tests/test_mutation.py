"""The mutation run of ``tests/mutation``: its places, what they become, and that it counts rightly.

``python tests/mutation/run.py c --count 500`` is the run itself.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

MUTATION = Path(__file__).parent / "mutation"
sys.path.append(str(MUTATION))

import c_places  # noqa: E402
import places  # noqa: E402
import python_places  # noqa: E402


@pytest.fixture(scope="module")
def of_python():
    return python_places.places()


def test_no_two_places_have_the_same_name(of_python):
    assert len({place.key for place in of_python}) == len(of_python) > 3000


def test_a_sample_is_that_of_its_seed(of_python):
    one, same, other = (places.sampled(of_python, 20, seed) for seed in (1, 1, 2))
    assert one == same != other
    assert len(set(one)) == 20


def test_lines_that_differ_from_a_commit(tmp_path, monkeypatch):
    """Changed and added ones, as they are numbered now; not those of other folders."""
    monkeypatch.setattr(places, "ROOT", tmp_path)
    for name in ("src", "csrc", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("".join(f"line {i}\n" for i in range(9)))

    def git(*words):
        by = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(("git", *by, *words), cwd=tmp_path, check=True, capture_output=True)

    for words in (
        ("init",),
        ("config", "diff.noprefix", "true"),
        ("add", "."),
        ("commit", "-m", "one"),
    ):
        git(*words)
    assert places.changed_since("HEAD") == set()
    lines = [f"line {i}\n" for i in range(9)]
    for name in ("src", "tests"):
        changed = [*lines[:2], "new\n", "new\n", *lines[2:5], "other\n", *lines[7:]]
        (tmp_path / name / "a.py").write_text("".join(changed))
    git("commit", "-a", "-m", "two")
    (tmp_path / "csrc" / "a.py").write_text("".join(lines[:-1]) + "end\n")
    expected = {("src/a.py", 3), ("src/a.py", 4), ("src/a.py", 8), ("csrc/a.py", 9)}
    assert places.changed_since("HEAD~1") == expected
    assert places.changed_since("HEAD") == {("csrc/a.py", 9)}


FUNCTIONS = {
    "a < b": ["a <= b"],
    "a is b": ["a is not b"],
    "a < b <= 3": ["a <= b <= 3", "a < b < 3", "a < b <= 4"],
    "a + b * 2": ["a - b * 2", "a + b / 2", "a + b * 3"],
    "a and not b": ["a or not b", "a and b"],
    "-a if b else True": ["a if b else True", "-a if not b else True", "-a if b else False"],
    "sum(x for x in range(a) if x > b)": ["sum(x for x in range(a) if x >= b)"],
}
STATEMENTS = {
    "if a > b: a = b": ["if a >= b: a = b", "if not a > b: a = b"],
    "a += b": ["a -= b"],
    "c = [a]\n c.append(b)\n a = c": ["c = [a]\n a = c"],
    "while a < 3: return b": ["while a <= 3: return b", "while not a < 3: return b"],
}
CODES = {f"return {code}": [f"return {each}" for each in of] for code, of in FUNCTIONS.items()}
CODES |= {
    f"{code}\n return a": [f"{each}\n return a" for each in of] for code, of in STATEMENTS.items()
}
ARGUMENTS = [(a, b) for a in (0, 1, 3, 7) for b in (0, 1, 3, 7)]


def values(text):
    """What a function makes of arguments; an exception is its name."""
    found = {}
    exec(text, found)
    answers = []
    for a, b in ARGUMENTS:
        try:
            answers.append(found["f"](a, b))
        except ArithmeticError as error:
            answers.append(type(error).__name__)
    return answers


@pytest.mark.parametrize("code", CODES)
def test_a_mutant_of_python_is_chosen_while_it_runs(code, tmp_path, monkeypatch):
    """All mutants are in one text: unchosen, it does what it did; chosen, what the mutant does."""
    (tmp_path / "file.py").write_text(f'"""Text."""\ndef f(a, b):\n {code}\n')
    file = python_places.File(tmp_path / "file.py", tmp_path)
    count = len(file.places())
    text = file.text({at: at + 1 for at in range(count)})
    assert ast.get_docstring(ast.parse(text)) == "Text."
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "fastsgd_mutants.py").write_text(python_places.MODULE.format(count=count))
    import fastsgd_mutants

    try:
        shown = []
        for number in range(count + 1):
            fastsgd_mutants.chosen = number
            shown.append(values(text))
        assert shown[0] == values(file.source)
        assert sum(fastsgd_mutants.marks) == count
        for mutant in CODES[code]:
            assert values(f"def f(a, b):\n {mutant}\n") in shown[1:]
    finally:
        del sys.modules["fastsgd_mutants"]


def c_place(text, code, change, **of):
    start = text.index(code)
    place = {"path": "x.c", "line": 1, "change": change, "code": text}
    return c_places.CPlace(start=start, end=start + len(code), **place, **of)


def test_mutants_of_c_may_lie_in_each_other():
    text = "x = a <\n b + 1;"
    of_less = c_place(text, "a <\n b + 1", "<", parts=((4, 5), " <= ", (9, 14)))
    of_plus = c_place(text, "b + 1", "+", parts=((9, 10), " - ", (13, 14)))
    removed = c_place(text, "x = a <\n b + 1", "removed", removed=True)
    chosen = [(3, removed), (2, of_plus), (1, of_less)]
    assert c_places.rendered(text, 0, len(text), chosen[1:2]) == (
        "x = a <\n (MUTANT(2) ? ((b) - (1)) : (b + 1));"
    )
    sum_of_b = "(MUTANT(2) ? ((b) - (1)) : (b + 1))"
    compared = f"(MUTANT(1) ? ((a) <= ({sum_of_b})) : (a <\n {sum_of_b}))"
    assert c_places.rendered(text, 0, len(text), chosen) == (
        f"(MUTANT(3) ? (void)0 : (void)(x = {compared}));"
    )


@pytest.fixture(scope="module")
def of_c():
    pytest.importorskip("clang.cindex", reason="pip install libclang")
    if not list(Path("/usr/lib/gcc").glob("*/*/include")):
        pytest.skip("gcc's headers are not in /usr/lib/gcc")
    return c_places.places()


def test_places_of_c_are_where_they_say(of_c):
    assert len({place.key for place in of_c}) == len(of_c) > 8000
    for place in of_c:
        text = (places.ROOT / place.path).read_text(encoding="latin-1")
        code = places.flat(text[place.start : place.end])
        assert place.change.startswith(f"{code} -> ")
        assert place.code in text.splitlines()[place.line - 1]


def test_equivalent_mutants_are_of_places(of_python, of_c):
    """Their list has no place that the sources no longer have, and a reason for each."""
    known = {place.key for place in [*of_python, *of_c]}
    for key, reason in places.equivalents().items():
        assert key in known
        assert len(reason.split()) > 3


TOY = """
import time, warnings, pytest, toy

@pytest.mark.filterwarnings("ignore:of this test")
def test_sign():
    warnings.warn("of this test")
    assert toy.sign(3) == 1

def test_loop():
    assert toy.loop(3) == 3
"""
LIBRARY = """
chosen, marks = 0, bytearray(6)

def at(number):
    marks[number] = 1
    return number == chosen

def sign(x):
    return (1 if at(1) else 1) if x > (5 if at(2) else 0) else (0 if at(3) else -1)

def loop(n):
    while at(4):
        pass
    return n + at(5)
"""
SCRIPT = """
import sys, pytest, forks, toy
from pathlib import Path

forks.SLACK = 0.2

class Switch:
    def choose(self, number): toy.chosen = number
    def forget(self): toy.marks[:] = bytes(6)
    def reached(self): return bytes(toy.marks)

ends = {}
plugin = forks.Mutation(
    Switch, {n: str(n) for n in range(1, 6)}, lambda n, end, test, _: ends.update({n: (end, test)}),
    Path("known"), jobs=2,
)
options = ["-q", "-s", "-p", "no:cacheprovider", "-W", "error"]
code = pytest.main([*options, "test_toy.py"], plugins=[plugin])
assert code == 0, code
print([ends[n] for n in range(1, 6)])
"""


def test_mutants_end_as_they_should(tmp_path):
    for name, text in {"test_toy": TOY, "toy": LIBRARY, "script": SCRIPT}.items():
        (tmp_path / f"{name}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(MUTATION)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == [
        ("survived", ""),
        ("killed", "test_toy.py::test_sign"),
        ("unreached", ""),
        ("timeout", "test_toy.py::test_loop"),
        ("killed", "test_toy.py::test_loop"),
    ]
