"""Shared memory between chains, served by the node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vmsdk._pb.sharedmemory import sharedmemory_pb2 as pb
from vmsdk._pb.sharedmemory.sharedmemory_grpc import SharedMemory as Methods
from vmsdk.database import Batch
from vmsdk.ids import ID
from vmsdk.nodeservices import SharedMemory, SharedPage, SharedRequests
from vmsdk.services.call import Call, signed
from vmsdk.services.channel import Channel
from vmsdk.services.database import DatabaseBatch


class SharedMemoryClient(SharedMemory):
    """The shared memory behind *channel*."""

    def __init__(self, channel: Channel) -> None:
        self._get = Call(channel, Methods.Get)
        self._indexed = Call(channel, Methods.Indexed)
        self._apply = Call(channel, Methods.Apply)

    def get(self, peer_chain_id: ID, keys: Sequence[bytes]) -> list[bytes]:
        values = list(self._get(pb.GetRequest(peer_chain_id=ID(peer_chain_id), keys=keys)).values)
        if len(values) != len(keys):
            raise self._get.malformed(f"{len(values)} values for {len(keys)} keys")
        return values

    def indexed(
        self,
        peer_chain_id: ID,
        traits: Iterable[bytes],
        *,
        start_trait: bytes = b"",
        start_key: bytes = b"",
        limit: int,
    ) -> SharedPage:
        response = self._indexed(
            pb.IndexedRequest(
                peer_chain_id=ID(peer_chain_id),
                traits=traits,
                start_trait=start_trait,
                start_key=start_key,
                limit=signed("the limit of a page", limit, bits=32),
            )
        )
        return SharedPage(tuple(response.values), response.last_trait, response.last_key)

    def apply(self, requests: Mapping[ID, SharedRequests], *batches: Batch) -> None:
        for batch in batches:
            if isinstance(batch, DatabaseBatch):
                batch.check()
        self._apply(
            pb.ApplyRequest(
                requests=[_atomic_request(peer, request) for peer, request in requests.items()],
                batches=[_batch(batch) for batch in batches],
            )
        )


def _atomic_request(peer_chain_id: ID, request: SharedRequests) -> pb.AtomicRequest:
    return pb.AtomicRequest(
        peer_chain_id=ID(peer_chain_id),
        remove_requests=request.removes,
        put_requests=[
            pb.Element(key=element.key, value=element.value, traits=element.traits)
            for element in request.puts
        ],
    )


def _batch(batch: Batch) -> pb.Batch:
    operations = batch.operations
    return pb.Batch(
        puts=[pb.BatchPut(key=key, value=value) for key, value in operations.items() if value is not None],
        deletes=[pb.BatchDelete(key=key) for key, value in operations.items() if value is None],
    )
