"""A gRPC server of the node on a loopback port of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from vmsdk.host.service import NodeService

# Source: vms/rpcchainvm/grpcutils/server.go, the same in every protocol version.
SERVER_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),
)

# How many calls of one plugin run at once; the rest waits its turn. No call of the node's services blocks.
_WORKERS = 8


class LoopbackServer:
    """Serves *services* on ``127.0.0.1`` at a port that the system chooses; with the health service if wanted."""

    def __init__(self, *services: NodeService, health_service: bool) -> None:
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="node-service")
        self._server = grpc.server(self._pool, options=SERVER_OPTIONS)
        self._server.add_generic_rpc_handlers([service.handler() for service in services])
        if health_service:
            servicer = health.HealthServicer()
            servicer.set("", health_pb2.HealthCheckResponse.SERVING)
            health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        """``127.0.0.1:port``; bound from the start."""

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop(self, grace_s: float | None = None) -> None:
        """Stop: at once, aborting calls, or letting them end for up to *grace_s*. Harmless when repeated."""
        self._server.stop(grace_s).wait()
        self._pool.shutdown(wait=True)
