"""The methods of `vm.VM` as grpcio asks for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc

from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.rpc.dispatch import Handler
from vmsdk.rpc.priority import EnginePriority


class VMMethods(grpc.GenericRpcHandler):
    """Finds the handler of a call, in the moment when the call arrives: HTTP gives way to it from then on."""

    def __init__(self, handlers: Iterable[Handler], priority: EnginePriority) -> None:
        self._handlers = {f"/{VM.full_name}/{handler.name}": handler for handler in handlers}
        self._priority = priority

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = self._handlers.get(handler_call_details.method)
        if handler is None:
            return None
        if handler.comes_first:
            self._priority.announce()
        return handler.served
