"""The standard gRPC health service, for tools; the node itself never asks it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import grpc

SERVICE = "grpc.health.v1.Health"


class Liveness(grpc.GenericRpcHandler):
    """Says SERVING for the server as a whole, and knows no other service.

    Made at the first question: importing the library for it would hold up every start of the plugin.
    """

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        if not handler_call_details.method.startswith(f"/{SERVICE}/"):
            return None
        return self._library.service(handler_call_details)

    @cached_property
    def _library(self) -> grpc.GenericRpcHandler:
        from grpc_health.v1 import health, health_pb2

        # A thread for each watcher: without one, grpcio's server may hang when a watcher leaves.
        servicer = health.HealthServicer(experimental_non_blocking=False)
        servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        request = health_pb2.HealthCheckRequest.FromString
        response = health_pb2.HealthCheckResponse.SerializeToString
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(servicer.Check, request, response),
                "Watch": grpc.unary_stream_rpc_method_handler(servicer.Watch, request, response),
            },
        )
