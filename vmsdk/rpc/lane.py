"""How many calls of one kind a gRPC server runs at a time."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

if TYPE_CHECKING:
    _RpcMethodHandler = grpc.RpcMethodHandler[Any, Any]
else:
    _RpcMethodHandler = grpc.RpcMethodHandler


HELD_AFTER_S = 0.005
"""A call that runs for longer is presumed to wait, and to leave the processor to others."""


def end_process(reason: str) -> NoReturn:
    """Log *reason* and end the process: a half-working server would keep the node waiting."""
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
        grown_limit: int = 0,
        reserved: bool = False,
        cancellable: bool = True,
        queue_limit: int | None = None,
    ) -> None:
        self.name = name
        self.limit = limit
        """Calls that run at a time."""
        self.grown_limit = max(limit, grown_limit)
        """The same, counting calls that are presumed to wait, after `HELD_AFTER_S`."""
        self.reserved = reserved
        """Whether the server always keeps a thread for the lane, even if others are busy."""
        self.cancellable = cancellable
        """Whether a call ends, and its method is notified, when its client gives up."""
        self.queue_limit = queue_limit
        """Calls that may wait; more are refused with RESOURCE_EXHAUSTED. None: no limit."""
        self.waiting: OrderedDict[Any, None] = OrderedDict()
        """Calls that wait for their turn, the oldest first."""
        self.began_s: dict[int, float] = {}
        """When each thread began its call."""
        self.finishing = 0
        """How many of these calls only have their response sent, whose clients may call again."""

    @property
    def refusal(self) -> str:
        """What a call over the queue's limit gets."""
        return f"too many calls at once: {self.grown_limit} run and {self.queue_limit} wait, try again later"

    def has_room(self, now_s: float, running: int) -> bool:
        """Whether one more call may run in parallel with *running* others."""
        if running < self.limit or running >= self.grown_limit:
            return running < self.limit
        me, held_since_s = threading.get_ident(), now_s - HELD_AFTER_S
        busy = sum(thread != me and began_s > held_since_s for thread, began_s in self.began_s.items())
        return busy < self.limit


class LaneMethod(_RpcMethodHandler):
    """A unary gRPC method that runs in a lane. grpcio's servers treat it as an ordinary method."""

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


class InLanes(grpc.GenericRpcHandler):
    """Puts the unary methods of another handler into lanes, by their paths."""

    def __init__(self, handler: grpc.GenericRpcHandler, lanes: Mapping[str, Lane], default: Lane) -> None:
        self.lanes = (*lanes.values(), default)
        self._handler = handler
        self._lanes = lanes
        self._default = default

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> LaneMethod | None:
        method: Any = self._handler.service(handler_call_details)
        if method is None:
            return None
        lane = self._lanes.get(handler_call_details.method, self._default)
        return LaneMethod(method.unary_unary, method.request_deserializer, method.response_serializer, lane)
