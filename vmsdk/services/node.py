"""A chain's connection to its node."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from vmsdk.protocol import Protocol
from vmsdk.services.channel import Channel, connect
from vmsdk.services.database import DatabaseClient

if TYPE_CHECKING:
    from vmsdk.services.aliases import AliasReaderClient
    from vmsdk.services.appsender import AppSenderClient
    from vmsdk.services.messenger import MessengerClient
    from vmsdk.services.sharedmemory import SharedMemoryClient
    from vmsdk.services.validators import ValidatorStateClient
    from vmsdk.services.warp import WarpSignerClient


class NodeConnection:
    """All services of the node for one chain, over channels to its two servers.

    Calls wait without a limit for a node that does not listen. Close the connection when the node
    is gone or has stopped its servers: that ends all calls at once.
    """

    def __init__(
        self,
        db_server_addr: str,
        server_addr: str,
        protocol: Protocol,
        connect: Callable[[str], Channel] = connect,
    ) -> None:
        self._database_channel = connect(db_server_addr)
        self._services_channel = connect(server_addr)
        self.database = DatabaseClient(self._database_channel)
        self._protocol = protocol

    # Each is imported and created at its first use: the node gives a plugin 5 s to start, and many
    # chains never use these. It is harmless if two threads create one each.

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
        """Where to send events; None if the node waits for them (protocol 42 and newer)."""
        if self._protocol.waits_for_events:
            return None
        from vmsdk.services.messenger import MessengerClient

        return MessengerClient(self._services_channel)

    def close(self) -> None:
        """Fail calls in flight and later ones with UNAVAILABLE. Idempotent."""
        self._database_channel.close()
        self._services_channel.close()
        self.database.stop()
