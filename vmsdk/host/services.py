"""The two servers that a node runs for each chain."""

from __future__ import annotations

from types import TracebackType

from typing_extensions import Self

from vmsdk.host.aliases import AliasService
from vmsdk.host.appnetwork import REQUEST_TIMEOUT_S, AppNetwork
from vmsdk.host.appsender import AppSenderService
from vmsdk.host.config import ChainConfig
from vmsdk.host.database import DatabaseService
from vmsdk.host.eventslot import EventSlot
from vmsdk.host.messenger import MessengerService
from vmsdk.host.server import LoopbackServer
from vmsdk.host.service import NodeService
from vmsdk.host.sharedmemory import SharedMemoryService
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.host.validators import ValidatorService
from vmsdk.host.warp import WarpSignerService
from vmsdk.ids import ID


class NodeServices:
    """All that one chain's VM can call, on two loopback ports; usable without any process.

    *disk* outlives it (in memory unless given); every other state belongs to one run. As a context
    manager it starts and stops itself.
    """

    def __init__(
        self,
        config: ChainConfig | None = None,
        *,
        disk: SQLiteDatabase | None = None,
        app_timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        self.config = config = config or ChainConfig()
        self.disk = SQLiteDatabase() if disk is None else disk
        self._owns_disk = disk is None
        self.network = AppNetwork(config.identity.node_id, timeout_s=app_timeout_s)
        self.events = EventSlot()
        self.database = DatabaseService(self.disk.space(b"chain/" + config.chain_id))
        self.shared_memory = SharedMemoryService(self.disk, config.chain_id, self.database)
        self.aliases = AliasService([("P", ID.EMPTY), ("X", config.x_chain_id), ("C", config.c_chain_id)])
        if config.alias is not None:
            self.aliases.add(config.chain_id, config.alias)
        self.app_sender = AppSenderService(config.protocol, self.network)
        self.validators = ValidatorService(config.protocol)
        for chain_id in (config.x_chain_id, config.c_chain_id):
            self.validators.add_chain(chain_id, ID.EMPTY)
        self.validators.add_chain(config.chain_id, config.subnet_id)
        self.warp_signer = WarpSignerService(config.identity, config.network_id, config.chain_id)
        services: list[NodeService] = [
            self.shared_memory,
            self.aliases,
            self.app_sender,
            self.validators,
            self.warp_signer,
        ]
        if not config.protocol.waits_for_events:
            services.append(MessengerService(self.events.offer))
        self._database_server = LoopbackServer(self.database, health_service=True)
        self._server = LoopbackServer(*services, health_service=True)
        self.db_address = self._database_server.address
        """``127.0.0.1:port`` of the database server."""
        self.address = self._server.address
        """``127.0.0.1:port`` of all other services."""

    def start(self) -> Self:
        """Begin to answer."""
        self._database_server.start()
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop the servers, and wait until no message is on its way to the VM. Harmless when repeated."""
        self.stop_servers()
        self.network.join()
        if self._owns_disk:
            self.disk.close()

    def stop_servers(self) -> None:
        """Stop both servers hard, as a node does once `Shutdown` has returned. Harmless when repeated."""
        self.network.close()
        self._database_server.stop()
        self._server.stop()
        self.database.release_iterators()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
