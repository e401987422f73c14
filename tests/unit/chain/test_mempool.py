"""The mempool: order, lanes, replacement, limits and reasons."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from vmsdk import chain
from vmsdk.chain.mempool import Mempool, Pending
from vmsdk.ids import ID


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pending(name: str, **fields: Any) -> Pending:
    raw = name.encode()
    return Pending(ID.of(raw), raw, raw, **fields)


def lane(sender: bytes, sequence: int, priority: int = 0, name: str = "", **fields: Any) -> Pending:
    return pending(
        name or f"{sender!r}{sequence}", sender=sender, sequence=sequence, priority=priority, **fields
    )


def order(pool: Mempool, exclude: set[bytes] | None = None) -> list[str]:
    return [each.raw.decode() for each in pool.ordered(exclude or set())]


def test_without_lanes_first_come_is_first_served() -> None:
    pool = Mempool()
    for name in ("c", "a", "b"):
        pool.add(pending(name))
    assert order(pool) == ["c", "a", "b"]
    assert order(pool, {ID.of(b"a")}) == ["c", "b"]


def test_a_higher_priority_goes_first_and_a_lane_keeps_its_order() -> None:
    pool = Mempool()
    for each in (lane(b"A", 2, 9), lane(b"A", 1, 1), lane(b"B", 7, 5), lane(b"B", 8, 0)):
        pool.add(each)
    assert order(pool) == ["b'B'7", "b'A'1", "b'A'2", "b'B'8"]


def test_only_a_higher_priority_replaces_a_transaction_of_the_same_place() -> None:
    pool = Mempool()
    old = lane(b"A", 1, 5, "old")
    pool.add(old)
    with pytest.raises(chain.Invalid, match=r"same sequence number.*needed=6"):
        pool.add(lane(b"A", 1, 5, "same"))
    assert pool.add(lane(b"A", 1, 6, "new")) is old
    assert order(pool) == ["new"]
    assert pool.reason(old.id) == "replaced by one of a higher priority"


def test_a_full_pool_gives_way_to_a_higher_priority_only() -> None:
    pool = Mempool(max_transactions=3)
    for each in (lane(b"A", 1, 3), lane(b"B", 1, 1), lane(b"B", 2, 8)):
        pool.add(each)
    with pytest.raises(chain.MempoolFull, match="3 transactions"):
        pool.add(lane(b"C", 1, 1))
    pool.add(lane(b"C", 1, 2))
    # The second of B's needs the first, so both went.
    assert order(pool) == ["b'A'1", "b'C'1"]
    assert "evicted" in (pool.reason(lane(b"B", 2).id) or "")


@dataclass(frozen=True)
class Flag:
    is_up: bool


class Flags(chain.Transaction):
    flags: Annotated[tuple[Flag, ...], chain.Max(1_000)]


def test_what_a_transaction_takes_once_it_is_decoded_counts() -> None:
    sent = Flags(tuple(Flag(True) for _ in range(1_000)))
    pool = Mempool(max_bytes=100_000)
    for _ in range(2):
        pool.add(Pending(sent.id, sent.raw, Flags.from_bytes(sent.raw)))
    assert len(sent.raw) < 1_100
    assert pool.size > 1_000 * sys.getsizeof(Flag(True))
    with pytest.raises(chain.MempoolFull, match=f"1 transactions of {pool.size} bytes"):
        pool.add(pending("x" * 99_999))
    pool.remove(sent.id, "accepted")
    assert pool.size == 0
    with pytest.raises(chain.MempoolFull, match=r"takes \d+ bytes once it is decoded, .* room for 2000"):
        Mempool(max_bytes=2_000).add(Pending(sent.id, sent.raw, Flags.from_bytes(sent.raw)))


def test_what_a_transaction_shares_with_its_chain_does_not_count() -> None:
    class Big:
        def __init__(self) -> None:
            self.table = list(range(10_000))

    class Transaction:
        def __init__(self) -> None:
            self.chain = Big()

    pool = Mempool(max_bytes=5_000)
    pool.add(Pending(ID.of(b"x"), b"x", Transaction()))


def test_bytes_and_senders_are_bounded() -> None:
    pool = Mempool(max_bytes=10, max_per_sender=2)
    pool.add(pending("12345", sender=b"A", sequence=1))
    pool.add(pending("1234", sender=b"A", sequence=2))
    with pytest.raises(chain.MempoolFull, match="2 transactions of this sender"):
        pool.add(pending("1", sender=b"A", sequence=3))
    with pytest.raises(chain.MempoolFull, match="2 transactions of 9 bytes"):
        pool.add(pending("12", sender=b"B"))
    pool.add(pending("1"))
    assert pool.size == 10


def test_what_waits_for_too_long_expires() -> None:
    clock = Clock()
    pool = Mempool(seconds=60, clock=clock)
    pool.add(pending("old"))
    clock.now = 30
    pool.add(pending("new"))
    clock.now = 61
    pool.expire()
    assert order(pool) == ["new"]
    assert "expired" in (pool.reason(ID.of(b"old")) or "")


def test_reasons_of_the_past_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmsdk.chain.mempool.MAX_REASONS", 2)
    pool = Mempool()
    for name in ("a", "b", "c"):
        pool.add(pending(name))
        pool.remove(ID.of(name.encode()), "accepted")
    assert [pool.reason(ID.of(name)) for name in (b"a", b"b", b"c")] == [None, "accepted", "accepted"]


def test_the_version_changes_with_the_content() -> None:
    pool = Mempool()
    seen = {pool.version}
    pool.add(pending("a"))
    seen.add(pool.version)
    pool.add(pending("a"))
    seen.add(pool.version)
    pool.remove(ID.of(b"a"), "accepted")
    seen.add(pool.version)
    assert len(seen) == 3


def test_nothing_is_evicted_for_one_that_is_refused_in_the_end() -> None:
    pool = Mempool(max_bytes=10)
    for name, priority in (("aaaa", 1), ("bbbb", 9)):
        pool.add(pending(name, priority=priority))
    with pytest.raises(chain.MempoolFull):
        pool.add(pending("1234567", priority=5))
    assert order(pool) == ["bbbb", "aaaa"]
    # What was looked at is still the first to go.
    pool.add(pending("123456", priority=5))
    assert order(pool) == ["bbbb", "123456"]


def test_a_parked_transaction_evicts_no_ready_one_and_is_the_first_to_go() -> None:
    pool = Mempool(max_transactions=2)
    pool.add(lane(b"A", 1, 1))
    parked = lane(b"B", 7, 1_000)
    parked.is_parked = True
    pool.add(parked)
    late = lane(b"C", 7, 2_000)
    late.is_parked = True
    pool.add(late)  # a parked one with a higher priority than the other
    assert order(pool) == ["b'A'1"]
    assert parked.id not in pool
    pool.add(lane(b"D", 1))
    assert order(pool) == ["b'A'1", "b'D'1"]
    parked.id = ID.of(b"again")
    with pytest.raises(chain.MempoolFull):
        pool.add(parked)


def test_a_transaction_that_stops_being_parked_keeps_its_place() -> None:
    pool = Mempool(max_transactions=2)
    parked = lane(b"A", 1, 5)
    parked.is_parked = True
    pool.add(parked)
    pool.add(lane(b"B", 1, 1))
    pool.release(parked, 0)
    pool.add(lane(b"C", 1, 3))
    assert order(pool) == ["b'A'1", "b'C'1"]


def test_a_replacement_evicts_no_others() -> None:
    """It has not been executed, so nobody knows whether it can pay for its priority."""
    pool = Mempool(max_bytes=10)
    old = pending("1234", sender=b"A", sequence=1)
    pool.add(old)
    pool.add(pending("abcdef", priority=1))
    with pytest.raises(chain.MempoolFull):
        pool.add(pending("12345", sender=b"A", sequence=1, priority=9))
    assert order(pool) == ["abcdef", "1234"]
    pool.add(pending("4321", sender=b"A", sequence=1, priority=9))
    assert order(pool) == ["4321", "abcdef"]


def test_one_that_replaces_a_parked_one_needs_room_for_what_it_writes() -> None:
    pool = Mempool(max_written=10)
    parked = lane(b"A", 1, 0)
    parked.is_parked = True
    pool.add(parked)
    pool.add(pending("other", priority=1, written=8))
    with pytest.raises(
        chain.MempoolFull, match="write 8 bytes, and there is room for 10, but this one writes 8"
    ):
        pool.add(lane(b"A", 1, 1, "cheap", written=8))
    assert pool.at(b"A", 1) is parked
    pool.add(lane(b"A", 1, 2, "dear", written=8))
    assert order(pool) == ["dear"]


class Counted(Pending):
    """Counts how often the attributes of all transactions are read."""

    reads = 0

    def __getattribute__(self, name: str) -> Any:
        Counted.reads += 1
        return super().__getattribute__(name)


def counted(name: str, **fields: Any) -> Counted:
    return Counted(ID.of(name.encode()), name.encode(), None, **fields)


def reads_of_a_refusal(bystanders: int) -> int:
    pool = Mempool(max_written=10)
    for number in range(bystanders):
        pool.add(counted(f"bystander {number}", priority=1))
    pool.add(counted("writer", priority=5, written=10))
    late = counted("late", priority=5, written=1)
    for _ in range(2):  # the first refusal sorts all of them
        before = Counted.reads
        with pytest.raises(chain.MempoolFull, match="write 10 bytes"):
            pool.add(late)
    return Counted.reads - before


def test_those_that_write_nothing_are_not_looked_at_for_room_to_write() -> None:
    assert reads_of_a_refusal(500) == reads_of_a_refusal(1)


def test_each_gives_way_in_its_turn_also_after_the_mempool_was_empty() -> None:
    pool = Mempool(max_transactions=2)
    for _ in range(2):
        for priority in range(1, 6):  # from the third on, each takes the place of one
            pool.add(pending(f"{priority}", priority=priority))
        assert order(pool) == ["5", "4"]
        for each in pool.all():
            pool.remove(each.id, "accepted")


def reads_of_an_eviction(length: int) -> int:
    pool = Mempool(max_written=length)
    for sequence in range(length):
        pool.add(counted(f"{sequence}", sender=b"A", sequence=sequence, priority=-sequence, written=1))
    dear = counted("dear", priority=1, written=length)
    before = Counted.reads
    pool.add(dear)
    assert order(pool) == ["dear"]
    return Counted.reads - before


def test_a_lane_that_is_evicted_from_its_end_is_walked_once() -> None:
    assert reads_of_an_eviction(200) < 2.5 * reads_of_an_eviction(100)


def reads_of_a_vain_attempt(cheap: int) -> int:
    pool = Mempool(max_written=10**6)
    for number in range(cheap):
        pool.add(counted(f"{number}", priority=1, written=10))
    pool.add(counted("dear", priority=9, written=10**6 - 10 * cheap))
    late = counted("late", priority=5, written=400_000)
    for _ in range(2):  # the first attempt sorts all of them
        before = Counted.reads
        with pytest.raises(
            chain.MempoolFull,
            match=r"more than 256 would have to be evicted for this one: send a smaller one, or",
        ):
            pool.add(late)
        reads = Counted.reads - before
    assert len(pool) == cheap + 1
    pool.add(counted("smaller", priority=5, written=2_560))  # those looked at are still the first to go
    assert len(pool) == cheap + 2 - 256
    return reads


def test_an_attempt_in_vain_takes_no_longer_if_more_are_cheap() -> None:
    assert reads_of_a_vain_attempt(4_000) == reads_of_a_vain_attempt(500)


def test_a_lane_of_any_length_gives_way_to_one() -> None:
    """Otherwise its sender could keep all others out, by a cheap first transaction."""
    pool = Mempool(max_transactions=1_000)
    for sequence in range(1_000):
        pool.add(lane(b"A", sequence, 1 if sequence else 0))
    pool.add(pending("dear", priority=1))
    assert order(pool) == ["dear"]


def test_one_that_writes_again_gives_way_again() -> None:
    pool = Mempool(max_written=10)
    first, second = lane(b"A", 1, 1, written=5), lane(b"B", 1, 5, written=5)
    pool.add(first)
    pool.add(second)
    pool.park(first)
    pool.release(first, 0)
    pool.add(pending("dear", priority=9, written=5))
    with pytest.raises(chain.MempoolFull, match=r"write 10 bytes.* below 1: try again later$"):
        pool.release(first, 1)
    pool.add(pending("dearer", priority=9, written=5))
    assert order(pool) == ["dear", "dearer", "b'A'1"]
    pool.remove(ID.of(b"dear"), "accepted")
    pool.release(first, 5)
    pool.add(pending("dearest", priority=10, written=5))
    assert order(pool) == ["dearest", "dearer"]


def test_one_that_writes_more_than_there_is_room_for_is_not_told_to_try_again() -> None:
    pool = Mempool(max_written=10)
    parked = lane(b"A", 1)
    parked.is_parked = True
    pool.add(parked)
    full = "^the transaction writes 11 bytes, and the mempool has room for 10$"
    with pytest.raises(chain.MempoolFull, match=full):
        pool.add(pending("long", written=11))
    with pytest.raises(chain.MempoolFull, match=full):
        pool.release(parked, 11)


def test_an_error_names_a_transaction_of_the_same_sender_that_would_be_evicted() -> None:
    own = (
        "the next to be evicted is from the same sender, with sequence number 3 and priority 1, and is "
        "not evicted for others of that sender: replace it with one of a higher priority, or try again later$"
    )
    pool = Mempool(max_written=10, max_transactions=3)
    pool.add(lane(b"A", 3, 1, written=5))
    pool.add(lane(b"B", 1, 5, written=5))
    with pytest.raises(chain.MempoolFull, match=f"^the waiting .* this one writes 1, and {own}"):
        pool.add(lane(b"A", 4, 100, written=1))
    pool.add(lane(b"B", 2, 5))
    for sequence in (2, 4):
        with pytest.raises(chain.MempoolFull, match=f"^3 transactions of .* are waiting, and {own}"):
            pool.add(lane(b"A", sequence, 100))
    with pytest.raises(chain.MempoolFull, match=r"too few with a priority below 1: try again later$"):
        pool.add(lane(b"A", 4, 1))
    with pytest.raises(chain.MempoolFull, match=r"too few with a priority below 1: try again later$"):
        pool.release(pool.all()[0], 6)


def test_one_that_replaces_another_is_told_that_none_gives_way_to_it() -> None:
    pool = Mempool(max_bytes=10)
    pool.add(lane(b"A", 1, 1, "123"))
    pool.add(lane(b"B", 1, 1, "1234567"))
    with pytest.raises(chain.MempoolFull, match="a replacement evicts no other transaction: try again"):
        pool.add(lane(b"A", 1, 9, "1234"))


def test_one_that_gives_way_makes_room_only_once() -> None:
    pool = Mempool(max_transactions=2, max_written=10)
    for priority in (1, 2):
        pool.add(pending(f"cheap {priority}", priority=priority, written=5))
    pool.add(pending("dear", priority=9, written=8))
    assert order(pool) == ["dear"]
