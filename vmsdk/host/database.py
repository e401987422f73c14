"""The service `rpcdb.Database`: a chain's part of the node's disk."""

from __future__ import annotations

import threading
from itertools import count
from typing import Any

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.rpcdb import rpcdb_pb2 as pb
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk.errors import Closed
from vmsdk.host.service import NodeService, ServiceError
from vmsdk.host.sqlite import KeySpace, SnapshotIterator

# Source: database/rpcdb/db_server.go, iterationBatchSize.
ITERATOR_PAGE_BYTES = 128 * 1024


class DatabaseService(NodeService):
    """Serves *space*. `Close` closes only this service."""

    service = Database

    def __init__(self, space: KeySpace) -> None:
        super().__init__()
        self.space = space
        """What the VM has stored, for tests to read."""
        self._closed = False
        self._iterators: dict[int, _Iterator] = {}
        self._iterator_ids = count()
        self._iterators_lock = threading.Lock()

    @property
    def closed(self) -> bool:
        """Whether the VM has closed its database."""
        return self._closed

    @property
    def open_iterators(self) -> int:
        """The number of iterators that the VM has not released."""
        return len(self._iterators)

    def write(self, request: Any) -> None:
        """Apply the puts, then the deletes of a batch. Raises `Closed`."""
        if self._closed:
            raise Closed
        self.space.write(
            ((put.key, put.value) for put in request.puts), (delete.key for delete in request.deletes)
        )

    def Has(self, request: pb.HasRequest) -> pb.HasResponse:
        if self._closed:
            return pb.HasResponse(err=pb.ERROR_CLOSED)
        return pb.HasResponse(has=self.space.get(request.key) is not None)

    def Get(self, request: pb.GetRequest) -> pb.GetResponse:
        if self._closed:
            return pb.GetResponse(err=pb.ERROR_CLOSED)
        value = self.space.get(request.key)
        return pb.GetResponse(err=pb.ERROR_NOT_FOUND) if value is None else pb.GetResponse(value=value)

    def Put(self, request: pb.PutRequest) -> pb.PutResponse:
        if self._closed:
            return pb.PutResponse(err=pb.ERROR_CLOSED)
        self.space.put(request.key, request.value)
        return pb.PutResponse()

    def Delete(self, request: pb.DeleteRequest) -> pb.DeleteResponse:
        if self._closed:
            return pb.DeleteResponse(err=pb.ERROR_CLOSED)
        self.space.delete(request.key)
        return pb.DeleteResponse()

    def Compact(self, request: pb.CompactRequest) -> pb.CompactResponse:
        # SQLite reuses the space of deleted pairs.
        return pb.CompactResponse(err=pb.ERROR_CLOSED if self._closed else pb.ERROR_UNSPECIFIED)

    def Close(self, request: pb.CloseRequest) -> pb.CloseResponse:
        if self._closed:
            return pb.CloseResponse(err=pb.ERROR_CLOSED)
        self._closed = True
        return pb.CloseResponse()

    def HealthCheck(self, request: Empty) -> pb.HealthCheckResponse:
        if self._closed:
            raise Closed
        return pb.HealthCheckResponse(details=b"null")

    def WriteBatch(self, request: pb.WriteBatchRequest) -> pb.WriteBatchResponse:
        try:
            self.write(request)
        except Closed:
            return pb.WriteBatchResponse(err=pb.ERROR_CLOSED)
        return pb.WriteBatchResponse()

    def NewIteratorWithStartAndPrefix(
        self, request: pb.NewIteratorWithStartAndPrefixRequest
    ) -> pb.NewIteratorWithStartAndPrefixResponse:
        iterator = _Iterator(self.space.iterate(prefix=request.prefix, start=request.start))
        with self._iterators_lock:
            iterator_id = next(self._iterator_ids)
            self._iterators[iterator_id] = iterator
        return pb.NewIteratorWithStartAndPrefixResponse(id=iterator_id)

    def IteratorNext(self, request: pb.IteratorNextRequest) -> pb.IteratorNextResponse:
        iterator = self._iterator(request.id)
        if self._closed:
            iterator.error = pb.ERROR_CLOSED
            return pb.IteratorNextResponse()
        pairs = iterator.snapshot.page(ITERATOR_PAGE_BYTES)
        return pb.IteratorNextResponse(data=[pb.PutRequest(key=key, value=value) for key, value in pairs])

    def IteratorError(self, request: pb.IteratorErrorRequest) -> pb.IteratorErrorResponse:
        return pb.IteratorErrorResponse(err=self._iterator(request.id).error)

    def IteratorRelease(self, request: pb.IteratorReleaseRequest) -> pb.IteratorReleaseResponse:
        with self._iterators_lock:
            iterator = self._iterators.pop(request.id, None)
        if iterator is None:
            return pb.IteratorReleaseResponse()
        iterator.snapshot.release()
        return pb.IteratorReleaseResponse(err=iterator.error)

    def release_iterators(self) -> None:
        """Release the iterators that the VM left open, as a node does when it stops the server."""
        with self._iterators_lock:
            for iterator in self._iterators.values():
                iterator.snapshot.release()
            self._iterators.clear()

    def _iterator(self, iterator_id: int) -> _Iterator:
        iterator = self._iterators.get(iterator_id)
        if iterator is None:
            raise ServiceError("unknown iterator")
        return iterator


class _Iterator:
    def __init__(self, snapshot: SnapshotIterator) -> None:
        self.snapshot = snapshot
        self.error: pb.Error.ValueType = pb.ERROR_UNSPECIFIED
