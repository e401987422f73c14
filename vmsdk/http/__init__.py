"""HTTP handlers that a VM can mount: ASGI apps, WSGI apps and JSON-RPC services."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmsdk.http.app import NotAnApp as NotAnApp
    from vmsdk.http.app import as_asgi as as_asgi
    from vmsdk.http.asgi import ASGI as ASGI
    from vmsdk.http.connection import Connection as Connection
    from vmsdk.http.connection import Subscription as Subscription
    from vmsdk.http.jsonrpc import JSONRPC as JSONRPC
    from vmsdk.http.mount import subpaths as subpaths
    from vmsdk.http.rpcmessage import JSONRPCError as JSONRPCError
    from vmsdk.http.subscriptions import Subscriptions as Subscriptions
    from vmsdk.http.wsgi import WSGI as WSGI

    _HOMES: dict[str, str]
else:
    # The same names by module. Imported at first use: a plugin's start waits for its module's
    # imports.
    _NAMES = {
        "app": "NotAnApp as_asgi",
        "asgi": "ASGI",
        "connection": "Connection Subscription",
        "jsonrpc": "JSONRPC",
        "mount": "subpaths",
        "rpcmessage": "JSONRPCError",
        "subscriptions": "Subscriptions",
        "wsgi": "WSGI",
    }
    _HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}
    __all__ = list(_HOMES)

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
