"""The node's HTTP side: its API server, and the client of the `http.HTTP` services that VMs offer."""

from __future__ import annotations

from vmsdk.host.http.api import Access
from vmsdk.host.http.front import DEFAULT_PORT, AddressUnavailable, HTTPFront
from vmsdk.host.http.route import RouteRefused
from vmsdk.host.http.router import ChainAlreadyServed
from vmsdk.host.http.timeouts import Timeouts

__all__ = [
    "DEFAULT_PORT",
    "Access",
    "AddressUnavailable",
    "ChainAlreadyServed",
    "HTTPFront",
    "RouteRefused",
    "Timeouts",
]
