"""A chain on `vmsdk.chain` survives a crash of its plugin at any moment."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .chaincrashes import Trial

pytestmark = pytest.mark.slow


def test_a_crash_after_each_call_of_a_node(tmp_path: Path) -> None:
    calls = trial(tmp_path, "whole").run()
    for call in range(1, calls + 1):
        trial(tmp_path, str(call)).run(crash_after=call)


def test_a_crash_beside_each_write_to_the_disk(tmp_path: Path) -> None:
    whole = trial(tmp_path, "whole")
    whole.run()
    assert whole.writes
    for number in range(1, whole.writes + 1):
        for moment in ("before", "after"):
            crashing = trial(tmp_path, f"{number} {moment}")
            crashing.disk.crash_at = number, moment
            crashing.run()


def test_kills_at_random_moments(tmp_path: Path) -> None:
    killed = trial(tmp_path, "chain")
    moments = random.Random(7)
    for _ in range(10):
        killed.run_until_killed(moments.uniform(0, 0.5))
        with killed.life() as (host, client):
            killed.check(host, client)
    assert killed.promised


def trial(parent: Path, name: str) -> Trial:
    directory = parent / name
    directory.mkdir()
    return Trial(directory)
