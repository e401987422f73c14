"""A gRPC server whose threads take calls out of the core's queue and run them on the spot.

grpcio's own server takes a call in one thread, hands it to another, and wakes that one again for
the message and for the end. Here the thread that gets the message runs the method and sends the
whole response (docs/performance.md has the figures).

It stands on `grpc._cython.cygrpc`, the private module on which grpcio's own server is built. No
other file knows that module; `vmsdk.rpc.listener` uses grpcio's server when `check_core` finds it
changed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, NoReturn

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from vmsdk.rpc.errors import text_of, without_paths
from vmsdk.rpc.lane import HELD_AFTER_S, Lane, end_process
from vmsdk.rpc.peercheck import REFUSAL, PeerCheck

POLLERS = 2
"""How many threads wait for calls: while one runs a call, another takes the next one."""
CATCH_UP_S = 0.2
"""How often idle threads look for due work. The core wakes them this often anyway, by its monotonic
clock, so changes of the wall clock don't matter.
"""
HANGS_AFTER_S = 0.5
"""How long a stop waits for a method whose call it has cancelled."""
MAX_OTHER_CALLS = 8
"""Concurrent calls of methods that are not in a lane."""

UNRESERVED_AT_START = 2
"""The threads for calls in other lanes that are started at once, so that WaitForEvent and one more
call get their threads even when the system has none left.
"""

_NOTHING = nullcontext()

_log = logging.getLogger("vmsdk.rpc")


def check_core() -> None:
    """Raise unless the private module has what this file uses. Takes a few microseconds."""
    server, queue = cygrpc.Server((), False), cygrpc.CompletionQueue()
    server.register_completion_queue(queue)
    if queue.poll(0.0).completion_type != cygrpc.CompletionType.queue_timeout:
        raise AttributeError("poll")
    cygrpc.SendInitialMetadataOperation(None, 0)
    cygrpc.SendMessageOperation(b"", 0)
    cygrpc.SendStatusFromServerOperation(None, 0, b"", 0)
    for owner, names in (
        (cygrpc.ReceiveMessageOperation(0), "message"),
        (cygrpc.ReceiveCloseOnServerOperation(0), "cancelled"),
        (cygrpc.Server, "start request_call add_http2_port shutdown cancel_all_calls destroy"),
        (cygrpc.CompletionQueue, "shutdown"),
        (cygrpc.Call, "start_server_batch cancel peer"),
        (cygrpc.CallDetails, "method deadline"),
        (cygrpc.RequestCallEvent, "tag success call call_details invocation_metadata"),
        (cygrpc.BatchOperationEvent, "tag batch_operations"),
        (cygrpc.CompletionType, "queue_shutdown"),
    ):
        for name in names.split():
            getattr(owner, name)
    server.destroy()


class PollServer:
    """A server for unary and response-streaming methods, created and used like `grpc.server`.

    A few threads share one queue. The one that gets a call runs it; another takes the queue over,
    so that one thread is always waiting for calls. All that the reserved lanes may need are started
    at once, with a few for the others, and the rest when calls overlap.
    """

    def __init__(
        self,
        options: Sequence[tuple[str, Any]] = (),
        *,
        reserved: int = 0,
        around: AbstractContextManager[object] = _NOTHING,
        on_failure: Callable[[str], object] = end_process,
    ) -> None:
        """*reserved* is the sum of the limits of the reserved lanes. Threads enter *around* for
        each event, a call's method included. *on_failure* ends the process.

        Raises `RuntimeError` when no thread can be started.
        """
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(tuple(options), False)
        self._server.register_completion_queue(self._queue)
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._others = Lane("others", limit=MAX_OTHER_CALLS)
        self._around = around
        self._on_failure = on_failure
        self.peers: PeerCheck | None = None
        """Who may call, if not everybody."""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._is_serving = False
        self._is_stopping = False
        self._is_shut = False
        self._is_ended = False
        self._cancel_at_s: float | None = None
        self._give_up_at_s: float | None = None
        self._armed = 0
        self._calls = 0
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
        port: int = self._server.add_http2_port(address.encode())
        if not port:
            raise RuntimeError(f"can't listen at {address}: it is taken, or not an address of this machine")
        return port

    def start(self) -> None:
        """Start serving calls."""
        with self._lock:
            self._start()

    def _start(self) -> None:
        self._server.start()
        self._is_serving = True
        self._arm()
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
            if not self._is_serving:
                self._start()  # the core closes its ports only when it has served
            if not self._is_stopping:
                self._is_stopping = True
                self._server.shutdown(self._queue, self._shut)
            if grace:
                cancel_at_s = time.monotonic() + grace
                self._cancel_at_s = min(cancel_at_s, self._cancel_at_s or cancel_at_s)
            else:
                self._cancel_all()
        return self._ended

    def _cancel_all(self) -> None:
        """With the lock held: cancel every call."""
        self._cancel_at_s = None
        if not self._is_shut:
            self._server.cancel_all_calls()
        self._give_up_at_s = time.monotonic() + HANGS_AFTER_S

    # The queue ------------------------------------------------------------------------------------

    def _run_thread(self) -> None:
        try:
            while self._bench.get() and self._poll():
                pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, the calls of this thread are lost
            self._on_failure(f"a thread that serves gRPC can't go on: {type(error).__name__}: {error}")
        finally:
            with self._lock:
                self._threads -= 1
                if not self._threads:
                    self._ended.set()

    def _poll(self) -> bool:
        """Handle events until enough other threads do (true) or the server has ended (false)."""
        poll = self._queue.poll
        timeout, shutdown = cygrpc.CompletionType.queue_timeout, cygrpc.CompletionType.queue_shutdown
        while True:
            event = poll(time.time() + (HELD_AFTER_S if self._starved else CATCH_UP_S))
            if event.completion_type == shutdown:
                return False
            if event.completion_type != timeout:
                with self._around:
                    event.tag(event)
            # An event kept while waiting for the next would keep its call alive.
            event = None
            if self._has_more_to_do:
                self._catch_up()
            if self._polling > POLLERS:
                with self._lock:
                    if self._polling > POLLERS and not self._is_ended:
                        self._polling -= 1
                        self._benched += 1
                        return True

    @property
    def _has_more_to_do(self) -> bool:
        return (
            bool(self._starved)
            or self._armed < POLLERS
            or (self._is_stopping and (_is_due(self._cancel_at_s) or _is_due(self._give_up_at_s)))
        )

    def _catch_up(self) -> None:
        """Do work that has become due, or that had no thread before."""
        with self._lock:
            if _is_due(self._cancel_at_s):
                self._cancel_all()
            if _is_due(self._give_up_at_s):
                self._give_up_at_s = None
                self._ended.set()
            self._arm()
            starved = len(self._starved)
        # One by one: a call may hold this thread for long, and the other lanes are then left to
        # others.
        for _ in range(starved):
            with self._lock:
                lane = self._starved.pop(0) if self._starved else None
            if lane is not None:
                self._run_waiting(lane)

    def _arm(self) -> None:
        """With the lock held: ask the core for more calls."""
        while self._armed < POLLERS and self._is_serving and not self._is_stopping:
            self._server.request_call(self._queue, self._queue, self._accept)
            self._armed += 1

    def _accept(self, event: Any) -> None:
        """A call has arrived, without its message yet."""
        with self._lock:
            self._armed -= 1
            if not event.success:
                self._end_if_done()
                return
            self._calls += 1
            self._arm()
        call = ServedCall(self, event)
        if self.peers is not None and not self.peers.admits(event.call.peer().decode()):
            call.refuse(grpc.StatusCode.PERMISSION_DENIED, REFUSAL)
            return
        method = event.call_details.method.decode("utf-8", "replace")
        try:
            handler = self._find(_Details(method, event.invocation_metadata))
        except Exception:  # noqa: BLE001 - the call needs a response
            _log.exception("%s: looking for its handler failed", method)
            call.refuse(grpc.StatusCode.UNKNOWN, "Error in service handler!")
            return
        if handler is None or handler.request_streaming:
            call.refuse(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        else:
            call.receive(handler, getattr(handler, "lane", self._others))

    def _find(self, details: _Details) -> Any:
        for each in self._handlers:
            if (handler := each.service(details)) is not None:  # type: ignore[arg-type]
                return handler
        return None

    def _shut(self, event: object) -> None:
        with self._lock:
            self._is_shut = True
            self._end_if_done()

    def finished(self) -> None:
        """A call has ended, and the core has released it."""
        with self._lock:
            self._calls -= 1
            self._end_if_done()

    def _end_if_done(self) -> None:
        if self._is_shut and not self._calls and not self._armed:
            self._queue.shutdown()
            self._end()

    def _end(self) -> None:
        self._is_ended = True
        self._server.destroy()
        for _ in range(self._benched):
            self._bench.put(False)
        self._benched = 0

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
            is_refused = len(lane.waiting) > lane.queue_limit and self._has_taken(call)
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
            call.run()
            call = self._next(lane)

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

    def _next(self, lane: Lane) -> ServedCall | None:
        """The next waiting call; without one, this thread waits for events again."""
        me, now_s = threading.get_ident(), time.monotonic()
        with self._lock:
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


def _is_due(at_s: float | None) -> bool:
    return at_s is not None and time.monotonic() >= at_s


class _Details(NamedTuple):
    """What a generic handler receives: the attributes of `grpc.HandlerCallDetails`."""

    method: str
    invocation_metadata: Any


class _Aborted(Exception):
    """Raised by `abort` to leave the method."""


class ServedCall:
    """One call, which its method gets as the context."""

    def __init__(self, server: PollServer, event: Any) -> None:
        self._server = server
        self._call = event.call
        self._deadline_s: float = event.call_details.deadline
        self._metadata = event.invocation_metadata
        self._lock = threading.Lock()
        self._due = 0
        self._closes = True
        self._has_begun_response = False
        self.is_cancelled = False
        self._is_aborted = False
        self._is_finished = False
        self._callbacks: list[Callable[[], None]] | None = []
        self._code: grpc.StatusCode | None = None
        self._text = b""
        self._trailing_metadata: Any = None
        self._request: Any = None

    # For the server -------------------------------------------------------------------------------

    def receive(self, handler: Any, lane: Lane) -> None:
        """Ask for the message, and run the call when it is there."""
        self.lane = lane
        self._handler = handler
        if lane.cancellable:
            self._closes = False
            self._start((cygrpc.ReceiveCloseOnServerOperation(0),), self._closed)
        self._start((cygrpc.ReceiveMessageOperation(0),), self._received)

    def run(self) -> None:
        """Run the method and send its response."""
        request, self._request = self._request, None
        if self.is_cancelled:
            self.refuse(grpc.StatusCode.CANCELLED, "the client has left")
            return
        message = None
        try:
            if self._handler.response_streaming:
                Context().run(self._send_all, request)
            else:
                response = Context().run(self._handler.unary_unary, request, self)
                message = self._encode(response)
        except BaseException as error:  # noqa: BLE001 - SystemExit too: this thread serves other calls
            if not self._is_aborted:
                self._fail(error)
        self._finish(message)

    def refuse(self, code: grpc.StatusCode, text: str) -> None:
        """End the call without a message."""
        self._code, self._text = code, text.encode()
        self._finish(None)

    # For the method -------------------------------------------------------------------------------

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self._code = grpc.StatusCode.UNKNOWN if code is grpc.StatusCode.OK else code
        self._text = details.encode("utf-8", "replace")
        self._is_aborted = True
        raise _Aborted

    def add_callback(self, callback: Callable[[], None]) -> bool:
        with self._lock:
            if self._callbacks is None:
                return False
            self._callbacks.append(callback)
            return True

    def is_active(self) -> bool:
        return not (self.is_cancelled or self._is_finished)

    def time_remaining(self) -> float:
        return max(self._deadline_s - time.time(), 0.0)

    def invocation_metadata(self) -> Any:
        return self._metadata

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._trailing_metadata = metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._text = details.encode("utf-8", "replace")

    def code(self) -> grpc.StatusCode | None:
        return self._code

    def details(self) -> bytes:
        return self._text

    # The core -------------------------------------------------------------------------------------

    def _start(self, operations: Sequence[Any], tag: Callable[[Any], None]) -> None:
        with self._lock:
            self._due += 1
        self._start_batch(operations, tag)

    def _start_batch(self, operations: Sequence[Any], tag: Callable[[Any], None]) -> None:
        if error := self._call.start_server_batch(operations, tag):
            raise RuntimeError(f"the gRPC core refused to go on with a call: error {error}")

    def _received(self, event: Any) -> None:
        data = event.batch_operations[0].message()
        self._ended_batch()
        if data is None:
            self.refuse(grpc.StatusCode.UNIMPLEMENTED, "the method takes exactly one message")
            return
        decode = self._handler.request_deserializer
        try:
            self._request = data if decode is None else decode(data)
        except Exception:  # noqa: BLE001 - the call needs a response
            _log.exception("a message can't be decoded")
            self._request = None
        if self._request is None:
            self.refuse(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
        else:
            self._server.run(self)

    def _closed(self, event: Any) -> None:
        if event.batch_operations[0].cancelled():
            self.is_cancelled = True
            self._run_callbacks()
            self._server.withdraw(self)
        self._ended_batch()

    def _send_all(self, request: Any) -> None:
        for response in self._handler.unary_stream(request, self):
            sent = threading.Event()
            self._start(self._first_operations(self._encode(response)), partial(self._sent, sent))
            sent.wait()
            if not self.is_active():
                return

    def _sent(self, sent: threading.Event, event: object) -> None:
        self._ended_batch()
        sent.set()

    def _encode(self, response: Any) -> bytes:
        encode = self._handler.response_serializer
        data: bytes = response if encode is None else encode(response)
        return data

    def _fail(self, error: BaseException) -> None:
        _log.error("a gRPC method raised %s", type(error).__name__, exc_info=error)
        text = f"Exception calling application: {without_paths(text_of(error) or type(error).__name__)}"
        self._code, self._text = grpc.StatusCode.UNKNOWN, text.encode("utf-8", "replace")

    def _first_operations(self, message: bytes | None) -> list[Any]:
        operations = []
        if not self._has_begun_response:
            self._has_begun_response = True
            operations.append(cygrpc.SendInitialMetadataOperation(None, 0))
        if message is not None:
            operations.append(cygrpc.SendMessageOperation(message, 0))
        return operations

    def _finish(self, message: bytes | None) -> None:
        """Send all that is left of the response in one batch."""
        with self._lock:
            self._due += 1
            self._is_finished = True
        try:
            code = 0 if self._code is None else self._code.value[0]
            status = cygrpc.SendStatusFromServerOperation(self._trailing_metadata, code, self._text, 0)
            operations = [*self._first_operations(message), status]
            if self._closes:
                operations.append(cygrpc.ReceiveCloseOnServerOperation(0))
            self._start_batch(operations, self._sent_status)
        except Exception as error:  # noqa: BLE001 - one bad response must not end the server
            _log.error("the response of a gRPC call can't be sent", exc_info=error)
            self._call.cancel(grpc.StatusCode.INTERNAL.value[0], "the response can't be sent")
            self._ended_batch()

    def _sent_status(self, event: object) -> None:
        self._ended_batch()

    def _ended_batch(self) -> None:
        with self._lock:
            self._due -= 1
            is_over = self._is_finished and not self._due
        if is_over:
            # Not left to the garbage collector: the server ends only when the core holds no call
            # any more.
            self._call = None
            self._run_callbacks()
            self._server.finished()

    def _run_callbacks(self) -> None:
        with self._lock:
            callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            try:
                callback()
            except Exception:  # noqa: BLE001 - the other callbacks must run too
                _log.exception("a callback at the end of a gRPC call failed")
