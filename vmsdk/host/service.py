"""The gRPC services that a node serves to a plugin, and the server that they run on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from vmsdk._pb._service import Method, Service

# Source: vms/rpcchainvm/grpcutils/server.go, the same in every protocol version.
SERVER_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),
)

# How many calls of one plugin run at once; others wait. No call of the node's services blocks.
_WORKERS = 8

Around = Callable[[str, Any, Callable[[], Any]], Any]
"""Takes a method's name, the request, and a function that calls; returns the response."""


class ServiceError(Exception):
    """A call of a service failed, with the node's text."""


class NodeService:
    """The base of the services. A subclass has a method for each gRPC method, with the same name.

    The method takes the request and returns the response. An exception becomes the gRPC status
    UNKNOWN with its text, as in the node. `calls` counts the calls by method name.
    """

    service: ClassVar[type[Service]]
    """The generated table of the service's methods."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._calls_lock = threading.Lock()
        self.around: Around = lambda name, request, invoke: invoke()
        """Makes each call. Tests replace it to inject faults."""

    def served(self) -> Iterable[str]:
        """Return the methods of the host's protocol version; others are UNIMPLEMENTED."""
        return self.service.methods

    def rpc_handler(self) -> grpc.GenericRpcHandler:
        """Return the served methods for `grpc.Server.add_generic_rpc_handlers`."""
        methods = self.service.methods
        return grpc.method_handlers_generic_handler(
            self.service.full_name, {name: self._method(name, methods[name]) for name in self.served()}
        )

    def _method(self, name: str, method: Method[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        function = getattr(self, name)

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                with self._calls_lock:
                    self.calls[name] += 1
                return self.around(name, request, lambda: function(request))
            except Exception as error:  # noqa: BLE001 - a Go server sends the text of any error with UNKNOWN
                context.abort(grpc.StatusCode.UNKNOWN, str(error))

        return method.handler(call)


class LoopbackServer:
    """Serves *services*, and gRPC's health service if wanted, on a free port of 127.0.0.1."""

    def __init__(self, *services: NodeService, health_service: bool) -> None:
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="node-service")
        self._server = grpc.server(self._pool, options=SERVER_OPTIONS)
        self._server.add_generic_rpc_handlers([service.rpc_handler() for service in services])
        if health_service:
            servicer = health.HealthServicer()
            servicer.set("", health_pb2.HealthCheckResponse.SERVING)
            health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        """``127.0.0.1:port``, bound from the start."""

    def start(self) -> None:
        self._server.start()

    def stop(self, grace_s: float | None = None) -> None:
        """Stop at once, or give running calls up to *grace_s* to finish. Idempotent."""
        self._server.stop(grace_s).wait()
        self._pool.shutdown(wait=True)
