"""HTTP handlers that a VM can mount: ASGI apps, WSGI apps and JSON-RPC services."""

from __future__ import annotations

from vmsdk.http.app import NotAnApp, as_asgi
from vmsdk.http.asgi import ASGI
from vmsdk.http.connection import Connection, Subscription
from vmsdk.http.jsonrpc import JSONRPC
from vmsdk.http.mount import subpaths
from vmsdk.http.rpcmessage import JSONRPCError
from vmsdk.http.subscriptions import Subscriptions
from vmsdk.http.wsgi import WSGI

__all__ = [
    "ASGI",
    "JSONRPC",
    "WSGI",
    "Connection",
    "JSONRPCError",
    "NotAnApp",
    "Subscription",
    "Subscriptions",
    "as_asgi",
    "subpaths",
]
