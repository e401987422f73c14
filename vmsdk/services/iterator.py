"""Iterators over the node's database: they fetch one page ahead, and are always released."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from time import monotonic, perf_counter
from typing import TypeAlias

from vmsdk._pb.rpcdb import rpcdb_pb2 as pb
from vmsdk._pb.rpcdb.rpcdb_grpc import Database as Methods
from vmsdk.database import DatabaseIterator
from vmsdk.errors import Closed, NodeError, NotFound
from vmsdk.services.call import Call, Pending
from vmsdk.services.channel import Channel
from vmsdk.services.failstop import FailStop

READ_AFTER_S = 600.0
"""A page is read no later than this, even if it is not needed yet. The node's server sends a page
only once, and closes a connection that nobody reads for 2 h
(`vmsdk.services.channel.LONGEST_IDLE_S`).
"""

_GivenUp: TypeAlias = "SimpleQueue[_Cursor | threading.Event | None]"
"""The thread's work: cursors to release, events to set after them, None to end."""


class Iterators:
    """All open iterators of one database, and the thread that releases abandoned ones and reads the
    pages of those that pause.

    The garbage collector may finalize an iterator anywhere, even while a lock is held, where
    nothing may wait and no call may start.
    """

    def __init__(self, channel: Channel, guard: FailStop) -> None:
        self._guard = guard
        self._create = Call(channel, Methods.NewIteratorWithStartAndPrefix)
        self._next = Call(channel, Methods.IteratorNext)
        self._release = Call(channel, Methods.IteratorRelease)
        self._lock = threading.Lock()
        self._open: set[_Cursor] = set()
        # Destructors may use a SimpleQueue: put never blocks, and is reentrant.
        self._given_up: _GivenUp = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def open(self, start: bytes, prefix: bytes) -> NodeIterator:
        """Open an iterator, and start fetching its first page."""
        request = pb.NewIteratorWithStartAndPrefixRequest(start=start, prefix=prefix)
        iterator_id = self._guard.call(self._create, request).id
        cursor = _Cursor(iterator_id, self._next, self._release, self._guard, self._open.discard)
        self._open.add(cursor)
        self._start_thread()
        cursor.fetch()
        return NodeIterator(cursor, self._guard, self._given_up)

    def release_all(self) -> None:
        """Release every open iterator, and wait until the node has done so."""
        for cursor in tuple(self._open):
            self._given_up.put(cursor)
        done = threading.Event()
        with self._lock:
            if self._thread is None or self._stopped:
                return
            self._given_up.put(done)
        done.wait()

    def stop(self) -> None:
        """End the thread, after the channel has been closed."""
        with self._lock:
            self._stopped = True
            self._given_up.put(None)
        if self._thread is not None:
            self._thread.join()

    def _start_thread(self) -> None:
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_attend, args=(self._given_up, self._open), name="vmsdk-iterators", daemon=True
                )
                self._thread.start()


def _attend(given_up: _GivenUp, unfinished: set[_Cursor]) -> None:
    due_s = monotonic() + READ_AFTER_S
    while True:
        try:
            item = given_up.get(timeout=max(0.0, due_s - monotonic()))
        except Empty:
            for cursor in tuple(unfinished):
                cursor.read()
            due_s = monotonic() + READ_AFTER_S
            continue
        if item is None:
            return
        if isinstance(item, threading.Event):
            item.set()
        else:
            item.give_up()


class NodeIterator(DatabaseIterator):
    """Reads one page of pairs while the next is being fetched. For one thread at a time."""

    def __init__(self, cursor: _Cursor, guard: FailStop, given_up: _GivenUp) -> None:
        self._cursor = cursor
        self._guard = guard
        self._page: Iterator[tuple[bytes, bytes]] = iter(())
        self._ended = False
        self._give_up = weakref.finalize(self, given_up.put, cursor)
        # At exit, the thread is gone. The node releases everything when the connection ends.
        self._give_up.atexit = False

    def __next__(self) -> tuple[bytes, bytes]:
        if self._ended:
            raise StopIteration
        self._guard.check()
        pair = next(self._page, None)
        return self._turn_page() if pair is None else pair

    def release(self) -> None:
        """Release the iterator at the node, in the background. It then ends."""
        self._ended = True
        self._page = iter(())
        self._give_up()

    def _turn_page(self) -> tuple[bytes, bytes]:
        try:
            page = self._cursor.turn()
        except BaseException:
            # The guard has recorded the failure, and refuses the next step.
            self._give_up()
            raise
        if not page:
            self._ended = True
            self._give_up.detach()
            raise StopIteration
        self._page = iter(page)
        return next(self._page)


class _Cursor:
    """The node's side of one iterator, which takes one request at a time."""

    def __init__(
        self,
        iterator_id: int,
        next_call: Call[pb.IteratorNextRequest, pb.IteratorNextResponse],
        release_call: Call[pb.IteratorReleaseRequest, pb.IteratorReleaseResponse],
        guard: FailStop,
        forget: Callable[[_Cursor], None],
    ) -> None:
        self._id = iterator_id
        self._request = pb.IteratorNextRequest(id=iterator_id)
        self._next = next_call
        self._release_call = release_call
        self._guard = guard
        self._forget = forget
        self._lock = threading.Lock()
        self._pending: Pending[pb.IteratorNextResponse] | None = None
        self._released = False

    def fetch(self) -> None:
        """Request the next page, without waiting for it."""
        try:
            self._pending = self._next.start(self._request)
        except NodeError as error:
            self._guard.remember(error)
            raise

    def turn(self) -> list[tuple[bytes, bytes]]:
        """The next page; empty at the end, when the iterator is released too."""
        with self._lock:
            if self._pending is None:  # released while it is being read: the database is being closed
                self._guard.check()
                raise Closed("the iterator was released")
            page = self._take()
            if page:
                self.fetch()
            else:
                self._release()
            return page

    def read(self) -> None:
        """Wait for the pending page, and keep it for `turn`."""
        with self._lock:
            if self._pending is not None:
                self._pending.read()

    def give_up(self) -> None:
        """Release the iterator at the node. The guard remembers a failure."""
        with self._lock:
            if self._released:
                return
            try:
                self._take()  # the node must not release while it reads a page
            except NodeError:
                pass
            try:
                self._release()
            except (NodeError, NotFound, Closed):
                pass

    def _take(self) -> list[tuple[bytes, bytes]]:
        pending, self._pending = self._pending, None
        if pending is None:
            return []
        metrics, began_s = self._guard.metrics, perf_counter()
        try:
            page = [(pair.key, pair.value) for pair in pending.wait().data]
        except NodeError as error:
            self._guard.remember(error)
            metrics.failed(self._next.path)
            raise
        metrics.ended(self._next.path, began_s)
        metrics.read(sum(len(value) for _, value in page))
        return page

    def _release(self) -> None:
        self._released = True
        self._forget(self)
        response = self._guard.watch(self._release_call, pb.IteratorReleaseRequest(id=self._id))
        self._guard.check_response(response.err)
