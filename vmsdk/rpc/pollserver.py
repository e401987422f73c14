"""A gRPC server whose threads take calls from their connections and run them on the spot.

grpcio's own server takes a call in one thread, hands it to another, and wakes that one again for
the message and for the end. Here the thread that reads a call runs its method and sends the whole
response (docs/performance.md has the figures).
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from queue import SimpleQueue
from typing import Any
from weakref import WeakSet

import grpc

from vmsdk.http2.server import Broken, Connection, Stream
from vmsdk.rpc.lane import HELD_AFTER_S, Lane, end_process
from vmsdk.rpc.peercheck import REFUSAL, PeerCheck
from vmsdk.rpc.servedcall import Details, ServedCall

POLLERS = 2
"""How many threads wait for calls: while one runs a call, another takes the next one."""
CATCH_UP_S = 0.2
"""How often idle threads look for due work."""
HANGS_AFTER_S = 0.5
"""How long a stop waits for a method whose call it has cancelled."""
BACKLOG = 128
"""Connections that wait to be taken."""
SHORTAGE_S = 0.05
"""How long a connection waits while the system has nothing to take it with."""
MAX_CONNECTIONS = 256
"""A node has one connection to each server. Descriptors must be left for everything else."""
MAX_CALLS = 4_000
"""Calls of one connection that have not ended. Fewer are waited for: `vmsdk.rpc.http.capacity`."""
TOO_MANY_CALLS = f"more than {MAX_CALLS} calls at once on one connection, try again later"
MAX_OTHER_CALLS = 8
"""Concurrent calls of methods that are not in a lane."""

UNRESERVED_AT_START = 2
"""The threads for calls in other lanes that are started at once, so that WaitForEvent and one more
call get their threads even when the system has none left.
"""

_NOTHING = nullcontext()
_NEXT = select.EPOLLIN | select.EPOLLONESHOT
"""Wake one thread, once."""

_log = logging.getLogger("vmsdk.rpc")


class PollServer:
    """A server for unary and response-streaming methods, created and used like `grpc.server`.

    A few threads wait for all connections. The one that gets a call runs it, and another keeps
    waiting, so that there is always one. All that the reserved lanes may need are started at once,
    with a few for the others, and the rest when calls overlap.
    """

    def __init__(
        self,
        *,
        reserved: int = 0,
        around: AbstractContextManager[object] = _NOTHING,
        on_failure: Callable[[str], object] = end_process,
    ) -> None:
        """*reserved* is the sum of the limits of the reserved lanes. Threads enter *around* to
        read, and to run each call. *on_failure* ends the process.

        Raises `RuntimeError` when no thread can be started.
        """
        _servers.add(self)
        self._epoll = select.epoll()
        # Written to when a thread should look: at calls that are ready, or that the server ends.
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN | select.EPOLLET)
        self._listeners: dict[int, socket.socket] = {}
        self._connections: dict[int, Connection] = {}
        self._ready: deque[ServedCall] = deque()
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._others = Lane("others", limit=MAX_OTHER_CALLS)
        self._around = around
        self._on_failure = on_failure
        self.receiving: AbstractContextManager[object] = _NOTHING
        """Entered while a thread reads what has arrived."""
        self.peers: PeerCheck | None = None
        """Who may call, if not everybody."""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._is_stopping = False
        self._is_ended = False
        self._cancel_at_s: float | None = None
        self._give_up_at_s: float | None = None
        self._calls: set[ServedCall] = set()
        # Threads: each waits for calls, runs one, or waits on the bench until it is needed.
        self._bench: SimpleQueue[bool] = SimpleQueue()
        self._benched = 0
        self._polling = 0
        self._threads = 0
        self._unreserved_running = 0
        self._keep_free = max(reserved + 1, POLLERS)
        self._starved: list[Lane] = []
        try:
            with self._lock:
                for _ in range(self._keep_free + (UNRESERVED_AT_START if reserved else 0)):
                    self._start_thread()
        except BaseException:
            self._end()
            raise

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Serve *handlers*: the first that knows a method serves it."""
        self._handlers.extend(handlers)

    def add_insecure_port(self, address: str) -> int:
        """Listen at *address*; returns the port. Raises `RuntimeError` when it can't be bound."""
        try:
            listener, port = _listen(address)
        except (OSError, ValueError) as error:
            raise RuntimeError(f"can't listen at {address}: {error}") from None
        self._listeners[listener.fileno()] = listener
        return port

    def start(self) -> None:
        """Start serving calls."""
        with self._lock:
            for each in self._listeners:
                self._epoll.register(each, _NEXT)
            for _ in range(POLLERS):
                self._call_up()

    def stop(self, grace: float | None) -> threading.Event:
        """Take no more calls, and cancel those that run after *grace* seconds.

        The event is set at the end. A method that hangs doesn't delay it for long, but keeps its
        thread.
        """
        with self._lock:
            if self._is_ended:
                return self._ended
            if not self._is_stopping:
                self._is_stopping = True
                self._stop_listening()
            connections = [*self._connections.values()]
            cancelled: list[ServedCall] = []
            if grace:
                cancel_at_s = time.monotonic() + grace
                self._cancel_at_s = min(cancel_at_s, self._cancel_at_s or cancel_at_s)
            else:
                cancelled = self._all_to_cancel()
            self._end_if_done()
        for connection in connections:
            with suppress(Broken):
                connection.leave()
        for call in cancelled:
            call.cancel()
        return self._ended

    def _all_to_cancel(self) -> list[ServedCall]:
        """With the lock held: the calls that run, for the caller to cancel without the lock."""
        self._cancel_at_s = None
        self._give_up_at_s = time.monotonic() + HANGS_AFTER_S
        return [*self._calls]

    # Connections ----------------------------------------------------------------------------------

    def _run_thread(self) -> None:
        try:
            while self._bench.get() and self._poll():
                pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, the calls of this thread are lost
            self._on_failure(f"a thread that serves gRPC can't go on: {type(error).__name__}: {error}")
        finally:
            with self._lock:
                self._threads -= 1
                if self._is_ended:
                    self._end_if_left()

    def _poll(self) -> bool:
        """Handle events until enough other threads do (true) or the server has ended (false)."""
        while True:
            due_s = HELD_AFTER_S if self._starved else CATCH_UP_S
            for descriptor, _ in self._epoll.poll(due_s, 1):
                self._handle(descriptor)
            if self._is_ended:
                return False
            if self._starved or self._is_stopping:
                self._catch_up()
            if self._polling > POLLERS:
                with self._lock:
                    if self._polling > POLLERS and not self._is_ended:
                        self._polling -= 1
                        self._benched += 1
                        return True

    def _handle(self, descriptor: int) -> None:
        if (connection := self._connections.get(descriptor)) is not None:
            self._receive(connection)
        elif (listener := self._listeners.get(descriptor)) is not None:
            self._welcome(listener)
        elif self._ready:
            self._run_ready()

    def _welcome(self, listener: socket.socket) -> None:
        """Take a new connection."""
        try:
            sock, address = listener.accept()
        except BlockingIOError:
            pass
        except OSError:
            self._ended.wait(SHORTAGE_S)  # such as no descriptor being left
        else:
            peer = "unix:"
            if listener.family != socket.AF_UNIX:
                with suppress(OSError):  # the client has left
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer = f"ipv4:{address[0]}:{address[1]}"
            sock.setblocking(True)
            connection = Connection(sock, peer, self._watch)
            with self._lock:
                if self._is_stopping or not self._has_room():
                    connection.close()
                else:
                    self._connections[connection.descriptor] = connection
                    self._epoll.register(connection.descriptor, _events(connection))
        with self._lock:
            if not self._is_stopping:
                self._epoll.modify(listener.fileno(), _NEXT)

    def _has_room(self) -> bool:
        """With the lock held: whether there may be one more connection. The oldest without a call
        makes room for it.
        """
        if len(self._connections) < MAX_CONNECTIONS:
            return True
        left = [each for each in self._connections.values() if not each.is_ended]
        if len(left) < MAX_CONNECTIONS:
            return True
        silent = next((each for each in left if not each.has_called), None)
        if silent is None:
            return False
        silent.end()
        return True

    def _receive(self, connection: Connection) -> None:
        """Read what a connection has, leave it to the next thread, and run the oldest call."""
        with self._lock:
            if connection.is_received_from:
                return
            connection.is_received_from = True
        ready = []
        with self._around, self.receiving:
            for stream in connection.receive():
                call: ServedCall = stream.call or self._accept(stream)
                if stream.is_reset:
                    call.left()
                if stream.is_complete and not call.has_arrived:
                    call.has_arrived = True
                    ready.append(call)
        self._ready.extend(ready)
        connection.is_received_from = False
        self._watch(connection)
        if ready:
            self._run_ready()

    def _watch(self, connection: Connection) -> None:
        """Wake one thread when there is something to receive or to send; forget a connection that
        has ended.
        """
        with self._lock:
            if self._connections.get(connection.descriptor) is not connection or connection.is_received_from:
                return  # forgotten, or to be watched again by the thread that receives
            if not connection.is_ended:
                self._epoll.modify(connection.descriptor, _events(connection))
                return
            self._part_with(connection)
        for stream in connection.abandoned():
            if stream.call is not None:
                stream.call.left()

    def _part_with(self, connection: Connection) -> None:
        """With the lock held: forget a connection, before its number is another's."""
        del self._connections[connection.descriptor]
        # A forked child may still have the socket, and would keep it registered.
        self._epoll.unregister(connection.descriptor)
        connection.close()

    def _run_ready(self) -> None:
        try:
            call = self._ready.popleft()
        except IndexError:
            return  # another thread was first
        if self._ready:
            self._wake_one()
        call.arrived()

    def _wake_one(self) -> None:
        with self._lock:
            if not self._is_ended:
                os.eventfd_write(self._wake, 1)

    def _catch_up(self) -> None:
        """Do work that has become due, or that had no thread before."""
        cancelled: list[ServedCall] = []
        with self._lock:
            if _is_due(self._cancel_at_s):
                cancelled = self._all_to_cancel()
            if _is_due(self._give_up_at_s):
                self._give_up_at_s = None
                self._ended.set()
            starved = len(self._starved)
        for call in cancelled:
            call.cancel()
        # One by one: a call may hold this thread for long, and the other lanes are then left to
        # others.
        for _ in range(starved):
            with self._lock:
                lane = self._starved.pop(0) if self._starved else None
            if lane is not None:
                self._run_waiting(lane)

    def _accept(self, stream: Stream) -> ServedCall:
        """The call of a new stream, whose message may not be there yet. It may be refused."""
        stream.call = call = ServedCall(self, stream)
        with self._lock:
            if self._is_ended:
                return call  # without a handler: it is too late
            self._calls.add(call)
            stream.connection.calls += 1
            is_full = stream.connection.calls > MAX_CALLS
        if self.peers is not None and not self.peers.admits(stream.connection.peer):
            call.refuse(grpc.StatusCode.PERMISSION_DENIED, REFUSAL)
            return call
        stream.connection.has_called = True
        if is_full:
            call.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, TOO_MANY_CALLS)
            return call
        details = Details(stream)
        try:
            handler = self._find(details)
        except Exception:  # noqa: BLE001 - the call needs a response
            _log.exception("%s: looking for its handler failed", details.method)
            call.refuse(grpc.StatusCode.UNKNOWN, "Error in service handler!")
            return call
        if handler is None or handler.request_streaming:
            call.refuse(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        else:
            call.handler, call.lane = handler, getattr(handler, "lane", self._others)
        return call

    def _find(self, details: Details) -> Any:
        for each in self._handlers:
            if (handler := each.service(details)) is not None:  # type: ignore[arg-type]
                return handler
        return None

    def finishing(self, call: ServedCall) -> None:
        """The method of *call* has ended."""
        with self._lock:
            call.is_finishing = True
            call.lane.finishing += 1

    def finished(self, call: ServedCall) -> None:
        """A call has ended."""
        with self._lock:
            if call in self._calls:
                self._calls.remove(call)
                call.connection.calls -= 1
            if self._is_stopping:
                self._end_if_done()

    def _end_if_done(self) -> None:
        if not self._calls and not self._is_ended:
            self._end()

    def _end(self) -> None:
        """With the lock held: there are no more calls, and there will be none."""
        self._is_ended = True
        self._stop_listening()
        for connection in [*self._connections.values()]:
            self._part_with(connection)
        for _ in range(self._benched):
            self._bench.put(False)
        self._benched = 0
        self._end_if_left()

    def _end_if_left(self) -> None:
        """With the lock held: end for good when the last thread has left."""
        if self._threads:
            os.eventfd_write(self._wake, 1)  # one thread wakes the next
        elif not self._epoll.closed:
            self._epoll.close()
            os.close(self._wake)
            self._ended.set()

    def release(self) -> None:
        """In a forked child: close its copies of the sockets, which would otherwise outlive this
        process. No thread of the server is there.
        """
        for listener in self._listeners.values():
            listener.close()
        for connection in self._connections.values():
            connection.release()
        if not self._epoll.closed:
            self._epoll.close()
            os.close(self._wake)

    def _stop_listening(self) -> None:
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()

    # The threads ----------------------------------------------------------------------------------

    def _start_thread(self) -> None:
        threading.Thread(target=self._run_thread, name="vmsdk-grpc", daemon=True).start()
        self._threads += 1
        self._benched += 1

    def _call_up(self) -> None:
        """With the lock held: have one more thread wait for calls, if there is one."""
        if not self._benched:
            self._start_thread()
        self._benched -= 1
        self._polling += 1
        self._bench.put(True)

    def _has_thread_for(self, lane: Lane) -> bool:
        """With the lock held: whether *lane* may take a thread and leave reserved ones theirs."""
        if lane.reserved:
            return True
        try:
            while self._threads < self._unreserved_running + 1 + self._keep_free:
                self._start_thread()
        except (RuntimeError, MemoryError):
            return False
        return True

    def run(self, call: ServedCall) -> None:
        """Run *call* in this thread, and after it those that wait for its lane."""
        lane = call.lane
        with self._lock:
            # From here on, a client that leaves has `withdraw` called.
            is_cancelled = call.is_cancelled
            if not is_cancelled:
                lane.waiting[call] = None
        if is_cancelled:
            call.run()
            return
        self._run_waiting(lane)
        if lane.queue_limit is None:
            return
        with self._lock:
            is_refused = len(lane.waiting) > lane.queue_limit + lane.finishing and self._has_taken(call)
        if is_refused:
            call.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, lane.refusal)

    def withdraw(self, call: ServedCall) -> None:
        """End *call*, whose client has left, if it still waits: its lane may be stuck for good."""
        with self._lock:
            is_waiting = self._has_taken(call)
        if is_waiting:
            call.run()

    def _has_taken(self, call: ServedCall) -> bool:
        """With the lock held: whether *call* waited. It no longer does."""
        return call.lane.waiting.pop(call, call) is None

    def _run_waiting(self, lane: Lane) -> None:
        call = self._begin(lane)
        while call is not None:
            with self._around:
                call.run()
            call = self._next(lane, call)

    def _begin(self, lane: Lane) -> ServedCall | None:
        """A waiting call that this thread is to run, while another waits for calls."""
        now_s = time.monotonic()
        with self._lock:
            if not lane.waiting:
                return None
            has_room = lane.has_room(now_s, len(lane.began_s))
            if not (has_room and self._has_thread_for(lane)):
                if has_room or len(lane.began_s) < lane.grown_limit:
                    self._note_starved(lane)
                return None
            call: ServedCall = lane.waiting.popitem(last=False)[0]
            lane.began_s[threading.get_ident()] = now_s
            self._unreserved_running += not lane.reserved
            self._polling -= 1
            if not self._polling:
                self._call_up()
            if lane.waiting:
                self._note_starved(lane)
            return call

    def _note_starved(self, lane: Lane) -> None:
        """With the lock held: have the thread that waits for calls look at *lane* again soon."""
        if lane not in self._starved:
            self._starved.append(lane)

    def _next(self, lane: Lane, ended: ServedCall) -> ServedCall | None:
        """The next waiting call; without one, this thread waits for events again."""
        me, now_s = threading.get_ident(), time.monotonic()
        with self._lock:
            lane.finishing -= ended.is_finishing
            if lane.waiting and lane.has_room(now_s, len(lane.began_s) - 1):
                lane.began_s[me] = now_s
                call: ServedCall = lane.waiting.popitem(last=False)[0]
                return call
            del lane.began_s[me]
            if lane.waiting:
                # Those that run now may turn out to be held, and never come here.
                self._note_starved(lane)
            self._unreserved_running -= not lane.reserved
            self._polling += 1
            return None


def _events(connection: Connection) -> int:
    return _NEXT | select.EPOLLOUT if connection.has_pending else _NEXT


def _is_due(at_s: float | None) -> bool:
    return at_s is not None and time.monotonic() >= at_s


_servers: WeakSet[PollServer] = WeakSet()


def _release_in_child() -> None:
    for server in _servers:
        server.release()


os.register_at_fork(after_in_child=_release_in_child)


def _listen(address: str) -> tuple[socket.socket, int]:
    """A socket that listens at *address*, and its port."""
    path = address.removeprefix("unix:")
    if path != address:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        where: Any = path
    else:
        host, _, port = address.rpartition(":")
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        where = (host, int(port))
    try:
        listener.bind(where)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener, 0 if path != address else listener.getsockname()[1]
