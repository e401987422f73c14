"""The chain's database, served by the node."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from time import perf_counter
from typing import Any

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.rpcdb import rpcdb_pb2 as pb
from vmsdk._pb.rpcdb.rpcdb_grpc import Database as Methods
from vmsdk.database import Batch, Database, DatabaseIterator, as_bytes
from vmsdk.errors import Closed, NodeError
from vmsdk.services.call import Call, Pending
from vmsdk.services.channel import Channel
from vmsdk.services.failstop import FailStop
from vmsdk.services.iterator import Iterators

GET_MANY_WINDOW = 16
"""Concurrent reads of one `get_many`. Each has its own connection."""


class DatabaseClient(Database):
    """The database behind *channel*. After the first failed operation, it refuses all others."""

    def __init__(self, channel: Channel) -> None:
        self._guard = FailStop()
        self.metrics = self._guard.metrics
        self._iterators = Iterators(channel, self._guard)
        self._has_call = Call(channel, Methods.Has)
        self._get_call = Call(channel, Methods.Get)
        self._put_call = Call(channel, Methods.Put)
        self._delete_call = Call(channel, Methods.Delete)
        self._batch_call = Call(channel, Methods.WriteBatch)
        self._compact_call = Call(channel, Methods.Compact)
        self._health_call = Call(channel, Methods.HealthCheck)
        self._close_call = Call(channel, Methods.Close)

    def _get(self, key: bytes) -> bytes | None:
        return self._value(self._guard.call(self._get_call, pb.GetRequest(key=as_bytes(key))))

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        self._guard.check()
        began_s = perf_counter()
        values: list[bytes | None] = []
        pending: deque[Pending[pb.GetResponse]] = deque()
        try:
            for key in keys:
                if len(pending) == GET_MANY_WINDOW:
                    values.append(self._value(pending.popleft().wait()))
                pending.append(self._get_call.start(pb.GetRequest(key=as_bytes(key))))
            while pending:
                values.append(self._value(pending.popleft().wait()))
        except NodeError as error:
            self._guard.remember(error)
            self.metrics.failed("get_many")
            raise
        finally:
            for each in pending:
                each.cancel()
        self.metrics.ended("get_many", began_s)
        return values

    def __contains__(self, key: object) -> bool:
        response = self._guard.call(self._has_call, pb.HasRequest(key=as_bytes(key)))
        self._guard.check_response(response.err)
        return response.has

    def put(self, key: bytes, value: bytes) -> None:
        request = pb.PutRequest(key=as_bytes(key), value=as_bytes(value))
        self.metrics.wrote(len(key) + len(value))
        self._guard.check_response(self._guard.call(self._put_call, request).err)

    def delete(self, key: bytes) -> None:
        request = pb.DeleteRequest(key=as_bytes(key))
        self._guard.check_response(self._guard.call(self._delete_call, request).err)

    def batch(self) -> DatabaseBatch:
        return DatabaseBatch(self)

    def iterate(self, *, prefix: bytes = b"", start: bytes = b"") -> DatabaseIterator:
        return self._iterators.open(as_bytes(start), as_bytes(prefix))

    def compact(self, start: bytes = b"", limit: bytes = b"") -> None:
        request = pb.CompactRequest(start=as_bytes(start), limit=as_bytes(limit))
        self._guard.check_response(self._guard.watch(self._compact_call, request).err)

    def health_check(self) -> Any:
        self._guard.check()
        details = self._health_call(Empty()).details
        try:
            return json.loads(details) if details else None
        except ValueError as error:
            raise self._health_call.malformed(f"the details are not JSON: {error}") from None

    def close(self) -> None:
        if self._guard.closed and not self._guard.failed:
            raise Closed("the database is closed")
        self._guard.closed = True
        self._iterators.release_all()
        self._guard.check_response(self._guard.watch(self._close_call, pb.CloseRequest()).err)

    def stop(self) -> None:
        """Stop the background thread, after the channel has been closed."""
        self._iterators.stop()

    def check(self) -> None:
        """Raise `DatabaseFailed` or `Closed` if the database can no longer be used."""
        self._guard.check()

    def _value(self, response: pb.GetResponse) -> bytes | None:
        if response.err:
            if response.err == pb.ERROR_NOT_FOUND:
                return None
            self._guard.check_response(response.err)
        self.metrics.read(len(response.value))
        return response.value

    def _write(self, operations: dict[bytes, bytes | None]) -> None:
        self.metrics.wrote(sum(len(key) + len(value or b"") for key, value in operations.items()))
        request = pb.WriteBatchRequest(
            puts=[
                pb.PutRequest(key=key, value=value) for key, value in operations.items() if value is not None
            ],
            deletes=[pb.DeleteRequest(key=key) for key, value in operations.items() if value is None],
        )
        self._guard.check_response(self._guard.call(self._batch_call, request).err)


class DatabaseBatch(Batch):
    """A batch of a node's database. Each key is sent once: the node applies puts before deletes."""

    def __init__(self, database: DatabaseClient) -> None:
        super().__init__()
        self._database = database

    def write(self) -> None:
        self._database._write(self._operations)

    def check(self) -> None:
        """Raise `DatabaseFailed` or `Closed` if the database can no longer be used."""
        self._database.check()
