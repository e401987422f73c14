"""The node's block cache."""

from __future__ import annotations

import pytest

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.block import Block
from vmsdk.host.cache import BlockCache, SizedLRU
from vmsdk.host.errors import HostError
from vmsdk.ids import ID
from vmsdk.timestamp import Timestamp


def block(height: int, name: bytes = b"", *, size: int = 10, status: int | None = None) -> Block:
    data = (b"%d %b" % (height, name)).ljust(size)
    return Block(ID.of(data), ID.EMPTY, height, Timestamp(0), data, status=status)


GENESIS = block(0, b"genesis")


@pytest.fixture
def cache() -> BlockCache:
    return BlockCache(GENESIS, by_status=False)


def test_the_last_accepted_block_is_known(cache: BlockCache) -> None:
    assert cache.find(GENESIS.id) is GENESIS


def test_a_missing_block_stays_missing_until_it_is_parsed(cache: BlockCache) -> None:
    one = block(1)
    cache.add_missing(one.id)
    assert cache.is_missing(one.id)
    cache.add_parsed(one.raw, one)
    assert not cache.is_missing(one.id)
    assert cache.find(one.id) is one


def test_a_missing_block_that_is_built_or_becomes_the_last_accepted_is_no_longer_missing(
    cache: BlockCache,
) -> None:
    built, synced = block(1), block(5)
    for one in (built, synced):
        cache.add_missing(one.id)
    cache.add_built(built)
    cache.set_last_accepted(synced)
    assert not cache.is_missing(built.id)
    assert not cache.is_missing(synced.id)


def test_at_most_2048_missing_blocks_are_remembered(cache: BlockCache) -> None:
    ids = [ID.of(b"%d" % number) for number in range(2049)]
    for one in ids:
        cache.add_missing(one)
    assert not cache.is_missing(ids[0])
    assert cache.is_missing(ids[1])


def test_the_cached_object_wins_over_a_new_one_of_the_same_id(cache: BlockCache) -> None:
    first, second = block(1), block(1)
    assert cache.add_parsed(first.raw, first) is first
    assert cache.add_parsed(second.raw, second) is first
    assert cache.add_built(second) is first


def test_bytes_are_remembered_only_as_long_as_their_block() -> None:
    cache = BlockCache(GENESIS, by_status=False, capacity=200)
    one = block(1)
    cache.add_parsed(one.raw, one)
    assert cache.find_parsed(one.raw) is one
    for number in range(2, 8):
        cache.add_found(block(number))
    assert cache.find_parsed(one.raw) is None


def test_verified_blocks_are_never_evicted() -> None:
    cache = BlockCache(GENESIS, by_status=False, capacity=200)
    verified = [block(1, b"%d" % number) for number in range(20)]
    for one in verified:
        cache.add_built(one)
        cache.set_verified(one)
    assert all(cache.find(one.id) is one for one in verified)


def test_accepting_moves_the_last_accepted_block_and_rejecting_does_not(cache: BlockCache) -> None:
    winner, loser = block(1, b"winner"), block(1, b"loser")
    for one in (winner, loser):
        cache.set_verified(one)
    cache.set_accepted(winner)
    cache.set_decided(loser)
    assert cache.last_accepted is winner
    assert cache.verified == {}
    assert cache.find(loser.id) is loser


def test_edge_45_the_last_accepted_block_can_not_be_set_while_blocks_are_processing(
    cache: BlockCache,
) -> None:
    cache.set_verified(block(1))
    with pytest.raises(HostError) as caught:
        cache.set_last_accepted(block(5))
    assert str(caught.value) == "cannot set last accepted block with blocks processing: 1"
    assert cache.last_accepted is GENESIS


def test_edge_43_in_protocol_35_only_the_three_statuses_are_taken() -> None:
    cache = BlockCache(GENESIS, by_status=True)
    for number, status in enumerate((pb.STATUS_PROCESSING, pb.STATUS_REJECTED, pb.STATUS_ACCEPTED), 1):
        cache.add_found(block(number, status=status))
    for unexpected in (pb.STATUS_UNSPECIFIED, 4, None):
        with pytest.raises(HostError, match="found unexpected status for blk"):
            cache.add_found(block(9, status=unexpected))


def small(capacity: int) -> SizedLRU[str, int]:
    return SizedLRU(capacity, lambda _key, size: size)


def test_the_least_recently_used_entries_make_room() -> None:
    lru = small(10)
    for key in ("a", "b", "c"):
        lru.put(key, 3)
    assert lru.get("a") == 3
    lru.put("d", 4)
    assert ("a" in lru, "b" in lru, "c" in lru, "d" in lru) == (True, False, True, True)


def test_an_entry_as_large_as_the_cache_fits_and_a_larger_one_empties_it() -> None:
    lru = small(10)
    lru.put("a", 3)
    lru.put("b", 10)
    assert (len(lru), lru.get("b")) == (1, 10)
    lru.put("c", 11)
    assert len(lru) == 0
    lru.put("d", 10)
    assert lru.get("d") == 10


def test_replacing_an_entry_counts_its_new_size_only() -> None:
    lru = small(10)
    lru.put("a", 9)
    lru.put("a", 2)
    lru.put("b", 8)
    assert (lru.get("a"), lru.get("b"), lru.get("c")) == (2, 8, None)
