"""The methods of `vm.VM`, and the lane of each."""

from __future__ import annotations

from collections.abc import Iterable

import grpc

from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.rpc.dispatch import Handler
from vmsdk.rpc.lane import Lane, LaneMethod
from vmsdk.rpc.priority import EnginePriority

# A new wait ends the oldest of `eventsource.MAX_WAITS` others, so there must be threads for more.
WAITS = 8
# A node handles two messages at a time for each chain (consensus-app-concurrency).
MESSAGES = 8


class VMMethods(grpc.GenericRpcHandler):
    """Finds the method of a call when the call arrives. HTTP gives way to engine calls from then on."""

    def __init__(self, handlers: Iterable[Handler], priority: EnginePriority) -> None:
        engine = Lane("engine", reserved=True, cancellable=False)
        waits = Lane("waits", limit=WAITS)
        messages = Lane("messages", limit=MESSAGES)
        lanes = {
            "Shutdown": Lane("shutdown", reserved=True, cancellable=False),
            "Health": Lane("health", reserved=True, cancellable=False),
            "Version": Lane("version"),
            "Gather": Lane("metrics"),
            "WaitForEvent": waits,
        }
        self._priority = priority
        self._methods: dict[str, tuple[LaneMethod, bool]] = {}
        for handler in handlers:
            lane = lanes.get(handler.name) or (messages if "App" in handler.name else engine)
            method = LaneMethod(handler.behaviour, handler.decode, handler.encode, lane)
            self._methods[f"/{VM.full_name}/{handler.name}"] = method, handler.comes_first

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> LaneMethod | None:
        found = self._methods.get(handler_call_details.method)
        if found is None:
            return None
        method, comes_first = found
        if comes_first:
            self._priority.announce()
        return method
