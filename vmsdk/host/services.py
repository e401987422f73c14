"""The services that a node provides to each chain."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from typing_extensions import Self

from vmsdk._pb.aliasreader import aliasreader_pb2 as pb
from vmsdk._pb.aliasreader.aliasreader_grpc import AliasReader
from vmsdk.host.appnetwork import REQUEST_TIMEOUT_S, AppNetwork
from vmsdk.host.appsender import AppSenderService
from vmsdk.host.config import ChainConfig
from vmsdk.host.database import DatabaseService
from vmsdk.host.events import EventSlot, MessengerService
from vmsdk.host.identity import WarpSignerService
from vmsdk.host.service import LoopbackServer, NodeService, ServiceError
from vmsdk.host.sharedmemory import SharedMemoryService
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.host.validators import ValidatorService
from vmsdk.ids import ID


class AliasService(NodeService):
    """The service `aliasreader.AliasReader`. A chain's first name is its primary alias."""

    service = AliasReader

    def __init__(self, names: Iterable[tuple[str, ID]] = ()) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._ids: dict[str, ID] = {}
        for name, chain_id in names:
            self.add(chain_id, name)

    def add(self, chain_id: ID, name: str) -> None:
        """Give a chain another name. Raises `ValueError` if another chain has it."""
        with self._lock:
            holder = self._ids.setdefault(name, chain_id)
        if holder != chain_id:
            raise ValueError(f"{name!r} is already the name of chain {holder}")

    def find(self, name: str) -> ID | None:
        """Return the chain with this name, or None."""
        with self._lock:
            return self._ids.get(name)

    def names(self, chain_id: ID) -> list[str]:
        """Return all names of a chain, the primary alias first."""
        with self._lock:
            return [name for name, holder in self._ids.items() if holder == chain_id]

    def Lookup(self, request: pb.Alias) -> pb.ID:
        chain_id = self.find(request.alias)
        if chain_id is None:
            raise ServiceError(f"there is no ID with alias: {request.alias}")
        return pb.ID(id=chain_id)

    def PrimaryAlias(self, request: pb.ID) -> pb.Alias:
        chain_id = ID(request.id)
        names = self.names(chain_id)
        if not names:
            raise ServiceError(f"there is no alias for ID: {chain_id}")
        return pb.Alias(alias=names[0])

    def Aliases(self, request: pb.ID) -> pb.AliasList:
        return pb.AliasList(aliases=self.names(ID(request.id)))


class NodeServices:
    """Everything that the VM of one chain can call, on two loopback ports.

    *disk* outlives the services; if None, the data is in memory. As a context manager it starts and
    stops.
    """

    def __init__(
        self,
        config: ChainConfig | None = None,
        *,
        disk: SQLiteDatabase | None = None,
        app_timeout_s: float = REQUEST_TIMEOUT_S,
        server: type[LoopbackServer] = LoopbackServer,
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
        self.all: tuple[NodeService, ...] = (self.database, *services)
        """Every service of this protocol version."""
        self._database_server = server(self.database, health_service=True)
        self._server = server(*services, health_service=True)
        self.db_address = self._database_server.address
        """``127.0.0.1:port`` of the database server."""
        self.address = self._server.address
        """``127.0.0.1:port`` of all other services."""

    def start(self) -> Self:
        self._database_server.start()
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop the servers and wait for running deliveries to the VM. Idempotent."""
        self.stop_servers()
        self.network.join()
        if self._owns_disk:
            self.disk.close()

    def stop_servers(self) -> None:
        """Stop both servers at once, as a node does after `Shutdown`. Idempotent."""
        self.network.close()
        self._database_server.stop()
        self._server.stop()
        self.database.release_iterators()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
