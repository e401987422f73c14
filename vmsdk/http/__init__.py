"""What a VM's author mounts for HTTP: ASGI apps, WSGI apps, JSON-RPC and gRPC services."""

from __future__ import annotations

from vmsdk.http.app import NotAnApp, as_asgi
from vmsdk.http.asgi import ASGI
from vmsdk.http.grpcservice import GRPC
from vmsdk.http.jsonrpc import JSONRPC
from vmsdk.http.jsonrpcerror import JSONRPCError
from vmsdk.http.mount import subpaths
from vmsdk.http.wsgi import WSGI

__all__ = ["ASGI", "GRPC", "JSONRPC", "WSGI", "JSONRPCError", "NotAnApp", "as_asgi", "subpaths"]
