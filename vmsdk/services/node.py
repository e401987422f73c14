"""A chain's connection to its node."""

from __future__ import annotations

from vmsdk.protocol import Protocol
from vmsdk.services.aliases import AliasReaderClient
from vmsdk.services.appsender import AppSenderClient
from vmsdk.services.channel import connect
from vmsdk.services.database import DatabaseClient
from vmsdk.services.messenger import MessengerClient
from vmsdk.services.sharedmemory import SharedMemoryClient
from vmsdk.services.validators import ValidatorStateClient
from vmsdk.services.warp import WarpSignerClient


class NodeConnection:
    """All services that the node serves to one chain, over the two channels to its two servers.

    Calls wait for a node that is not there, without limit. So whoever learns that the node is gone, or
    that it stopped its servers after Shutdown, closes the connection: then all calls end at once.
    """

    def __init__(self, db_server_addr: str, server_addr: str, protocol: Protocol) -> None:
        self._database_channel = connect(db_server_addr)
        self._services_channel = connect(server_addr)
        self.database = DatabaseClient(self._database_channel)
        self.sender = AppSenderClient(self._services_channel, protocol)
        self.shared_memory = SharedMemoryClient(self._services_channel)
        self.aliases = AliasReaderClient(self._services_channel)
        self.validators = ValidatorStateClient(self._services_channel, protocol)
        self.warp_signer = WarpSignerClient(self._services_channel)
        self.messenger = None if protocol.waits_for_events else MessengerClient(self._services_channel)
        """Where to tell of events; None where the node asks for them (from protocol 42)."""

    def close(self) -> None:
        """End every call in flight, and refuse later ones, with UNAVAILABLE. Harmless when repeated."""
        self._database_channel.close()
        self._services_channel.close()
        self.database.stop()
