"""A JSON-RPC service of plain methods, on a threaded server: no event loop between the node and the
method.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

import grpc

from vmsdk._pb.http import http_pb2
from vmsdk.http.jsonrpc import JSONRPC
from vmsdk.rpc.http.capacity import Full
from vmsdk.rpc.http.service import HTTPMethods, HTTPService, respond
from vmsdk.rpc.http.site import Site
from vmsdk.rpc.listener import SERVER_OPTIONS

ResultT = TypeVar("ResultT")


class ThreadedServer:
    """Serves *app* in the pool, and what needs an event loop (upgraded and HTTP/2 requests) by *service*."""

    def __init__(
        self, app: JSONRPC, site: Site, service: HTTPService, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._app = app
        self._site = site
        self._service = service
        self._loop = loop
        self._stopped = threading.Event()
        shared = site.shared
        pool: Any = shared.pool  # grpcio needs no more than an executor.
        limit = shared.capacity.requests.limit
        self.server = grpc.server(pool, options=SERVER_OPTIONS, maximum_concurrent_rpcs=limit)
        methods = HTTPMethods(self._handle_simple, self._handle, shared.log)
        self.server.add_generic_rpc_handlers((methods,))

    def start(self) -> None:
        """Start serving."""
        self.server.start()

    def begin_to_stop(self, grace_s: float) -> None:
        """Take no more requests, and give those that run *grace_s* seconds."""
        self._stopped = self.server.stop(grace_s)

    def stop(self, timeout_s: float) -> None:
        """Wait for the end, *timeout_s* seconds at most. A method that is stuck is left behind."""
        self._stopped.wait(max(0.0, timeout_s))

    def _handle_simple(
        self, request: http_pb2.HandleSimpleHTTPRequest, context: grpc.ServicerContext
    ) -> http_pb2.HandleSimpleHTTPResponse:
        return _finish(respond(self._app, request, _at_once, self._site.report))

    def _handle(self, request: http_pb2.HTTPRequest, context: grpc.ServicerContext) -> http_pb2.HTTPResponse:
        result = asyncio.run_coroutine_threadsafe(self._service.handle(request), self._loop)

        def left() -> None:
            result.cancel()

        context.add_callback(left)
        try:
            with self._site.shared.pool.waiting():
                return result.result()
        except Full as error:
            result.cancel()
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except CancelledError:
            context.abort(grpc.StatusCode.CANCELLED, "the client has left")


async def _at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a plain method in place: this is a thread already."""
    return function(*arguments)


def _finish(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """The result of a coroutine that awaits nothing but `_at_once`."""
    try:
        work.send(None)
    except StopIteration as end:
        result: ResultT = end.value
        return result
    work.close()
    raise RuntimeError("a plain JSON-RPC service waited for something")
