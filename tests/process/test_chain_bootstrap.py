"""A node bootstraps a chain on `vmsdk.chain` block by block, at one write each."""

from __future__ import annotations

from vmsdk.chain.feed import WINDOW_BLOCKS

from .chainbootstrap import bootstrap, make_blocks

# Together fewer than are kept in memory: an index that falls behind reads the others.
PART_BLOCKS = (WINDOW_BLOCKS - 1) // 3


def test_each_block_is_one_call_to_the_database_however_many_came_before() -> None:
    calls = [calls for *_, calls in bootstrap(make_blocks(3 * PART_BLOCKS), PART_BLOCKS)]
    assert calls[1:] == [PART_BLOCKS] * 2  # the first has what the node reads at its start
