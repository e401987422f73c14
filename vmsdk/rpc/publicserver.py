"""grpcio's own server, which serves where the fast one can't, and the options of grpcio's servers.

A separate file because a plugin starts sooner without it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NoReturn

import grpc

from vmsdk.rpc.lane import Lane, end_process
from vmsdk.rpc.peercheck import REFUSAL, PeerCheck

# The node pings idle connections every 30 s. By gRPC's defaults, a server closes such connections
# ("too_many_pings"), and refuses messages over 4 MiB. Source: PingInterval and the limits of the
# node's vms/rpcchainvm/grpcutils.
MIN_PING_INTERVAL_MS = 5_000
KEEPALIVE_TIME_MS = 2 * 60 * 60 * 1_000
KEEPALIVE_TIMEOUT_MS = 20_000

SERVER_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    # Two servers must never share a port by accident.
    ("grpc.so_reuseport", 0),
    ("grpc.enable_http_proxy", 0),
]

PUBLIC_THREADS = 16
"""Threads for calls that are in no lane."""

_NOTHING = nullcontext()


class PublicServer:
    """grpcio's own server, with a thread pool for each lane."""

    def __init__(self, around: AbstractContextManager[object] = _NOTHING) -> None:
        self.around = around
        self._server = grpc.server(_Pool(PUBLIC_THREADS), options=SERVER_OPTIONS)
        self.add_insecure_port = self._server.add_insecure_port
        self.receiving = _NOTHING
        """Not entered: grpcio's threads read."""
        self.peers: PeerCheck | None = None
        """The callers to admit; None for all."""
        self._stopping = threading.Event()

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Serve *handlers*: the first that knows a method serves it."""
        self._server.add_generic_rpc_handlers([_Pooled(each, self) for each in handlers])

    def start(self) -> None:
        """Start serving calls."""
        others = set(threading.enumerate())
        self._server.start()
        for thread in set(threading.enumerate()) - others:
            if thread.name.endswith("(_serve)"):
                watch = threading.Thread(target=self._watch, args=(thread,), name="vmsdk-watch", daemon=True)
                watch.start()

    def stop(self, grace: float | None) -> threading.Event:
        """Take no more calls; cancel the rest after *grace* seconds, then set the event."""
        self._stopping.set()
        return self._server.stop(grace)

    def _watch(self, serving: threading.Thread) -> None:
        """End the process when grpcio's only serving thread dies, since no call would be served."""
        serving.join()
        if not self._stopping.is_set():
            end_process("grpcio's serving thread has died, see its traceback")


class _Pooled(grpc.GenericRpcHandler):
    """Makes grpcio run each lane in its own pool."""

    def __init__(self, inner: grpc.GenericRpcHandler, server: PublicServer) -> None:
        self._inner = inner
        self._server = server
        lanes: Iterable[Lane] = getattr(inner, "lanes", ())
        self._pools = {lane: _LanePool(lane) for lane in lanes}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method: Any = self._inner.service(handler_call_details)
        lane: Any = getattr(method, "lane", None)
        pool = self._pools.get(lane)
        if pool is None:
            return method
        if pool.is_full():
            behaviour: Any = pool.refuse
        else:
            behaviour = partial(self._run, method.unary_unary)
            behaviour.experimental_thread_pool = pool
        return grpc.unary_unary_rpc_method_handler(
            behaviour, method.request_deserializer, method.response_serializer
        )

    def _run(self, behaviour: Callable[[Any, Any], Any], request: Any, context: Any) -> Any:
        peers = self._server.peers
        if peers is not None and not peers.admits(context.peer()):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, REFUSAL)
        with self._server.around:
            return behaviour(request, context)


class _Pool(ThreadPoolExecutor):
    """Starts all threads at once: a `submit` that can't start one kills grpcio's serving thread."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads, thread_name_prefix="vmsdk-call")
        everyone = threading.Barrier(threads + 1)
        try:
            for _ in range(threads):
                super().submit(everyone.wait)
            everyone.wait()
        except BaseException:
            everyone.abort()
            raise


class _LanePool(_Pool):
    """The pool of a lane. It knows when the lane's queue is full."""

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane.grown_limit)
        self._lane = lane
        self._lock = threading.Lock()
        self._calls = 0

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        with self._lock:
            self._calls += 1
        future = super().submit(function, *arguments, **named)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: object) -> None:
        with self._lock:
            self._calls -= 1

    def is_full(self) -> bool:
        limit = self._lane.queue_limit
        return limit is not None and self._calls >= self._lane.grown_limit + limit

    def refuse(self, request: object, context: grpc.ServicerContext) -> NoReturn:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, self._lane.refusal)
