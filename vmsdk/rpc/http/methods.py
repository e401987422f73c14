"""The two methods of `http.HTTP` as grpcio asks for them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from vmsdk._pb._service import Method, RequestT, ResponseT
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk.rpc.priority import EnginePriority


class HTTPMethods(grpc.GenericRpcHandler):
    """Serves behaviours, plain ones or asynchronous ones; each new call gives way to the engine's.

    A behaviour on the event loop gets None for a message that is malformed, and must refuse it; a threaded
    server does that by itself.
    """

    def __init__(
        self,
        handle_simple: Callable[..., Any],
        handle: Callable[..., Any],
        priority: EnginePriority,
        log: logging.Logger,
    ) -> None:
        self._priority = priority
        self._log = log
        self._handlers = {
            HTTP.HandleSimple.path: self._handler(HTTP.HandleSimple, handle_simple),
            # Until protocol 39 the answer is Empty: what an HTTPResponse without headers looks like.
            HTTP.Handle.path: self._handler(HTTP.Handle, handle),
        }

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        self._priority.give_way()
        return self._handlers.get(handler_call_details.method)

    def _handler(
        self, method: Method[RequestT, ResponseT], behaviour: Callable[..., Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        parse = method.request.FromString

        def decode(data: bytes) -> RequestT | None:
            try:
                return parse(data)
            except DecodeError as error:
                self._log.warning("%s: the node sent a malformed message: %s", method.path, error)
                return None

        return grpc.unary_unary_rpc_method_handler(
            behaviour, request_deserializer=decode, response_serializer=method.response.SerializeToString
        )
