"""Calls to the node's services, and checks of the numbers that they take."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic

import grpc

from vmsdk._pb._service import Method, RequestT, ResponseT
from vmsdk.errors import InvalidInput, NodeError
from vmsdk.services.channel import CLOSED, Channel, UnaryCall


class Call(Generic[RequestT, ResponseT]):
    """A unary method, called without a deadline: a call waits until the server listens.

    Thread-safe. Every failure is a `NodeError`. When the channel is closed, calls in flight and
    later ones fail at once with UNAVAILABLE.
    """

    __slots__ = ("_call", "_start", "path")

    def __init__(self, channel: Channel, method: Method[RequestT, ResponseT]) -> None:
        self.path = method.path
        stub = channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        self._call: Callable[[RequestT], ResponseT] = partial(stub, wait_for_ready=True)
        self._start: Callable[[RequestT], UnaryCall] = partial(stub.future, wait_for_ready=True)

    def __call__(self, request: RequestT) -> ResponseT:
        """Call the method and return the response."""
        try:
            return self._call(request)
        except grpc.RpcError as error:
            raise node_error(self.path, error) from None
        except ValueError:  # of a channel within this process (vmsdk.testing)
            raise _channel_closed(self.path) from None

    def start(self, request: RequestT) -> Pending[ResponseT]:
        """Send *request* and return at once. The caller must wait for the response or cancel."""
        try:
            return Pending(self.path, self._start(request))
        except grpc.RpcError as error:
            raise node_error(self.path, error) from None
        except ValueError:  # of a channel within this process (vmsdk.testing)
            raise _channel_closed(self.path) from None

    def malformed(self, reason: str) -> NodeError:
        """The error for a response that breaks the protocol."""
        return NodeError(
            self.path, grpc.StatusCode.INTERNAL.name, f"malformed response of {self.path}: {reason}"
        )


class Pending(Generic[ResponseT]):
    """A response that is on its way."""

    __slots__ = ("_future", "_path")

    def __init__(self, path: str, future: UnaryCall) -> None:
        self._path = path
        self._future = future

    def wait(self) -> ResponseT:
        """Wait for the response and return it. Raises `NodeError`."""
        try:
            response: ResponseT = self._future.result()
        except grpc.RpcError as error:
            raise node_error(self._path, error) from None
        return response

    def read(self) -> None:
        """Wait for the response or the failure, and keep it for `wait`."""
        self._future.read()

    def cancel(self) -> None:
        """Discard the response. The node may still execute the call."""
        self._future.cancel()


def node_error(path: str, error: grpc.RpcError) -> NodeError:
    """The `NodeError` for *error*, which grpcio raised for a call of *path*."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.CANCELLED and details == CLOSED:
        return _channel_closed(path)
    return NodeError(path, code.name, details)


def _channel_closed(path: str) -> NodeError:
    return NodeError(
        path, grpc.StatusCode.UNAVAILABLE.name, f"{path} failed: the connection to the node was closed"
    )


def unsigned(what: str, value: int, *, bits: int) -> int:
    """Return *value* if it is an unsigned number of *bits* bits. Raises `InvalidInput` about
    *what*.
    """
    return _within(what, value, 0, (1 << bits) - 1)


def signed(what: str, value: int, *, bits: int) -> int:
    """Like `unsigned`, for a signed number."""
    return _within(what, value, -1 << (bits - 1), (1 << (bits - 1)) - 1)


def _within(what: str, value: int, lowest: int, highest: int) -> int:
    if not lowest <= value <= highest:
        raise InvalidInput(f"{what} is a number from {lowest} to {highest}; {value} is not")
    return value
