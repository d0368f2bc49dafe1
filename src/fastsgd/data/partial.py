"""Folders that are being written: each is locked by its writer, and removed once that has died."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # no such locks on Windows: what a killed writer leaves stays
    fcntl = None  # type: ignore[assignment]

__all__ = ["partial_folder", "remove_folder", "unlock"]

LOCK = "lock"


@contextlib.contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside the one that is to be, for its files until they are all there.

    What writers of the same folder that were killed have left is removed first. At the end this
    folder must have been renamed or removed. The lock is gone when the file of it is unlinked.
    """
    _remove_left(folder)
    partial = folder.parent / f".{folder.name}-{secrets.token_hex(6)}.partial"
    new = partial.with_suffix(".new")  # which nobody removes before it is locked
    flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
    with contextlib.ExitStack() as stack:
        try:
            new.mkdir(parents=True)
            descriptor = os.open(new / LOCK, flags, 0o600)
            stack.callback(os.close, descriptor)
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            new.rename(partial)
        except BaseException:
            remove_folder(new)
            raise
        yield partial


def unlock(partial: Path) -> None:
    """Remove the file of the lock, before the folder becomes what it is to be."""
    with contextlib.suppress(OSError):
        (partial / LOCK).unlink()


def remove_folder(folder: str | os.PathLike[str]) -> None:
    """Remove a folder and what is in it; errors are ignored.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C. After it `shutil.rmtree` may close a descriptor a second time, and the error of
        that would hide the interrupt.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


def _remove_left(folder: Path) -> None:
    """Remove the partial folders of a folder whose writers have died."""
    if fcntl is None or not folder.parent.is_dir():
        return
    for partial in folder.parent.glob(f".{folder.name}-*.partial"):
        with contextlib.suppress(OSError):
            descriptor = os.open(partial / LOCK, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_folder(partial)
            finally:
                os.close(descriptor)
