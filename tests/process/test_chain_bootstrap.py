"""A node bootstraps a chain on `vmsdk.chain` block by block, at one write each."""

from __future__ import annotations

from .chainbootstrap import bootstrap, make_blocks


def test_each_block_is_one_call_to_the_database_however_many_came_before() -> None:
    calls = [calls for *_, calls in bootstrap(make_blocks(300), 100)]
    assert calls[1:] == [100, 100]  # the first has what the node reads at its start
