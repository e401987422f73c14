"""One method of the node's services, ready to be called."""

from __future__ import annotations

from functools import partial
from typing import Generic

import grpc

from vmsdk._pb._service import Method, RequestT, ResponseT
from vmsdk.errors import NodeError

# Source: grpcio's Channel.close(), the text of the calls that it cancels.
_CLOSED_WHILE_WAITING = "Channel closed!"


class Call(Generic[RequestT, ResponseT]):
    """Calls one unary method, without a deadline, waiting until the server is there.

    Safe from any thread. Every failure is a `NodeError`. When the channel is closed, calls in flight
    end at once, and later ones fail at once, with the code UNAVAILABLE.
    """

    __slots__ = ("_call", "_start", "path")

    def __init__(self, channel: grpc.Channel, method: Method[RequestT, ResponseT]) -> None:
        self.path = method.path
        stub = channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        self._call = partial(stub, wait_for_ready=True)
        self._start = partial(stub.future, wait_for_ready=True)

    def __call__(self, request: RequestT) -> ResponseT:
        """The node's answer."""
        try:
            return self._call(request)
        except grpc.RpcError as error:
            raise node_error(self.path, error) from None
        except ValueError:
            raise _channel_closed(self.path) from None

    def start(self, request: RequestT) -> Answer[ResponseT]:
        """Send *request* and return at once. The caller must wait for the answer, or cancel it."""
        try:
            return Answer(self.path, self._start(request))
        except grpc.RpcError as error:
            raise node_error(self.path, error) from None
        except ValueError:
            raise _channel_closed(self.path) from None

    def malformed(self, reason: str) -> NodeError:
        """The error for an answer that breaks the protocol."""
        return NodeError(
            self.path, grpc.StatusCode.INTERNAL.name, f"malformed answer of {self.path}: {reason}"
        )


class Answer(Generic[ResponseT]):
    """An answer that is on its way."""

    __slots__ = ("_future", "_path")

    def __init__(self, path: str, future: grpc.Future[ResponseT]) -> None:
        self._path = path
        self._future = future

    def wait(self) -> ResponseT:
        """The answer, once it is there. Raises `NodeError`."""
        try:
            return self._future.result()
        except grpc.RpcError as error:
            raise node_error(self._path, error) from None

    def cancel(self) -> None:
        """Give the answer up. The node may have done what was asked all the same."""
        self._future.cancel()


def node_error(path: str, error: grpc.RpcError) -> NodeError:
    """What *error*, raised by grpcio for a call of *path*, says in our terms."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.CANCELLED and details == _CLOSED_WHILE_WAITING:
        return _channel_closed(path)
    return NodeError(path, code.name, details)


def _channel_closed(path: str) -> NodeError:
    return NodeError(
        path, grpc.StatusCode.UNAVAILABLE.name, f"{path} failed: the connection to the node was closed"
    )
