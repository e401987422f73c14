"""A chain's connection to its node."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from vmsdk.protocol import Protocol
from vmsdk.services.channel import connect
from vmsdk.services.database import DatabaseClient

if TYPE_CHECKING:
    from vmsdk.services.aliases import AliasReaderClient
    from vmsdk.services.appsender import AppSenderClient
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
        self._protocol = protocol

    # A plugin's start is a race against the node's 5 s, and many a chain never uses these: each is
    # imported and made at its first use. Two threads that come at once may make two, which does no harm.

    @cached_property
    def sender(self) -> AppSenderClient:
        """Application messages."""
        from vmsdk.services.appsender import AppSenderClient

        return AppSenderClient(self._services_channel, self._protocol)

    @cached_property
    def shared_memory(self) -> SharedMemoryClient:
        """The mailboxes between chains."""
        from vmsdk.services.sharedmemory import SharedMemoryClient

        return SharedMemoryClient(self._services_channel)

    @cached_property
    def aliases(self) -> AliasReaderClient:
        """The chains' names."""
        from vmsdk.services.aliases import AliasReaderClient

        return AliasReaderClient(self._services_channel)

    @cached_property
    def validators(self) -> ValidatorStateClient:
        """The P-chain's validators."""
        from vmsdk.services.validators import ValidatorStateClient

        return ValidatorStateClient(self._services_channel, self._protocol)

    @cached_property
    def warp_signer(self) -> WarpSignerClient:
        """The node's BLS key."""
        from vmsdk.services.warp import WarpSignerClient

        return WarpSignerClient(self._services_channel)

    @cached_property
    def messenger(self) -> MessengerClient | None:
        """Where to tell of events; None where the node asks for them (from protocol 42)."""
        if self._protocol.waits_for_events:
            return None
        from vmsdk.services.messenger import MessengerClient

        return MessengerClient(self._services_channel)

    def close(self) -> None:
        """End every call in flight, and refuse later ones, with UNAVAILABLE. Harmless when repeated."""
        self._database_channel.close()
        self._services_channel.close()
        self.database.stop()
