"""A gRPC server of the node on a loopback port of its own, on the event loop: many of them cost no thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import grpc.aio

from vmsdk._pb._service import Method, Service
from vmsdk.host.http.failures import IOFailed
from vmsdk.host.server import SERVER_OPTIONS

Behaviour: TypeAlias = Callable[[Any], Awaitable[Any]]


class LoopbackServer:
    """Serves behaviours, by service and method name; `IOFailed` becomes the status UNKNOWN with its text."""

    def __init__(self, services: Mapping[type[Service], Mapping[str, Behaviour]]) -> None:
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        self._server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(
                    service.full_name,
                    {name: _handler(service.methods[name], call) for name, call in behaviours.items()},
                )
                for service, behaviours in services.items()
            )
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        """host:port."""

    async def start(self) -> None:
        """Begin to answer."""
        await self._server.start()

    async def stop(self) -> None:
        """Stop at once: calls that run are cancelled. Harmless when repeated."""
        await self._server.stop(None)


def _handler(method: Method[Any, Any], behaviour: Behaviour) -> grpc.RpcMethodHandler[Any, Any]:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await behaviour(request)
        except (IOFailed, ValueError) as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))

    return grpc.unary_unary_rpc_method_handler(
        call,
        request_deserializer=method.request.FromString,
        response_serializer=method.response.SerializeToString,
    )
