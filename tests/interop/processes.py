"""Processes that are not children of the test's own, and how many there are."""

from __future__ import annotations

import os
import select

DEADLINE_S = 20.0


def gone(pid: int) -> bool:
    """Whether a process that is no child of ours has ended by the deadline."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ready, _, _ = select.select([descriptor], [], [], DEADLINE_S)
        return bool(ready)
    finally:
        os.close(descriptor)


def overloaded() -> bool:
    """Whether many more processes want to run than there are processors for."""
    return os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
