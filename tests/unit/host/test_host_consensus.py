"""Since when a chain's blocks are wrapped."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from vmsdk.host.block import Block
from vmsdk.host.consensus import ProposerFork
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.ids import ID
from vmsdk.timestamp import Timestamp

SINCE = 100


def chain_of(*seconds: int) -> list[Block]:
    blocks: list[Block] = []
    for height, second in enumerate(seconds):
        parent_id = blocks[-1].id if blocks else ID.EMPTY
        blocks.append(Block(ID.of(b"%d" % height), parent_id, height, Timestamp(second), b""))
    return blocks


def wrapped(fork: ProposerFork, blocks: list[Block]) -> list[bool]:
    fork.start(blocks[0])
    for parent, block in pairwise(blocks):
        fork.add(block, parent)
    return [fork.is_wrapped(block.id) for block in blocks]


@pytest.fixture
def database() -> Iterator[SQLiteDatabase]:
    with SQLiteDatabase() as database:
        yield database


def new_fork(database: SQLiteDatabase) -> ProposerFork:
    return ProposerFork(database.space(b"fork"), Timestamp(SINCE))


def test_the_child_of_a_late_enough_block_is_the_first_wrapped_one(database: SQLiteDatabase) -> None:
    assert wrapped(new_fork(database), chain_of(0, 99, 100, 101)) == [False, False, False, True]


def test_what_follows_a_wrapped_block_is_wrapped_whatever_its_time(database: SQLiteDatabase) -> None:
    assert wrapped(new_fork(database), chain_of(100, 0, 0)) == [False, True, True]


def test_the_fork_height_outlives_the_run_also_after_a_rollback(database: SQLiteDatabase) -> None:
    blocks = chain_of(100, 100, 100)
    first = new_fork(database)
    wrapped(first, blocks)
    first.accept(blocks[1])
    first.accept(blocks[2])
    again = new_fork(database)
    again.start(blocks[2])
    assert again.is_wrapped(blocks[2].id)
    again.start(blocks[0])
    assert not again.is_wrapped(blocks[0].id)


def test_a_rejected_block_does_not_fork_the_chain(database: SQLiteDatabase) -> None:
    blocks = chain_of(100, 100)
    fork = new_fork(database)
    wrapped(fork, blocks)
    fork.reject(blocks[1])
    assert not fork.is_wrapped(blocks[1].id)
    assert database.space(b"fork").items() == []
