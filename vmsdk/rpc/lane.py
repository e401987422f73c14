"""How many calls of one kind a gRPC server runs at a time."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

if TYPE_CHECKING:
    _RpcMethodHandler = grpc.RpcMethodHandler[Any, Any]
else:
    _RpcMethodHandler = grpc.RpcMethodHandler


def end_process(reason: str) -> NoReturn:
    """Log *reason* and end the process: a server that half works would keep the node waiting for ever."""
    try:
        logging.getLogger("vmsdk.rpc").critical("the process ends: %s", reason)
    finally:
        os._exit(1)


class Lane:
    """A limit that several gRPC methods share. Calls over it wait for their turn, in order."""

    def __init__(
        self,
        name: str,
        *,
        limit: int = 1,
        reserved: bool = False,
        cancellable: bool = True,
        queue_limit: int | None = None,
    ) -> None:
        self.name = name
        self.limit = limit
        """Calls that run at a time."""
        self.reserved = reserved
        """Whether the server always keeps a thread for the lane, however busy its other lanes are."""
        self.cancellable = cancellable
        """Whether a running call is notified when its client gives it up. That costs each call some time."""
        self.queue_limit = queue_limit
        """Calls that wait for their turn; any more are refused with RESOURCE_EXHAUSTED. None: no limit."""
        self.running = 0
        self.waiting: deque[Any] = deque()


class LaneMethod(_RpcMethodHandler):
    """A unary gRPC method that runs in a lane. Any server of grpcio takes it for an ordinary method."""

    request_streaming = False
    response_streaming = False
    unary_stream = stream_unary = stream_stream = None

    def __init__(
        self,
        behaviour: Callable[[Any, Any], Any],
        decode: Callable[[bytes], Any],
        encode: Callable[[Any], bytes],
        lane: Lane,
    ) -> None:
        self.unary_unary = behaviour
        self.request_deserializer = decode
        self.response_serializer = encode
        self.lane = lane
