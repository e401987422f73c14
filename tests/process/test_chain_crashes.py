"""A chain on `vmsdk.chain` survives a crash of its plugin at any moment."""

from __future__ import annotations

import pytest

from vmsdk.testing import crash_test

from .chaincrashes import audit, kill_at_random_moments, make_blocks, make_chain

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)
def test_a_crash_beside_each_write_and_after_each_call_of_a_node() -> None:
    points = crash_test(lambda chain: make_blocks(chain, 2), make_chain, check=audit)
    assert any(point.what == "database write" for point in points)


def test_kills_at_random_moments() -> None:
    assert kill_at_random_moments(10, seed=7) > 10
