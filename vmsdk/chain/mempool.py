"""The mempool: transactions that wait for a block."""

from __future__ import annotations

import gc
import heapq
import sys
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field, is_dataclass
from typing import Any, TypeAlias

from vmsdk.chain.errors import Invalid, MempoolFull
from vmsdk.ids import ID

# For how many removed transactions the reason is remembered.
MAX_REASONS = 10_000
# How many transactions may be evicted for one. The search takes time, even if it fails.
MAX_VICTIMS = 256
# The size of a transaction includes the contents of dataclasses and of these types.
_CONTAINERS = (dict, list, tuple, set, frozenset)
_ATOMS = {bytes, int, str, bool}
# Reasons that begin with one of these words are counted under it.
_KINDS = frozenset({"accepted", "replaced", "evicted", "expired"})
_Entry: TypeAlias = tuple[tuple[bool, int], int, bytes]


@dataclass(eq=False)
class Pending:
    """A transaction in the mempool."""

    id: ID
    raw: bytes
    transaction: Any
    """The decoded transaction."""
    sender: bytes | None = None
    """None for a transaction that does not depend on others."""
    sequence: int = 0
    """The position among the sender's transactions."""
    priority: int = 0
    """Higher goes first, and can replace a transaction with the same sender and sequence."""
    source: str = "local"
    """`local` or `peer`."""
    arrived_at: float = 0
    is_parked: bool = False
    """Whether it waits for an earlier transaction of its sender."""
    written: int = 0
    """The bytes of keys, values, events and results that it writes. 0 while it is parked."""
    size: int = field(init=False, repr=False)
    """The memory of `raw` and the decoded transaction, in bytes."""
    _number: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        self.size = len(self.raw) + _bytes_beside(self.raw, self.transaction)


class Mempool:
    """Waiting transactions, in the order in which they go into blocks. Thread-safe.

    A sender's transactions form a lane, in the order of their sequence numbers. Of the first ones
    of all lanes and the transactions without a sender, the one with the highest priority goes
    first, then the one that arrived first.
    """

    def __init__(
        self,
        *,
        max_transactions: int = 16_384,
        max_bytes: int = 64 * 1024 * 1024,
        max_written: int = 64 * 1024 * 1024,
        max_per_sender: int = 4_096,
        seconds: float = 600,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_transactions = max_transactions
        self._max_bytes = max_bytes
        self.max_written = max_written
        self.max_per_sender = max_per_sender
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.RLock()
        # By arrival, which is also the order of expiry.
        self._by_id: OrderedDict[bytes, Pending] = OrderedDict()
        self._lanes: dict[bytes, dict[int, Pending]] = {}
        self._bytes = 0
        self._written = 0
        self._parked = 0
        self._parked_by: Counter[bytes | None] = Counter()
        self._number = 0
        # Heaps in the order of eviction, by kind. They exist from the first eviction until the
        # mempool is empty: most never need them. Parked transactions are evicted before ready
        # ones. Ready ones that write anything are also in the heap "writing".
        self._worst: dict[str, list[_Entry]] = {}
        self._reasons: OrderedDict[bytes, str] = OrderedDict()
        self.version = 0
        """Incremented with each change."""
        self.losses = 0
        """How many ready transactions were evicted or have expired."""
        self.added: Counter[str] = Counter()
        """How many transactions were added, by source."""
        self.removed: Counter[str] = Counter()
        """How many were removed, by reason: accepted, replaced, evicted, expired or invalid."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, transaction_id: object) -> bool:
        return transaction_id in self._by_id

    @property
    def ready(self) -> int:
        """The number of transactions that are not parked."""
        return len(self._by_id) - self._parked

    @property
    def size(self) -> int:
        """The memory of all transactions, encoded and decoded, in bytes."""
        return self._bytes

    def get(self, transaction_id: bytes) -> Pending | None:
        """The waiting transaction with this ID, or None."""
        return self._by_id.get(transaction_id)

    def all(self) -> list[Pending]:
        """All waiting transactions, by arrival."""
        with self._lock:
            return list(self._by_id.values())

    def at(self, sender: bytes, sequence: int) -> Pending | None:
        """The waiting transaction of *sender* with this sequence number, or None."""
        return self._lanes.get(sender, {}).get(sequence)

    def parked_of(self, sender: bytes | None) -> int:
        """The number of parked transactions of *sender*."""
        return self._parked_by[sender]

    def reason(self, transaction_id: bytes) -> str | None:
        """Why a transaction was removed; None if it was not, or long ago."""
        return self._reasons.get(transaction_id)

    # Adding ---------------------------------------------------------------------------------------

    def add(self, pending: Pending) -> Pending | None:
        """Add a transaction. Returns the one that it replaces, if any.

        Raises `MempoolFull` if there is no room, `Invalid` if another one with the same sender and
        sequence number has at least the same priority. Does nothing if it is already waiting.
        """
        with self._lock:
            if pending.id in self._by_id:
                return None
            self._check_alone(pending, pending.written)
            lane = self._lanes.get(pending.sender, {}) if pending.sender is not None else {}
            replaced = lane.get(pending.sequence)
            if replaced is not None:
                if pending.priority <= replaced.priority:
                    raise Invalid(
                        "another transaction of this sender has the same sequence number; "
                        "only one of a higher priority replaces it",
                        sequence=pending.sequence,
                        priority=pending.priority,
                        needed=replaced.priority + 1,
                    )
                # It was not executed, unless the other one is parked, and can have any priority: so
                # it evicts no other.
                if self._bytes - replaced.size + pending.size > self._max_bytes:
                    raise MempoolFull(
                        f"{self._usage(None)}, and a replacement evicts no other transaction: try again later"
                    )
                self._make_room(pending, _rank(pending), pending.written)
                self._remove(replaced, "replaced by one of a higher priority")
            elif len(lane) >= self.max_per_sender:
                raise MempoolFull(f"{len(lane)} transactions of this sender are waiting: try again later")
            else:
                self._make_room(pending, _rank(pending), pending.written, count=1, size=pending.size)
            pending.arrived_at = self._clock()
            self._insert(pending)
            return replaced

    def _insert(self, pending: Pending) -> None:
        self._number += 1
        pending._number = self._number
        self._by_id[pending.id] = pending
        self._bytes += pending.size
        self._written += pending.written
        if pending.is_parked:
            self._count_parked(pending.sender, +1)
        if pending.sender is not None:
            self._lanes.setdefault(pending.sender, {})[pending.sequence] = pending
        self._push_worst(pending)
        self._reasons.pop(pending.id, None)
        self.added[pending.source] += 1
        self.version += 1

    def _push_worst(self, pending: Pending) -> None:
        """Add *pending* to the heaps of `_worst`."""
        if not self._worst:
            return
        for kind in _kinds(pending):
            heap = self._worst[kind]
            heapq.heappush(heap, _entry(pending))
            if len(heap) > 2 * len(self._by_id) + 64:
                heap[:] = self._heap(kind)

    def _heap(self, kind: str) -> list[_Entry]:
        heap = [_entry(each) for each in self._by_id.values() if kind in _kinds(each)]
        heapq.heapify(heap)
        return heap

    def _check_alone(self, pending: Pending, written: int) -> None:
        """Raise `MempoolFull` if *pending* would not fit in an empty mempool."""
        if pending.size > self._max_bytes:
            raise MempoolFull(
                f"the transaction takes {pending.size} bytes once it is decoded, and the mempool has room "
                f"for {self._max_bytes}"
            )
        if written > self.max_written:
            raise MempoolFull(
                f"the transaction writes {written} bytes, and the mempool has room for {self.max_written}"
            )

    def _make_room(
        self, pending: Pending, rank: tuple[bool, int], written: int, *, count: int = 0, size: int = 0
    ) -> None:
        """Make room for *pending*, which writes *written* bytes, by evicting transactions that rank
        lower: at most `MAX_VICTIMS`, and the later ones of the last one's sender.

        Raises `MempoolFull`, and evicts none, if that is not enough.
        """
        count, size, total = count + len(self._by_id), size + self._bytes, written + self._written
        if pending.id in self._by_id:
            total -= pending.written
        victims: dict[bytes, Pending] = {}
        seen: list[tuple[list[_Entry], _Entry]] = []
        lanes: dict[bytes, list[Pending]] = {}
        while True:
            is_crowded = count > self.max_transactions or size > self._max_bytes
            if not is_crowded and total <= self.max_written:
                break
            worst, heap = self._find_worst(("parked", "ready") if is_crowded else ("writing",))
            refusal = _refusal(pending, rank, worst, len(victims))
            if worst is None or refusal:
                for each, entry in seen:
                    heapq.heappush(each, entry)
                raise MempoolFull(f"{self._usage(None if is_crowded else written)}, and {refusal}")
            seen.append((heap, heapq.heappop(heap)))
            if worst.id in victims:
                continue
            # Later transactions of the same sender depend on it.
            lane = [worst]
            if worst.sender is not None:
                if worst.sender not in lanes:
                    lanes[worst.sender] = sorted(
                        self._lanes[worst.sender].values(), key=lambda each: each.sequence
                    )
                lane = lanes[worst.sender]
            while lane and lane[-1].sequence >= worst.sequence:
                victim = lane.pop()
                victims[victim.id] = victim
                count -= 1
                size -= victim.size
                total -= victim.written
        for victim in victims.values():
            self._lose(victim, "evicted: the mempool is full, and others have a higher priority")

    def _usage(self, written: int | None) -> str:
        """What fills the mempool: the transactions, or what they write if one writes *written*."""
        if written is None:
            return f"{len(self._by_id)} transactions of {self._bytes} bytes are waiting"
        return (
            f"the waiting transactions write {self._written} bytes, and there is room for "
            f"{self.max_written}, but this one writes {written}"
        )

    def _lose(self, pending: Pending, reason: str) -> None:
        self.losses += not pending.is_parked
        self._remove(pending, reason)

    def _find_worst(self, kinds: tuple[str, ...]) -> tuple[Pending | None, list[_Entry]]:
        """The next transaction to evict, and its heap. Earlier *kinds* go first."""
        if not self._worst:
            self._worst = {kind: self._heap(kind) for kind in ("parked", "ready", "writing")}
        heap: list[_Entry] = []
        for kind in kinds:
            heap = self._worst[kind]
            while heap:
                found = self._by_id.get(heap[0][2])
                if found is not None and _entry(found) == heap[0] and kind in _kinds(found):
                    return found, heap
                heapq.heappop(heap)
        return None, heap

    # Removing -------------------------------------------------------------------------------------

    def remove(self, transaction_id: bytes, reason: str) -> Pending | None:
        """Remove a transaction if it is waiting, and remember why."""
        with self._lock:
            pending = self._by_id.get(transaction_id)
            if pending is not None:
                self._remove(pending, reason)
            return pending

    def _remove(self, pending: Pending, reason: str) -> None:
        del self._by_id[pending.id]
        self._bytes -= pending.size
        self._written -= pending.written
        if pending.is_parked:
            self._count_parked(pending.sender, -1)
        if pending.sender is not None:
            lane = self._lanes[pending.sender]
            del lane[pending.sequence]
            if not lane:
                del self._lanes[pending.sender]
        if not self._by_id:
            self._worst = {}
        self._reasons[pending.id] = reason
        kind = reason if reason in _KINDS else reason.replace(":", " ").partition(" ")[0]
        self.removed[kind if kind in _KINDS else "invalid"] += 1
        if len(self._reasons) > MAX_REASONS:
            self._reasons.popitem(last=False)
        self.version += 1

    def expire(self) -> None:
        """Remove the transactions that have waited too long."""
        with self._lock:
            oldest_kept = self._clock() - self._seconds
            while self._by_id:
                oldest = next(iter(self._by_id.values()))
                if oldest.arrived_at > oldest_kept:
                    break
                self._lose(oldest, f"expired: not in a block after {self._seconds:g} s")

    # Order ----------------------------------------------------------------------------------------

    def parked_after(self, pending: Pending) -> list[Pending]:
        """The later parked transactions of the same sender, in order."""
        if pending.sender is None or pending.sender not in self._parked_by:
            return []
        return [each for each in self.parked((pending.sender,)) if each.sequence > pending.sequence]

    def _count_parked(self, sender: bytes | None, change: int) -> None:
        self._parked += change
        self._parked_by[sender] += change
        if not self._parked_by[sender]:
            del self._parked_by[sender]

    def parked(self, senders: Iterable[bytes] | None = None) -> list[Pending]:
        """The parked transactions of *senders*, by default of all, ordered by sequence number."""
        with self._lock:
            found = [
                each
                for sender in (self._parked_by if senders is None else senders)
                if sender in self._parked_by
                for each in self._lanes.get(sender or b"", {}).values()
                if each.is_parked
            ]
        return sorted(found, key=lambda each: each.sequence)

    def park(self, pending: Pending) -> None:
        """Park a transaction, which has to wait for earlier ones of its sender."""
        with self._lock:
            if pending.id in self._by_id and not pending.is_parked:
                self._set_parked(pending, True, 0)

    def release(self, pending: Pending, written: int) -> None:
        """Make a transaction ready: it can be executed, and writes *written* bytes.

        Raises `MempoolFull` if there is no room for these.
        """
        with self._lock:
            if pending.id not in self._by_id:
                return
            if written > pending.written:
                self._check_alone(pending, written)
                self._make_room(pending, (True, pending.priority), written)
            self._set_parked(pending, False, written)

    def _set_parked(self, pending: Pending, is_parked: bool, written: int) -> None:
        self._written += written - pending.written
        kinds = _kinds(pending)
        is_moved = pending.is_parked != is_parked
        pending.written, pending.is_parked = written, is_parked
        if _kinds(pending) != kinds:
            self._push_worst(pending)
        if is_moved:
            self._count_parked(pending.sender, 1 if is_parked else -1)
            self.version += 1

    def ordered(self, exclude: Container[bytes] = ()) -> Iterator[Pending]:
        """The ready transactions in the order in which they go into a block, except *exclude*.

        May or may not include changes made during the iteration.
        """
        with self._lock:
            ready = [each for each in self._by_id.values() if not each.is_parked and each.id not in exclude]
        lanes: dict[bytes, list[Pending]] = {}
        heap: list[tuple[int, int, Pending]] = []
        for each in ready:
            if each.sender is None:
                heap.append((-each.priority, each._number, each))
            else:
                lanes.setdefault(each.sender, []).append(each)
        for lane in lanes.values():
            lane.sort(key=lambda each: -each.sequence)
            first = lane.pop()
            heap.append((-first.priority, first._number, first))
        heapq.heapify(heap)
        while heap:
            _, _, pending = heapq.heappop(heap)
            yield pending
            if pending.sender is not None and lanes[pending.sender]:
                following = lanes[pending.sender].pop()
                heapq.heappush(heap, (-following.priority, following._number, following))


def _refusal(pending: Pending, rank: tuple[bool, int], worst: Pending | None, victims: int) -> str:
    """Why *worst* can't be evicted for *pending*, after *victims* others; empty if it can."""
    if victims >= MAX_VICTIMS:
        return (
            f"more than {MAX_VICTIMS} would have to be evicted for this one: send a smaller one, or try "
            "again later"
        )
    is_own = worst is not None and worst.sender is not None and worst.sender == pending.sender
    if worst is None or _rank(worst) >= rank or (is_own and worst.sequence == pending.sequence):
        return f"there are too few with a priority below {pending.priority}: try again later"
    if is_own:
        return (
            f"the next to be evicted is from the same sender, with sequence number {worst.sequence} and "
            f"priority {worst.priority}, and is not evicted for others of that sender: replace it with one "
            "of a higher priority, or try again later"
        )
    return ""


def _rank(pending: Pending) -> tuple[bool, int]:
    """The rank: lower ones are evicted first. Parked ones have not paid for their priority."""
    return not pending.is_parked, pending.priority


def _kinds(pending: Pending) -> tuple[str, ...]:
    """The heaps of `Mempool._worst` that contain the transaction."""
    if pending.is_parked:
        return ("parked",)
    return ("ready", "writing") if pending.written else ("ready",)


def _entry(pending: Pending) -> _Entry:
    """An entry of the heaps: of equal rank, the last to arrive is evicted first."""
    return _rank(pending), -pending._number, pending.id


def _bytes_beside(raw: bytes, transaction: Any) -> int:
    """The memory of a decoded transaction's fields and their items, except *raw*."""
    values = getattr(transaction, "__dict__", {}).values()
    if values and _ATOMS.issuperset(map(type, values)):  # the usual case, fast
        return sum(map(sys.getsizeof, values))
    total, seen, waiting = 0, {id(raw)}, [transaction]
    while waiting:
        value = waiting.pop()
        if type(value) in _ATOMS and value is not raw:
            total += sys.getsizeof(value)
        elif id(value) not in seen and not isinstance(value, type):
            seen.add(id(value))
            total += sys.getsizeof(value)
            if value is transaction or isinstance(value, _CONTAINERS) or is_dataclass(value):
                waiting += gc.get_referents(value)
    return total
