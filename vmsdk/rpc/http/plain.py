"""A JSON-RPC service of plain methods, on a threaded server: no event loop between the node and the method.

A call through the event loop changes threads five times; here it changes twice, which is a third of the
time of a whole request that comes alone (docs/http.md has the measurements).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

import grpc

from vmsdk._pb.http import http_pb2
from vmsdk.address import Addresses
from vmsdk.http.jsonrpc import JSONRPC
from vmsdk.rpc.http import direct
from vmsdk.rpc.http.capacity import Full
from vmsdk.rpc.http.methods import HTTPMethods
from vmsdk.rpc.http.service import HTTPService
from vmsdk.rpc.http.site import Shared
<<<<<<< HEAD
from vmsdk.rpc.listener import SERVER_OPTIONS
from vmsdk.waiting import waiting
=======
from vmsdk.rpc.options import SERVER_OPTIONS
>>>>>>> 786d94e (Replace the scheduler of HTTP by an ordinary pool of two threads that grows when its jobs wait)

ResultT = TypeVar("ResultT")


class PlainServer:
    """Serves *service*; what only an event loop can do, an upgraded or an HTTP/2 request, *site* does on its own."""

    def __init__(
        self,
        service: JSONRPC,
        site: HTTPService,
        loop: asyncio.AbstractEventLoop,
        shared: Shared,
        addresses: Addresses,
    ) -> None:
        self._service = service
        self._site = site
        self._loop = loop
        self._shared = shared
        self._stopped = threading.Event()
        executor: Any = shared.pool  # grpcio asks for no more than an executor.
        self._server = grpc.server(
            executor, options=SERVER_OPTIONS, maximum_concurrent_rpcs=shared.capacity.requests.limit
        )
        methods = HTTPMethods(self._handle_simple, self._handle, shared.priority, shared.log)
        self._server.add_generic_rpc_handlers((methods,))
        self.address = addresses.listen(self._server)

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def begin_to_stop(self, grace_s: float) -> None:
        """Take no more requests, and let those that run end for *grace_s* seconds."""
        self._stopped = self._server.stop(grace_s)

    def stop(self, timeout_s: float) -> None:
        """Wait until it has stopped. Leaves a method behind that does not end within *timeout_s* seconds."""
        self._stopped.wait(max(0.0, timeout_s))

    def _handle_simple(
        self, request: http_pb2.HandleSimpleHTTPRequest, context: grpc.ServicerContext
    ) -> http_pb2.HandleSimpleHTTPResponse:
        return _finish(direct.respond(self._service, request, _at_once))

    def _handle(self, request: http_pb2.HTTPRequest, context: grpc.ServicerContext) -> http_pb2.HTTPResponse:
        answer = asyncio.run_coroutine_threadsafe(self._site.handle(request), self._loop)

        def left() -> None:
            answer.cancel()

        context.add_callback(left)
        try:
            with self._shared.pool.waiting():
                return answer.result()
        except Full as error:
            answer.cancel()
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except CancelledError:
            context.abort(grpc.StatusCode.CANCELLED, "the client has left")


async def _at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a plain method in place: this is a thread already."""
    return function(*arguments)


def _finish(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """The result of a coroutine that never has to wait, since all that it awaits is plain."""
    try:
        work.send(None)
    except StopIteration as end:
        result: ResultT = end.value
        return result
    work.close()
    raise RuntimeError("a plain JSON-RPC service has waited for something")
