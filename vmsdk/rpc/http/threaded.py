"""A JSON-RPC service of plain methods: the thread that reads a request calls the method."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

import grpc

from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk.http.jsonrpc import JSONRPC
from vmsdk.rpc.http.pool import MAX_THREADS, MAX_WAITING
from vmsdk.rpc.http.service import HTTPMethods, HTTPService, respond
from vmsdk.rpc.http.site import Site
from vmsdk.rpc.lane import InLanes, Lane
from vmsdk.rpc.listener import make_server

ResultT = TypeVar("ResultT")


class ThreadedServer:
    """Serves *app*. Requests that need an event loop (upgrades and HTTP/2) go to *service*."""

    def __init__(
        self, app: JSONRPC, site: Site, service: HTTPService, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._app = app
        self._site = site
        self._service = service
        self._loop = loop
        self._name = f"a JSON-RPC method at {site.route}"
        self._stopped = threading.Event()
        queue_limit = site.shared.capacity.requests.limit
        methods = HTTPMethods(self._handle_simple, self._handle, site.shared.log)
        # Because of the GIL, more busy threads would only delay the engine.
        simple = Lane("HTTP", grown_limit=MAX_THREADS, queue_limit=queue_limit, cancellable=False)
        others = Lane("HTTP on the loop", limit=MAX_WAITING, queue_limit=0)
        self._work = site.shared.priority.http
        self.server = make_server(around=self._work)
        self.server.add_generic_rpc_handlers((InLanes(methods, {HTTP.HandleSimple.path: simple}, others),))

    def start(self) -> None:
        """Start serving."""
        self.server.start()

    def begin_to_stop(self, grace_s: float) -> None:
        """Take no more requests, and give those that run *grace_s* seconds."""
        self._stopped = self.server.stop(grace_s)

    def stop(self, timeout_s: float) -> None:
        """Wait for the end, but not longer than *timeout_s* seconds, for a method that hangs."""
        self._stopped.wait(max(0.0, timeout_s))

    def _handle_simple(
        self, request: http_pb2.HandleSimpleHTTPRequest, context: grpc.ServicerContext
    ) -> http_pb2.HandleSimpleHTTPResponse:
        with self._site.shared.watchdog.watch(self._name, once=True):
            return _finish(respond(self._app, request, _at_once, self._site))

    def _handle(self, request: http_pb2.HTTPRequest, context: grpc.ServicerContext) -> http_pb2.HTTPResponse:
        result = asyncio.run_coroutine_threadsafe(self._service.handle(request), self._loop)

        def cancel() -> None:
            result.cancel()

        if not context.add_callback(cancel):
            cancel()  # the client disconnected before that
        try:
            with self._work.paused():
                return result.result()
        except CancelledError:
            context.abort(grpc.StatusCode.CANCELLED, "the client has disconnected")


async def _at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a plain method in this thread."""
    return function(*arguments)


def _finish(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """The result of a coroutine that awaits nothing but `_at_once`."""
    try:
        work.send(None)
    except StopIteration as end:
        result: ResultT = end.value
        return result
    work.close()
    raise RuntimeError("a plain JSON-RPC service awaited something")
