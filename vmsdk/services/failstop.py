"""The fail-stop guard of the chain's database: after the first failure, nothing more is read or written."""

from __future__ import annotations

import threading

from vmsdk._pb._service import RequestT, ResponseT
from vmsdk._pb.rpcdb import rpcdb_pb2 as pb
from vmsdk.errors import Closed, DatabaseFailed, NodeError, NotFound
from vmsdk.services.call import Call


class FailStop:
    """Remembers the first failure and the end of a database. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first_error: str | None = None
        self._closed = False

    @property
    def failed(self) -> bool:
        """Whether any operation has failed."""
        return self._first_error is not None

    @property
    def closed(self) -> bool:
        """Whether the database was closed from here."""
        return self._closed

    def check(self) -> None:
        """Raise `DatabaseFailed` after a failure, `Closed` after the close."""
        if self._first_error is not None:
            raise DatabaseFailed(self._first_error)
        if self._closed:
            raise Closed("the database is closed")

    def call(self, call: Call[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """The answer to *request*, unless the database may not be used. A failure is remembered."""
        self.check()
        return self.watch(call, request)

    def watch(self, call: Call[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """The answer to *request*, also when the database may not be used. A failure is remembered."""
        try:
            return call(request)
        except NodeError as error:
            self.remember(error)
            raise

    def remember(self, error: NodeError) -> None:
        """*error* happened; if it is the first, it is the one that later operations name."""
        with self._lock:
            if self._first_error is None:
                self._first_error = str(error)

    def check_answer(self, error: pb.Error.ValueType) -> None:
        """Raise what the `err` of an answer stands for. An unknown number is no error, as for the node."""
        if error == pb.ERROR_CLOSED:
            raise Closed("the database is closed")
        if error == pb.ERROR_NOT_FOUND:
            raise NotFound

    def close(self) -> None:
        """The database is being closed: from now on nothing is asked from the node."""
        self._closed = True
