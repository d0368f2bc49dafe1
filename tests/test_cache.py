"""The cache of blocks on disk: whatever comes into it comes out, and nothing else is believed.

The file is also a script, ``python test_cache.py CASE FOLDER``: cases that are killed, that run at
once, or that may use no more disk or memory, each in processes of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("xxhash")

from cuts import X_KINDS, Y_KINDS, cache_of, dense, factory, joined, matrix, targets

from fastsgd.data import Block, open_source
from fastsgd.data.cache import Cache, open_cache, write_cache
from fastsgd.data.manifest import MANIFEST, _checksum
from fastsgd.data.partial import remove_folder
from fastsgd.data.reading import PoolReader

EXAMPLES = 4000 if os.environ.get("FASTSGD_EXHAUSTIVE") else 80
"""Mutations of a cache."""


def examples(count: int) -> settings:
    """So many, the same in each run."""
    fixtures = [HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=fixtures,
    )


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def nothing_else(folder: Path, *names: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


# Round trips.


@pytest.mark.parametrize("kind", X_KINDS)
@examples(15)
@given(
    of_y=st.sampled_from(Y_KINDS),
    weighted=st.booleans(),
    n=st.one_of(st.integers(1, 200), st.integers(1000, 1500)),
    data=st.data(),
)
def test_rows_come_back_however_they_were_cut(tmp_path, kind, of_y, weighted, n, data):
    seed = data.draw(st.integers(0, 99))
    X, y = matrix(kind, n, seed=seed), targets(of_y, n, seed)
    weight = np.random.default_rng(seed).random(n) if weighted else None
    cuts = data.draw(st.lists(st.integers(0, n), max_size=5))
    block_bytes = data.draw(st.integers(1, 4000))
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    for folder in (cut, whole):
        shutil.rmtree(folder, ignore_errors=True)
    cache = cache_of(cut, cuts, X, y, weight, block_bytes=block_bytes)
    cache_of(whole, [], X, y, weight, block_bytes=block_bytes)
    assert files(cut) == files(whole)
    assert nothing_else(tmp_path, "cut", "whole")
    sizes = [*map(cache.rows_of_block, range(cache.count))]
    assert sum(sizes) == n
    assert len({*sizes[:-1]}) <= 1
    assert (cache.count > 1) == (n > sizes[0])
    X_read, y_read, weight_read = joined([*cache.blocks()])
    assert X_read.dtype == X.dtype
    np.testing.assert_array_equal(dense(X_read), dense(X))
    assert (y_read is None) == (y is None)
    if y is not None:
        np.testing.assert_array_equal(y_read, y)
        assert y_read.dtype == y.dtype or y.dtype.kind == "U"
    assert (weight_read is None) == (weight is None)
    if weight is not None:
        np.testing.assert_array_equal(weight_read, weight)
    if y is not None and y.ndim == 1:
        assert {*cache.labels.tolist()} == {*y.tolist()}
        of_label = dict(zip(cache.labels.tolist(), cache.label_weights, strict=True))
        for label, sum_of_weights in of_label.items():
            rows = y == label
            assert sum_of_weights == pytest.approx(
                rows.sum() if weight is None else weight[rows].sum()
            )


@pytest.mark.parametrize("kind", ["float32", "csr32"])
def test_rows_of_very_different_lengths_are_cut_alike(tmp_path, kind):
    n = 5000
    X = matrix(kind, n, d=30)
    if kind == "csr32":  # the first rows are short
        lengths = np.where(np.arange(n) < 600, 1, 30)
        indices = np.concatenate([np.arange(length) for length in lengths]).astype(np.int32)
        indptr = np.append(0, np.cumsum(lengths)).astype(np.int32)
        X = sp.csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(n, 30))
    y = targets("integers", n)
    cuts = [[], [100], [*range(7, n, 7)], [1, 2, 3, 4500]]
    caches = [
        cache_of(tmp_path / str(k), cut, X, y, block_bytes=20000) for k, cut in enumerate(cuts)
    ]
    assert caches[0].count > 2
    first, *others = [files(cache.folder) for cache in caches]
    assert all(other == first for other in others)


def test_a_sample_is_of_even_rows_and_has_every_label(tmp_path, monkeypatch):
    monkeypatch.setattr("fastsgd.data.first_pass.SAMPLE_ROWS", 100)
    n = 3000
    X = np.arange(n, dtype=np.float64)[:, None]
    y = np.zeros(n, dtype=np.int64)
    y[[1777, 2001]] = 1, 2
    sample = cache_of(tmp_path / "cache", [], X, y).sample()
    rows = sample.X[:, 0].astype(int)
    assert {1777, 2001} <= {*rows}
    assert len(rows) == len({*rows}) < 110
    even = np.diff(rows[:-2])
    assert (even == even[0]).all()
    np.testing.assert_array_equal(sample.y, y[rows])


def test_a_sample_of_few_rows_is_all_of_them(tmp_path):
    X, y = matrix("float32", 300), targets("strings", 300)
    sample = cache_of(tmp_path / "cache", [50], X, y).sample()
    np.testing.assert_array_equal(sample.X, X)
    np.testing.assert_array_equal(sample.y, y)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda X, y: (X.astype(np.float32), y, None), "X of one kind"),
        (lambda X, y: (X[:, :2], y, None), "X of one kind"),
        (lambda X, y: (sp.csr_array(X), y, None), "X of one kind"),
        (lambda X, y: (X, None, None), "must have y"),
        (lambda X, y: (X, np.stack([y, y], axis=1), None), "must have y"),
        (lambda X, y: (X, y, np.ones(len(X))), "must have sample_weight"),
        (lambda X, y: (X, y.astype(str), None), "y must be of one kind"),
        (lambda X, y: (X, y > 0, None), "y must be of one kind"),
        (lambda X, y: (X, y + 0.5, None), "y has dtype int64 in the first block"),
    ],
)
def test_blocks_of_several_kinds_are_refused(tmp_path, second, message):
    X, y = matrix("float64", 100), targets("integers", 100)
    blocks = [Block(X, y), Block(*second(X, y))]
    with pytest.raises(ValueError, match=message):
        write_cache(open_source(factory([], X, y)), tmp_path / "cache", blocks=blocks)
    assert nothing_else(tmp_path)


def test_targets_and_weights_take_the_dtype_of_the_first_block(tmp_path):
    X, y, weight = matrix("float64", 100), targets("integers", 100), np.ones(100)
    blocks = [Block(X, y.astype(">i2"), weight), Block(X, 1.0 * y, weight.astype(np.float32))]
    cache = write_cache(open_source(factory([], X, y)), tmp_path / "cache", blocks=blocks)
    _, y_read, weight_read = joined([*cache.blocks()])
    np.testing.assert_array_equal(y_read, np.append(y, y))
    assert (y_read.dtype, weight_read.dtype) == (np.int16, np.float64)


def test_too_many_strings_are_no_classes(tmp_path):
    X, y = matrix("float32", 10_001), np.array([f"row {i}" for i in range(10_001)], dtype=object)
    with pytest.raises(ValueError, match=r"more than 10,000 different strings"):
        cache_of(tmp_path / "cache", [], X, y)
    assert nothing_else(tmp_path)
    cache = cache_of(tmp_path / "numbers", [], X, np.arange(10_001))
    assert cache.labels is None


def test_a_source_may_use_its_arrays_again(tmp_path):
    X, y = matrix("float64", 3000), targets("real", 3000)
    room, room_of_y = np.empty((70, 5)), np.empty(70)

    def blocks():
        for start in range(0, 3000, 70):
            m = min(70, 3000 - start)
            room[:m], room_of_y[:m] = X[start : start + m], y[start : start + m]
            yield room[:m], room_of_y[:m]

    cache = write_cache(open_source(blocks), tmp_path / "cache", block_bytes=9000)
    X_read, y_read, _ = joined([*cache.blocks()])
    np.testing.assert_array_equal(X_read, X)
    np.testing.assert_array_equal(y_read, y)


# Of something else, or broken.


def test_a_cache_of_another_source_is_refused_with_the_difference(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pa = pytest.importorskip("pyarrow")
    file = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"a": [1.0, 2.0], "b": [0, 1], "c": [0, 1]}), file)
    source = open_source(file, target="b")
    assert open_cache(tmp_path / "cache", source) is None
    write_cache(source, tmp_path / "cache")
    assert open_cache(tmp_path / "cache", open_source(file, target="b")).rows == 2
    with pytest.raises(ValueError, match=r"made of something else: .* was .*b.*, and is .*c"):
        open_cache(tmp_path / "cache", open_source(file, target="c"))
    parquet.write_table(pa.table({"a": [1.0, 2.0, 3.0], "b": [0, 1, 1], "c": [0, 1, 0]}), file)
    with pytest.raises(ValueError, match=r"made of something else: .*size"):
        open_cache(tmp_path / "cache", open_source(file, target="b"))


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path):
    file = tmp_path / "rows.npy"
    np.save(file, np.ones((5000, 4)))
    source = open_source(file, target=3)

    def blocks():
        for block in source.blocks():
            os.utime(file, ns=(1, 1))
            yield block

    with pytest.raises(ValueError, match="the source changed while it was read"):
        write_cache(source, tmp_path / "cache", blocks=blocks())
    assert nothing_else(tmp_path, "rows.npy")


def test_a_later_format_is_refused(tmp_path):
    cache = cache_of(tmp_path / "cache", [], matrix("float32", 40), targets("real", 40))
    path = cache.folder / MANIFEST
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"format": 2, "something": "new"}))
    with pytest.raises(ValueError, match=r"of format 2, and this version .* reads format 1"):
        Cache(cache.folder)


@pytest.mark.parametrize("what", ["missing", "short", "long", "altered", "empty", "a folder"])
@pytest.mark.parametrize("name", ["X-000001.npy", "y-000000.npy", "weight-sample.npy"])
def test_a_broken_file_is_named(tmp_path, what, name):
    X, y = matrix("float32", 100), targets("strings", 100)
    folder = cache_of(tmp_path / "cache", [], X, y, np.ones(100)).folder
    path, content = folder / name, (folder / name).read_bytes()
    path.unlink()
    if what == "a folder":
        path.mkdir()
    elif what != "missing":
        change = {"short": content[:-1], "long": content + bytes(5000), "empty": b""}
        path.write_bytes(change.get(what, content[:-1] + bytes([content[-1] ^ 1])))
    with pytest.raises(ValueError, match=name):
        read_all(folder)


def read_all(folder: Path) -> list[np.ndarray]:
    """The same, with dense X."""
    found = read_stored(folder)
    return [dense(found[0]), *found[1:]]


def read_stored(folder: Path) -> list:
    """All that a cache can be asked for, by blocks and by pools."""
    cache = Cache(folder)
    cache.sample()
    found = [*joined([*cache.blocks()])]
    reader = PoolReader(cache, 1, seed=0)
    with contextlib.closing(reader):
        for pool in reader.pools(0, 0):
            cache.targets(pool.y)
    return [*found, *([] if cache.labels is None else [cache.labels])]


def same(found: list, expected: list) -> bool:
    return all(
        (a is None and b is None) or (a.dtype == b.dtype and np.array_equal(a, b))
        for a, b in zip(found, expected, strict=True)
    )


def attempt(folder: Path, expected: list | None) -> str:
    """Read a cache that was altered: what comes of it, "refused" or "right".

    The memory that it takes is that of twice the files, and 6 MB for the interpreter, whose table
    of strings grows by 4 MB at times.
    """
    size = sum(path.stat().st_size for path in folder.iterdir())
    tracemalloc.start()
    try:
        found = read_stored(folder)
    except ValueError:
        return "refused"
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2 * size + 6e6
    assert expected is None or same([dense(found[0]), *found[1:]], expected)
    return "right"


KINDS = [("float32", "strings"), ("csr32", "integers"), ("wide", "bools"), ("uint8", "two")]


class Sound:
    """A cache that is copied and altered, and its rows."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows = folder, read_all(folder)


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def sound(request, tmp_path_factory):
    kind, of_y = request.param
    n = 100
    arrays = matrix(kind, n), targets(of_y, n), np.linspace(0.5, 1.0, n)
    folder = cache_of(tmp_path_factory.mktemp("sound") / "cache", [], *arrays).folder
    return Sound(folder)


@pytest.fixture
def altered(sound, tmp_path):
    """A folder of links to the files of the sound one, each of which can be replaced."""

    def fresh() -> Path:
        folder = tmp_path / "altered"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path in sound.folder.iterdir():
            os.link(path, folder / path.name)
        return folder

    return fresh


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from([0, -1, 1, 2, 31, 33, 99, 101, 2**31, 2**40, 2**62, 2**70, 10**400]),
        st.integers(),
        st.floats(),
        st.sampled_from(["", "|O", "<f4", ">f4", "<i8", "<U9", "|V8", "f4,f4", ".", "..", "../x"]),
        st.sampled_from(["str", "bool", "number", "\0", "\ud800", "X-000000.npy", "y-000001.npy"]),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(value, path=()):
    """The paths of all values within a value of JSON."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


def alter(fields, data) -> None:
    """Replace a value somewhere, or remove it, or take another one of the manifest."""
    known = [*places(fields)]
    path = data.draw(st.sampled_from(known))
    *outer, key = path
    inner = fields
    for each in outer:
        inner = inner[each]
    how = data.draw(st.sampled_from(["new", "new", "other", "remove", "add"]))
    if how == "remove":
        del inner[key]
        return
    if how == "other":
        value = fields
        for each in data.draw(st.sampled_from(known)):
            value = value[each]
        inner[key] = json.loads(json.dumps(value))
    elif how == "add" and type(inner[key]) in (int, float) and abs(inner[key]) < 1e300:
        inner[key] += data.draw(st.sampled_from([-1, 1, -32, 32, 0.5]))
    else:
        inner[key] = data.draw(JSON)


@examples(EXAMPLES)
@given(data=st.data())
def test_manifests_that_are_forged_never_crash(altered, data):
    folder = altered()
    fields = json.loads((folder / MANIFEST).read_text())
    fields.pop("checksum")
    for _ in range(data.draw(st.integers(1, 3))):
        alter(fields, data)
    fields["checksum"] = _checksum(fields)
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).write_text(json.dumps(fields))
    attempt(folder, None)


@examples(EXAMPLES)
@given(data=st.data())
def test_files_that_are_altered_are_refused_or_say_the_same(sound, altered, data):
    folder = altered()
    path = folder / data.draw(st.sampled_from([MANIFEST, *sorted(files(folder))]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content)))
        how = data.draw(st.sampled_from(["change", "cut", "insert", "append", "repeat"]))
        piece = data.draw(st.binary(min_size=1, max_size=8))
        if how == "cut":
            del content[place:]
        elif how == "insert":
            content[place:place] = piece
        elif how == "append":
            content += piece
        elif how == "repeat":
            content[place:place] = content[max(0, place - 40) : place]
        else:
            content[place : place + len(piece)] = piece
    path.unlink()
    path.write_bytes(content)
    attempt(folder, sound.rows)


def test_other_texts_are_no_manifests(altered):
    folder = altered()
    (folder / MANIFEST).unlink()
    for text in (
        "[" * 100_000,
        '{"format":' * 5000,
        "1" * 5000,
        "",
        "null",
        "[]",
        "{}",
        "\ufeff{}",
    ):
        (folder / MANIFEST).write_text(text)
        with pytest.raises(ValueError, match=MANIFEST):
            Cache(folder)


@pytest.mark.parametrize("what", ["nothing", "file", "other files"])
def test_what_is_no_cache(tmp_path, what):
    folder = tmp_path / "cache"
    if what == "file":
        folder.write_text("")
    elif what == "other files":
        folder.mkdir()
        (folder / "data.csv").write_text("a,b")
    source = open_source(factory([], matrix("float32", 10), targets("real", 10)))
    if what == "nothing":
        assert open_cache(folder, source) is None
    else:
        with pytest.raises(ValueError, match="cache"):
            open_cache(folder, source)
        before = [*tmp_path.rglob("*")]
        with pytest.raises((ValueError, OSError)):
            write_cache(source, folder)
        assert [*tmp_path.rglob("*")] == before
    with pytest.raises(ValueError, match="cache"):
        Cache(folder)


def test_an_empty_folder_and_folders_that_are_not_there_are_taken(tmp_path):
    arrays = matrix("float32", 10), targets("real", 10)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    assert cache_of(tmp_path / "link", [], *arrays).rows == 10
    assert cache_of(tmp_path / "a" / "b" / "c", [], *arrays).rows == 10
    with pytest.raises(ValueError, match="no rows"):
        source = open_source(factory([], *arrays))
        write_cache(source, tmp_path / "d" / "e" / "f", blocks=[])
    assert nothing_else(tmp_path, "a", "empty", "link")


def test_folders_have_the_permissions_of_the_user(tmp_path):
    before = os.umask(0o027)
    try:
        folder = cache_of(tmp_path / "cache", [], matrix("float32", 10), None).folder
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o750


# Processes.


def large() -> tuple[np.ndarray, np.ndarray]:
    return matrix("float32", 20_000, d=20), targets("integers", 20_000)


def write(folder: Path) -> None:
    cache_of(folder, [*range(0, 20_000, 999)], *large(), block_bytes=50_000)


def is_whole(folder: Path) -> bool:
    X, y, _ = joined([*Cache(folder).blocks()])
    return np.array_equal(X, large()[0]) and np.array_equal(y, large()[1])


def forked(work, *args) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(*args)
            code = 0
        except OSError:
            code = 3
        finally:
            os._exit(code)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(folder: Path) -> dict:
    """Writers that are killed at random moments, and those that end."""
    for name in ("first", "second"):  # the first one also warms up
        start = time.monotonic()
        assert ended(forked(write, folder / name)) == 0
        whole = time.monotonic() - start
    draw = random.Random(0)
    found = {"killed": 0, "ended": 0, "partial": 0, "believed": 0}
    for number in range(25):
        target = folder / str(number)
        child = forked(write, target)
        time.sleep(draw.uniform(0.0, 1.2 * whole))
        os.kill(child, signal.SIGKILL)
        code = ended(child)
        found["killed" if code == -signal.SIGKILL else "ended"] += 1
        if code == 0:
            assert target.exists()
        if target.exists():
            assert is_whole(target)
        for partial in folder.glob(f".{number}-*.partial"):
            found["partial"] += 1
            try:
                Cache(partial)
            except ValueError:
                continue
            assert is_whole(partial)
            found["believed"] += 1
    left = list(folder.glob(".*.partial"))
    for path in left[:2]:  # another writer of the same cache removes it
        write(folder / path.name.split("-")[0][1:])
        assert not path.exists()
    found["removed"] = len(left[:2])
    return found


def at_once(folder: Path) -> dict:
    """Several writers of one cache."""
    codes = []
    for number in range(8):
        children = [forked(write, folder / str(number)) for _ in range(3)]
        codes += map(ended, children)
        assert is_whole(folder / str(number))
    return {"codes": codes, "names": sorted(path.name for path in folder.iterdir())}


def no_space(folder: Path) -> dict:
    """Writers whose files may not be as large as they must be."""
    codes = []
    for limit in (0, 100, 30_000, 50_000):

        def limited(limit=limit):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            write(folder / "a" / "cache")

        codes.append(ended(forked(limited)))
    return {"codes": codes, "names": sorted(path.name for path in folder.iterdir())}


def results(case: str, folder: Path) -> dict:
    command = [sys.executable, __file__, case, str(folder)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_writer_that_is_killed_leaves_nothing_that_is_believed(tmp_path):
    found = results("killed", tmp_path)
    assert found["killed"] >= 3
    assert found["partial"] >= 1
    assert found["removed"] >= 1


def test_processes_that_write_the_same_cache_at_once(tmp_path):
    found = results("at_once", tmp_path)
    assert found["codes"] == [0] * 24
    assert found["names"] == [str(number) for number in range(8)]


def test_a_disk_that_is_full_is_an_error_that_leaves_nothing(tmp_path):
    assert results("no_space", tmp_path) == {"codes": [3] * 4, "names": []}


@pytest.mark.parametrize("folder", ["file/cache", "/proc/cache", "/proc/a/b/cache"])
def test_a_folder_that_cannot_be_written(tmp_path, folder):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"proc|file"):
        cache_of(tmp_path / folder, [], matrix("float32", 10), None)
    assert nothing_else(tmp_path, "file")


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](Path(sys.argv[2]))))


def test_an_interrupt_of_a_removal_stays_one(tmp_path, monkeypatch):
    """Also right after a descriptor was closed, which `shutil` then closes again."""
    close, interrupts = os.close, 0
    for moment in itertools.count():
        folder, calls = tmp_path / str(moment), itertools.count()
        (folder / "part").mkdir(parents=True)
        (folder / "part" / "file").touch()

        def closing(descriptor, calls=calls, moment=moment):
            close(descriptor)
            if next(calls) == moment:
                raise KeyboardInterrupt

        monkeypatch.setattr(os, "close", closing)
        try:
            remove_folder(folder)
        except KeyboardInterrupt:
            interrupts += 1
        else:
            break
        remove_folder(folder)
        assert not folder.exists()
    assert interrupts == 2
