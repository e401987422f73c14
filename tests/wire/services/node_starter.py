"""Starts the development host's services for a test, with a VM's connection to them."""

from __future__ import annotations

from vmsdk.host.config import ChainConfig
from vmsdk.host.services import NodeServices
from vmsdk.protocol import protocol
from vmsdk.services.node import NodeConnection


class NodeStarter:
    """Call it with a protocol version, as often as you like."""

    def __init__(self) -> None:
        self._started: list[tuple[NodeServices, NodeConnection]] = []

    def __call__(self, version: int) -> tuple[NodeServices, NodeConnection]:
        spoken = protocol(version)
        services = NodeServices(ChainConfig(protocol=spoken)).start()
        connection = NodeConnection(services.db_address, services.address, spoken)
        self._started.append((services, connection))
        return services, connection

    def stop_all(self) -> None:
        """Close all connections and stop all services."""
        for services, connection in self._started:
            connection.close()
            services.stop()
