"""The fuzz targets of ``tests/fuzz`` for a moment each, and that the runner notices what it should.

``python tests/fuzz/run.py --seconds 3600`` is the long form. The file is also a script, ``python
test_fuzz.py``: the server that forks for each target, see forked.py.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from forked import serve, server_of

FUZZ = Path(__file__).parent / "fuzz"
sys.path.append(str(FUZZ))

from engines import TARGETS, by_chance, corpus_of  # noqa: E402

EXECUTIONS = 10


def attempt(target, known):
    """All inputs that are known, or some by chance, the same in each run; an exception or a signal
    ends the fork."""
    known = bool(known)
    with tempfile.TemporaryDirectory() as folder:
        by_chance(
            argparse.Namespace(
                target=target,
                corpus=[],
                findings=Path(folder),
                executions=len(corpus_of(target, [])) if known else EXECUTIONS,
                mutations_alone=not known,
                seconds=float("inf"),
                longest=50,
                seed=0,
                log=sys.stderr,
            )
        )
    yield {"target": target}


@pytest.fixture(scope="module")
def ask():
    with server_of(__file__) as ask:
        yield ask


@pytest.mark.parametrize("known", [pytest.param("known", marks=pytest.mark.exhaustive), ""])
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found(target, known, ask):
    answer = ask(target, known)
    assert answer == {"results": [{"target": target}], "ended": 0}


def run(*arguments):
    command = [sys.executable, str(FUZZ / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("engine", ("chance", "atheris"))
@pytest.mark.parametrize(
    ("fault", "said"), (("raises", "eight bytes or more"), ("crashes", ""), ("hangs", ""))
)
def test_what_is_wrong_is_found_and_saved(fault, said, engine, tmp_path):
    if engine == "atheris":
        pytest.importorskip("atheris")
    ended = run("--engine", engine, "--seconds", 20, "--longest", 1, "--findings", tmp_path, fault)
    assert ended.returncode == 1
    assert "FOUND" in ended.stdout and said in ended.stdout
    saved = [path for path in tmp_path.glob(f"{fault}-*") if "slow-unit" not in path.name]
    assert len(saved) == 1
    assert len(saved[0].read_bytes()) >= 8
    assert str(saved[0]) in ended.stdout
    if fault == "raises":
        again = run("--replay", saved[0], fault)
        assert again.returncode == 1 and said in again.stderr


def test_targets_that_are_none(tmp_path):
    ended = run("--seconds", 1, "--findings", tmp_path, "nothing")
    assert ended.returncode == 2 and "no target 'nothing'" in ended.stderr


if __name__ == "__main__":
    import sklearn.linear_model  # noqa: F401  # once, before the forks

    import fastsgd  # noqa: F401

    serve(attempt)
