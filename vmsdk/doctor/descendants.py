"""Processes that a plugin starts and leaves behind."""

from __future__ import annotations

import ctypes
import glob
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# How long they may take to notice the plugin's exit.
_END_S = 0.5
_POLL_S = 0.02


@contextmanager
def adopted() -> Iterator[Callable[[], list[tuple[int, str]]]]:
    """Inside the block, adopt the descendants whose own parents exit (Linux only).

    Yields a function that kills them, and returns the process ID and command of each. None is left
    after the block.
    """
    before = {pid for pid, _ in _children(reap=False)}

    def end() -> list[tuple[int, str]]:
        deadline_s = time.monotonic() + _END_S
        while (
            left := [each for each in _children() if each[0] not in before]
        ) and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        found = []
        while left:
            for pid, command in left:
                found.append((pid, command))
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            left = [each for each in _children() if each[0] not in before]
        return found

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
    try:
        yield end
    finally:
        end()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(36, 0)


def _children(*, reap: bool = True) -> list[tuple[int, str]]:
    """Return the running children of this process, with their commands."""
    found = []
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(stat, "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
            if int(parent) != os.getpid():
                continue
            pid = int(stat.split("/")[2])
            if state == b"Z":
                if reap:
                    os.waitpid(pid, os.WNOHANG)
                continue
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                found.append((pid, file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()))
        except (OSError, ValueError):
            continue
    return found
