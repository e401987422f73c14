"""Many calls with random cancellations leave nothing behind (at length: `python -m
tests.process.soak`).
"""

from __future__ import annotations

import pytest

from vmsdk.rpc.priority import EnginePriority
from vmsdk.rpc.server import VMMethods

from .soak import soak

pytestmark = pytest.mark.slow


def test_calls_leave_no_thread_and_no_descriptor_and_hardly_any_memory() -> None:
    found = soak(3_000, seed=1)
    first, last = found[2], found[-1]
    # Threads are made when calls overlap, up to the limits of the lanes. Were one left by each
    # call of any kind that is cancelled and reaches the plugin, there would be far more.
    lanes = VMMethods((), EnginePriority()).lanes
    assert last.threads <= first.threads + sum(lane.limit for lane in lanes)
    assert last.descriptors <= first.descriptors + 2
    assert last.memory_kib <= first.memory_kib * 1.1
