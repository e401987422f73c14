"""The plugin's main gRPC server: `vm.VM` and the health service."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import grpc

from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.address import Addresses
from vmsdk.protocol import Protocol
from vmsdk.rpc.blocks import Blocks
from vmsdk.rpc.dispatch import Handler, Servicer
from vmsdk.rpc.events import Events
from vmsdk.rpc.handlers import Handlers
from vmsdk.rpc.lane import Lane, LaneMethod
from vmsdk.rpc.lifecycle import Configure, Lifecycle
from vmsdk.rpc.listener import RESERVED_THREADS, Server
from vmsdk.rpc.monitoring import HealthService, Monitoring
from vmsdk.rpc.peers import Peers
from vmsdk.rpc.priority import EnginePriority
from vmsdk.rpc.session import Session
from vmsdk.rpc.statesync import StateSync
from vmsdk.rpc.watchdog import Watchdog
from vmsdk.vm import ChainVM

# A new wait ends the oldest of `eventsource.MAX_WAITS` others, so there must be threads for more.
WAITS = 8
# A node handles two messages at a time for each chain (its consensus-app-concurrency).
MESSAGES = 8


class VMServer:
    """Serves one VM to one node, on a bound server."""

    def __init__(
        self,
        vm: ChainVM,
        protocol: Protocol,
        server: Server,
        *,
        addresses: Addresses,
        log: logging.Logger | None = None,
        on_shutdown: Callable[[], None] = lambda: None,
        watchdog: Watchdog | None = None,
        configure: Configure = lambda config, directory: config,
    ) -> None:
        """*on_shutdown* is called from another thread, when the node's Shutdown begins or after a
        failed Initialize. *configure* gets the chain's config and data directory, and returns the
        VM's config.

        The VM's HTTP servers listen at *addresses*.
        """
        self._server = server
        self.session = Session(vm, protocol, log or logging.getLogger(str(vm.name)), addresses, watchdog)
        server.receiving = self.session.priority
        servicers: tuple[Servicer, ...] = (
            Lifecycle(self.session, on_shutdown, configure),
            Blocks(self.session),
            StateSync(self.session),
            Events(self.session),
            Peers(self.session),
            Handlers(self.session),
            Monitoring(self.session),
        )
        handlers = (handler for servicer in servicers for handler in servicer.handlers())
        server.add_generic_rpc_handlers((VMMethods(handlers, self.session.priority), HealthService()))

    def start(self) -> None:
        """Start serving calls."""
        self._server.start()

    def stop(self, grace_s: float) -> None:
        """Take no more calls, give those in flight *grace_s* seconds to end, then stop."""
        self.session.events.close()
        self._server.stop(grace_s).wait()


class VMMethods(grpc.GenericRpcHandler):
    """Finds the method of a call when it arrives. From then on, HTTP gives way to an engine call.

    Engine calls run one at a time. They, Shutdown and Health always get a thread, whatever else
    hangs.
    """

    def __init__(self, handlers: Iterable[Handler], priority: EnginePriority) -> None:
        reserved = [Lane(name, reserved=True, cancellable=False) for name in ("engine", "Shutdown", "Health")]
        assert len(reserved) == RESERVED_THREADS
        others = Lane("messages", limit=MESSAGES), Lane("WaitForEvent", limit=WAITS)
        lanes = {lane.name: lane for lane in (*reserved, *others, Lane("Version"), Lane("Gather"))}
        self.lanes = tuple(lanes.values())
        self._priority = priority
        self._methods: dict[str, tuple[LaneMethod, bool]] = {}
        for handler in handlers:
            lane = lanes.get(handler.name) or lanes["messages" if "App" in handler.name else "engine"]
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
