"""HTTP: forwards the node's `http.HTTP` calls to the apps that an author mounts."""

from __future__ import annotations

from vmsdk.rpc.http.servers import HTTPServers

__all__ = ["HTTPServers"]
