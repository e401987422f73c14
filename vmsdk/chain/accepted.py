"""The accepted state: the database below all undecided blocks, its cache, and snapshots."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vmsdk.chain.errors import SnapshotUnavailable
from vmsdk.chain.state import State, merge
from vmsdk.database import Batch, Database
from vmsdk.errors import VMError

PREFIXES = (b"s", b"S")
"""The keys of the state have one of these prefixes. State sync writes a state under the other."""
_PREFIX_KEY = b"mstate"  # which of them; missing for the first

# The approximate memory of a cached pair, in addition to its bytes.
_PAIR_OVERHEAD_BYTES = 200


class AcceptedState(State):
    """The state after the last accepted block. Any thread may read it; one thread commits.

    A commit is one database batch. Readers on other threads may see the values before or after it:
    they compare `generation` before and after, or read a snapshot.
    """

    def __init__(
        self,
        database: Database,
        *,
        cache_bytes: int = 32 * 1024 * 1024,
        max_snapshots: int = 256,
        snapshot_seconds: float = 30,
        snapshot_commits: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self.prefix = database.get(_PREFIX_KEY, PREFIXES[0])
        """One byte that precedes each key of the state in the database."""
        self._cache: OrderedDict[bytes, bytes | None] = OrderedDict()
        self._cached_bytes = 0
        self.hits = 0
        """The number of reads from the cache."""
        self.misses = 0
        """The number of reads from the database."""
        self._max_cached_bytes = cache_bytes
        self._max_snapshots = max_snapshots
        self._snapshot_seconds = snapshot_seconds
        self._snapshot_commits = snapshot_commits
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._failure: BaseException | None = None
        self.generation = 0
        """Incremented at the start and the end of each commit, so odd during one."""
        self.changes = 0
        """Incremented when lookups return the values of a commit, before they are stored."""
        self._open: set[Snapshot] = set()
        # For each commit since the oldest open snapshot: its generation, and the values that it has
        # overwritten.
        self._undo: deque[tuple[int, dict[bytes, bytes | None]]] = deque()

    # Reading --------------------------------------------------------------------------------------

    def lookup(self, key: bytes) -> bytes | None:
        with self._lock:
            if key in self._cache:
                self.hits += 1
                self._cache.move_to_end(key)
                return self._cache[key]
            self.misses += 1
            generation, prefix = self.generation, self.prefix
        value = self._database.get(prefix + key)
        with self._lock:
            # A value that was read during a commit may be outdated.
            if generation == self.generation and not generation & 1:
                self._remember(key, value)
        return value

    def lookup_many(self, keys: list[bytes]) -> list[bytes | None]:
        with self._lock:
            generation, prefix = self.generation, self.prefix
            found = {key: self._cache[key] for key in keys if key in self._cache}
            self.hits += len(found)
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        if missing:
            self.misses += len(missing)
            values = self._database.get_many([prefix + key for key in missing])
            found.update(zip(missing, values, strict=True))
            with self._lock:
                if generation == self.generation and not generation & 1:
                    for key in missing:
                        self._remember(key, found[key])
        return [found[key] for key in keys]

    def pairs(self, prefix: bytes, first: bytes) -> Iterator[tuple[bytes, bytes]]:
        own = self.prefix
        with self._database.iterate(prefix=own + prefix, start=own + first) as pairs:
            for key, value in pairs:
                yield key[1:], value

    @property
    def cached_bytes(self) -> int:
        """The memory that the cache takes, in bytes."""
        return self._cached_bytes

    def settled(self) -> int:
        """Wait for the end of a commit, and return the generation. Raises like `must_be_sound`."""
        with self._lock:
            return self._settled()

    def _settled(self) -> int:
        self._changed.wait_for(lambda: self._failure is not None or not self.generation & 1)
        self.must_be_sound()
        return self.generation

    def must_be_sound(self) -> None:
        """Raise `VMError` if a commit has failed."""
        if self._failure is not None:
            raise VMError(f"the chain has stopped, because a block could not be stored: {self._failure}")

    # Committing -----------------------------------------------------------------------------------

    @contextmanager
    def commit(self, writes: dict[bytes, bytes | None]) -> Iterator[Batch]:
        """Apply *writes* in one batch, to which the `with` block can add more."""
        with self._changing():
            # No snapshot can be opened until the end of the commit.
            before = self.lookup_many(list(writes)) if self._open else None
            with self._lock:
                if before is not None:
                    self._undo.append((self.generation, dict(zip(writes, before, strict=True))))
                for key, value in writes.items():
                    self._remember(key, value)
                self.changes += 1
            with self._database.batch() as batch:
                for key, value in writes.items():
                    if value is None:
                        batch.delete(self.prefix + key)
                    else:
                        batch.put(self.prefix + key, value)
                yield batch

    @property
    def spare_prefix(self) -> bytes:
        """The prefix under which `replace` expects the new state."""
        return PREFIXES[self.prefix == PREFIXES[0]]

    @contextmanager
    def replace(self) -> Iterator[Batch]:
        """Switch to the state under `spare_prefix` in one batch, to which the `with` block can add
        more. Closes all snapshots.
        """
        prefix = self.spare_prefix
        with self._changing():
            with self._database.batch() as batch:
                batch.put(_PREFIX_KEY, prefix)
                yield batch
            with self._lock:
                self.prefix = prefix
                self._cache.clear()
                self._cached_bytes = 0
                self._open.clear()
                self.changes += 1

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            self.must_be_sound()
            self.generation += 1
        try:
            yield
        except BaseException as error:
            with self._lock:
                self._failure = error
                self._changed.notify_all()
            raise
        with self._lock:
            self.generation += 1
            self._expire()
            self._changed.notify_all()

    def _remember(self, key: bytes, value: bytes | None) -> None:
        if key in self._cache:
            self._cached_bytes -= len(key) + len(self._cache.pop(key) or b"") + _PAIR_OVERHEAD_BYTES
        self._cache[key] = value
        self._cached_bytes += len(key) + len(value or b"") + _PAIR_OVERHEAD_BYTES
        while self._cached_bytes > self._max_cached_bytes:
            old, old_value = self._cache.popitem(last=False)
            self._cached_bytes -= len(old) + len(old_value or b"") + _PAIR_OVERHEAD_BYTES

    # Snapshots ------------------------------------------------------------------------------------

    def open_snapshot(self) -> Snapshot:
        """The current state, unchanged by later blocks. Close it soon.

        Raises `SnapshotUnavailable` if too many are open.
        """
        with self._lock:
            generation = self._settled()
            self._expire()
            if len(self._open) >= self._max_snapshots:
                raise SnapshotUnavailable(
                    f"{len(self._open)} snapshots are open: close each at the end of its `with` block"
                )
            snapshot = Snapshot(self, generation, self._clock())
            self._open.add(snapshot)
            return snapshot

    def _close(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._open.discard(snapshot)
            self._trim()

    def _expire(self) -> None:
        now = self._clock()
        self._open = {
            snapshot
            for snapshot in self._open
            if now - snapshot.opened_at <= self._snapshot_seconds
            and self.generation - snapshot.generation <= 2 * self._snapshot_commits
        }
        self._trim()

    def _trim(self) -> None:
        oldest = min((snapshot.generation for snapshot in self._open), default=self.generation)
        while self._undo and self._undo[0][0] <= oldest:
            self._undo.popleft()

    def _undone(self, snapshot: Snapshot) -> list[dict[bytes, bytes | None]]:
        """The values that commits since *snapshot* have overwritten, from the oldest commit on."""
        if snapshot not in self._open:
            raise SnapshotUnavailable(
                f"the snapshot is closed or too old: it can be read for {self._snapshot_seconds:g} s and for "
                f"{self._snapshot_commits} blocks; open a new one"
            )
        return [before for generation, before in self._undo if generation > snapshot.generation]


class Snapshot(State):
    """The accepted state at one point in time, read-only. Thread-safe."""

    def __init__(self, accepted: AcceptedState, generation: int, opened_at: float) -> None:
        self._accepted = accepted
        self.claims = {}
        self.generation = generation
        self.opened_at = opened_at

    def close(self) -> None:
        """Release the memory that the snapshot takes. Idempotent."""
        self._accepted._close(self)

    def _undone(self) -> list[dict[bytes, bytes | None]]:
        with self._accepted._lock:
            return self._accepted._undone(self)

    # The current value is read first: a commit records the old one before it overwrites it.

    def lookup(self, key: bytes) -> bytes | None:
        value = self._accepted.lookup(key)
        for before in self._undone():
            if key in before:
                return before[key]
        return value

    def lookup_many(self, keys: list[bytes]) -> list[bytes | None]:
        found = dict(zip(keys, self._accepted.lookup_many(keys), strict=True))
        for before in reversed(self._undone()):
            found.update((key, before[key]) for key in found.keys() & before.keys())
        return [found[key] for key in keys]

    def pairs(self, prefix: bytes, first: bytes) -> Iterator[tuple[bytes, bytes]]:
        own = self._accepted.prefix
        with self._accepted._database.iterate(prefix=own + prefix, start=own + first) as stored:
            # Collected only now: the iterator is itself a snapshot of the database.
            changes: dict[bytes, bytes | None] = {}
            for before in reversed(self._undone()):
                changes.update(
                    (key, value) for key, value in before.items() if key.startswith(prefix) and key >= first
                )
            pairs = ((key[1:], value) for key, value in stored)
            yield from merge(pairs, sorted(changes.items()))
