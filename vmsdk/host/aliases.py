"""The service `aliasreader.AliasReader`: the names of the node's chains."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from vmsdk._pb.aliasreader import aliasreader_pb2 as pb
from vmsdk._pb.aliasreader.aliasreader_grpc import AliasReader
from vmsdk.host.service import NodeService
from vmsdk.ids import ID


class UnknownAlias(Exception):
    """No chain is called so."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        super().__init__(f"there is no ID with alias: {alias}")


class NoAlias(Exception):
    """A chain has no name: unknown, or still initialising."""

    def __init__(self, chain_id: ID) -> None:
        self.chain_id = chain_id
        super().__init__(f"there is no alias for ID: {chain_id}")


class AliasService(NodeService):
    """Serves the names given by `add`; a chain's first name is its primary alias."""

    service = AliasReader

    def __init__(self, names: Iterable[tuple[str, ID]] = ()) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._ids: dict[str, ID] = {}
        for name, chain_id in names:
            self.add(chain_id, name)

    def add(self, chain_id: ID, name: str) -> None:
        """Call *chain_id* also *name*. Raises `ValueError` if another chain is called so."""
        with self._lock:
            holder = self._ids.setdefault(name, chain_id)
        if holder != chain_id:
            raise ValueError(f"{name!r} is already the name of chain {holder}")

    def names(self, chain_id: ID) -> list[str]:
        """All names of a chain, the primary one first."""
        with self._lock:
            return [name for name, holder in self._ids.items() if holder == chain_id]

    def Lookup(self, request: pb.Alias) -> pb.ID:
        with self._lock:
            chain_id = self._ids.get(request.alias)
        if chain_id is None:
            raise UnknownAlias(request.alias)
        return pb.ID(id=chain_id)

    def PrimaryAlias(self, request: pb.ID) -> pb.Alias:
        chain_id = ID(request.id)
        names = self.names(chain_id)
        if not names:
            raise NoAlias(chain_id)
        return pb.Alias(alias=names[0])

    def Aliases(self, request: pb.ID) -> pb.AliasList:
        return pb.AliasList(aliases=self.names(ID(request.id)))
