"""The fail-stop guard of the chain's database: after a failure nothing is read or written."""

from __future__ import annotations

import threading
from time import perf_counter

from vmsdk._pb._service import RequestT, ResponseT
from vmsdk._pb.rpcdb import rpcdb_pb2 as pb
from vmsdk.errors import Closed, DatabaseFailed, NodeError, NotFound
from vmsdk.services.call import Call
from vmsdk.services.databasemetrics import DatabaseMetrics


class FailStop:
    """The first failure of a database, and whether it is closed. Thread-safe."""

    def __init__(self) -> None:
        self.metrics = DatabaseMetrics()
        self._lock = threading.Lock()
        self._first_error: str | None = None
        self.closed = False
        """Whether the VM has closed the database."""

    @property
    def failed(self) -> bool:
        """Whether any operation has failed."""
        return self._first_error is not None

    def check(self) -> None:
        """Raise `DatabaseFailed` after a failure, `Closed` after the close."""
        if self._first_error is not None:
            raise DatabaseFailed(self._first_error)
        if self.closed:
            raise Closed("the database is closed")

    def call(self, call: Call[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Call and return the response. Raises like `check`, and remembers a failure."""
        self.check()
        return self.watch(call, request)

    def watch(self, call: Call[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Like `call`, but even after a failure or the close."""
        began_s = perf_counter()
        try:
            response = call(request)
        except NodeError as error:
            self.remember(error)
            self.metrics.failed(call.path)
            raise
        self.metrics.ended(call.path, began_s)
        return response

    def remember(self, error: NodeError) -> None:
        """Record *error*. Later operations raise `DatabaseFailed` with the first one."""
        with self._lock:
            if self._first_error is None:
                self._first_error = str(error)

    def check_response(self, error: pb.Error.ValueType) -> None:
        """Raise the exception for a response's `err`. An unknown number is success, as in nodes."""
        if error == pb.ERROR_CLOSED:
            raise Closed("the database is closed")
        if error == pb.ERROR_NOT_FOUND:
            raise NotFound
