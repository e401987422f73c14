"""The node's HTTP side: its API server, and the client of a VM's `http.HTTP` services."""

from __future__ import annotations

from vmsdk.host.http.front import DEFAULT_PORT, HTTPFront
from vmsdk.host.http.routes import RouteRefused

__all__ = [
    "DEFAULT_PORT",
    "HTTPFront",
    "RouteRefused",
]
