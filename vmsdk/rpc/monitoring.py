"""The chain's health and metrics for the node's operator, and gRPC's standard health service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.errors import VMError
from vmsdk.rpc.conversion import unusable
from vmsdk.rpc.dispatch import Dispatcher, Handler
from vmsdk.rpc.lane import Lane, LaneMethod
from vmsdk.rpc.session import Session
from vmsdk.rpc.watchdog import described, lock_holder

HEALTH_SERVICE = "grpc.health.v1.Health"

# The node shows the details on its health page as they are. Escaped as in Go's JSON, they are
# harmless in HTML.
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})

LOCK_PATIENCE_S = 3.0
"""If its lock is held for longer, the chain makes no progress, and counts as unhealthy."""


class ChainStuck(VMError):
    """The chain's lock has been held for more than `LOCK_PATIENCE_S`."""


class Monitoring:
    """Health, of the VM and its database, and Gather."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def handlers(self) -> Iterator[Handler]:
        dispatch = Dispatcher(self._session)
        yield dispatch.free(VM.Health, self.health, expected=(ChainStuck,))
        yield dispatch.free(VM.Gather, self.gather)

    def health(self, request: Empty) -> vm_pb2.HealthResponse:
        session = self._session
        if not session.lock.acquire(timeout=LOCK_PATIENCE_S):
            raise ChainStuck(
                f"the chain has waited {LOCK_PATIENCE_S:g} s for ctx.lock, held by "
                f"{described(lock_holder(session.lock) or 0)}"
            )
        try:
            session.check_ready()
            report = {
                "database": None if session.node is None else session.node.database.health_check(),
                "health": session.vm.health_check(),
            }
        finally:
            session.lock.release()
        if report["health"] is False:  # for the node, anything that is returned means healthy
            raise unusable("health_check returned", False, "raise an exception if the chain is unhealthy")
        try:
            text = json.dumps(report, sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise unusable(
                "health_check returned", report["health"], f"return a JSON value ({error})"
            ) from None
        return vm_pb2.HealthResponse(details=text.translate(_ESCAPES).encode("ascii"))

    def gather(self, request: Empty) -> vm_pb2.GatherResponse:
        # Old nodes call it even before Initialize.
        if not self._session.initialized:
            return vm_pb2.GatherResponse()
        return vm_pb2.GatherResponse(metric_families=self._session.metrics.gather())


class HealthService(grpc.GenericRpcHandler):
    """The standard gRPC health service, for tools: the server is SERVING. Nodes don't call it.

    Created at the first call, since importing its library would delay each start of the plugin.
    """

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        if not handler_call_details.method.startswith(f"/{HEALTH_SERVICE}/"):
            return None
        return self._library.service(handler_call_details)

    @cached_property
    def _library(self) -> grpc.GenericRpcHandler:
        from grpc_health.v1 import health, health_pb2

        # A thread for each watcher: else, grpcio's server may hang when a watcher disconnects.
        servicer = health.HealthServicer(experimental_non_blocking=False)
        servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        request = health_pb2.HealthCheckRequest.FromString
        response = health_pb2.HealthCheckResponse.SerializeToString
        return grpc.method_handlers_generic_handler(
            HEALTH_SERVICE,
            {
                # In its own lane, since watchers may hold every other thread.
                "Check": LaneMethod(servicer.Check, request, response, Lane("Check")),
                "Watch": grpc.unary_stream_rpc_method_handler(servicer.Watch, request, response),
            },
        )
