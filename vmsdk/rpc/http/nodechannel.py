"""Asyncio channels to the small servers that a node starts for one request or one connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc

from vmsdk._pb._service import Method, RequestT, ResponseT
from vmsdk.services.channel import CHANNEL_OPTIONS, target

Unary: TypeAlias = Callable[[RequestT], Awaitable[ResponseT]]


def dial(address: str) -> grpc.aio.Channel:
    """A channel to `host:port`, which connects at its first call.

    Calls on it fail when nobody listens, unlike those to the node's lasting servers: these servers
    are up before the plugin hears of them, and are gone when the client is.
    """
    return grpc.aio.insecure_channel(target(address), options=CHANNEL_OPTIONS)


def unary(channel: grpc.aio.Channel, method: Method[RequestT, ResponseT]) -> Unary[RequestT, ResponseT]:
    """One method of the server as an `async` function. It raises `grpc.aio.AioRpcError`."""
    call: Any = channel.unary_unary(
        method.path,
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.response.FromString,
    )
    return call  # type: ignore[no-any-return] # awaitable calls, whose class grpcio keeps to itself
