"""Targets that are wrong on purpose: the runner must notice."""

from __future__ import annotations

import os
import signal
import time


def raises(data: bytes) -> None:
    assert len(data) < 8, "eight bytes or more"


def crashes(data: bytes) -> None:
    if len(data) >= 8:
        os.kill(os.getpid(), signal.SIGSEGV)


def hangs(data: bytes) -> None:
    if len(data) >= 8:
        time.sleep(1000.0)
