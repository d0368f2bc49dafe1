"""Targets: files of models and checkpoints, and caches of rows, that are damaged in any way."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from cuts import cache_of, dense, matrix, targets
from hypothesis import strategies as st
from sklearn.base import clone
from support import Target, data_drawn, drawn
from test_cache import alter, read_all, read_stored, same
from test_damaged_files import STOPPED, X, damaged, targets_of, use

from fastsgd import DivergenceError, load
from fastsgd.data.manifest import MANIFEST, _checksum

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-", dir=MEMORY))


@drawn(damaged())
def _model_files(data: bytes) -> None:
    """A ValueError that says so, or a model that can be used; of a resumed fit too."""
    path = FOLDER / "model"
    path.write_bytes(data)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for fit in STOPPED.values():
            with contextlib.suppress(ValueError, DivergenceError):
                clone(fit).fit(X, targets_of(fit), resume=path)
        try:
            model = load(path)
        except ValueError as error:
            assert str(path) in str(error)
            return
        use(model)


model_files: Target = _model_files

KINDS = (("float32", "strings"), ("csr32", "integers"), ("wide", "bools"), ("uint8", "two"))
ROWS = 100


class Sound:
    """A cache, its files and its rows."""

    def __init__(self, kind: str, of_y: str) -> None:
        arrays = matrix(kind, ROWS), targets(of_y, ROWS), np.linspace(0.5, 1.0, ROWS)
        self.folder = cache_of(FOLDER / f"sound-{kind}", [], *arrays).folder
        self.rows = read_all(self.folder)
        self.files = {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}


SOUND = [Sound(*kind) for kind in KINDS]


@data_drawn
def _caches(data: Any) -> None:
    """A forged manifest, or other bytes in a file: refused, or read as what was written."""
    sound = data.draw(st.sampled_from(SOUND))
    files = dict(sound.files)
    forged = data.draw(st.booleans())
    if forged:
        fields = json.loads(files[MANIFEST])
        fields.pop("checksum")
        for _ in range(data.draw(st.integers(1, 4))):
            alter(fields, data)
        with contextlib.suppress(ValueError, TypeError):
            fields["checksum"] = _checksum(fields)
        files[MANIFEST] = json.dumps(fields).encode()
    else:
        name = data.draw(st.sampled_from([MANIFEST, *files]))
        content = bytearray(files[name])
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(content)))
            piece = data.draw(st.binary(max_size=8))
            content[at : at + data.draw(st.integers(0, 9))] = piece
        files[name] = bytes(content)
    folder = FOLDER / "altered"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        found = read_stored(folder)
    except ValueError as error:
        assert len(str(error)) > 10
        return
    assert forged or same([dense(found[0]), *found[1:]], sound.rows)


caches: Target = _caches
