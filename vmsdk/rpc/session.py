"""The state that all servicers of one chain share."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vmsdk.address import Addresses
from vmsdk.errors import Fatal, VMError
from vmsdk.protocol import Protocol
from vmsdk.rpc.blockmemory import BlockMemory
from vmsdk.rpc.conversion import call
from vmsdk.rpc.errors import FaultLog
from vmsdk.rpc.eventsource import EventSource
from vmsdk.rpc.instruments import Instruments
from vmsdk.rpc.metrics import MetricsPage
from vmsdk.rpc.priority import EnginePriority
from vmsdk.rpc.watchdog import Watchdog
from vmsdk.services.channel import connect
from vmsdk.services.node import NodeConnection
from vmsdk.vm import ChainVM

if TYPE_CHECKING:
    from vmsdk.rpc.http import HTTPServers


class NotReady(VMError):
    """The node called a method that needs the chain, before Initialize or after Shutdown."""

    def __init__(self, *, ended: bool) -> None:
        self.ended = ended
        super().__init__(
            "the chain is shut down" if ended else "the chain is not initialised: call Initialize first"
        )


class Session:
    """The VM of one chain, with everything that has the same lifetime."""

    def __init__(
        self,
        vm: ChainVM,
        protocol: Protocol,
        log: logging.Logger,
        addresses: Addresses,
        watchdog: Watchdog | None = None,
    ) -> None:
        self.vm = vm
        self.protocol = protocol
        self.log = log
        self._addresses = addresses
        self.lock = threading.RLock()
        self.watchdog = watchdog or Watchdog()
        self.watchdog.lock = self.lock
        self.priority = EnginePriority()
        self.faults = FaultLog(log, on_fatal=self.stop_chain)
        self.blocks = BlockMemory(vm)
        self.events = EventSource(vm, self.lock, self.faults, watchdog=self.watchdog)
        self.metrics = MetricsPage(self.faults, log)
        self.instruments = Instruments(self.blocks)
        self.metrics.register_own(self.instruments)
        self._http: HTTPServers | None = None
        self.node: NodeConnection | None = None
        self.connect = connect
        """Opens the channels to the node's servers."""
        self.stop_notifier: Callable[[], None] = lambda: None
        """Ends the thread that sends events, which only older nodes need."""
        self.initialized = False
        self.fatal: Fatal | None = None
        """Why the author stopped the chain."""
        self.checks_storage = True
        """Whether to check what the VM has stored of the next block that it accepts."""
        self.shutdown_begun = threading.Event()
        self._ended = False
        self._ending = threading.Lock()

    def trace_to(self, endpoint: str | None, ratio: float) -> None:
        """Send traces to the collector at *endpoint* from now on; None stops it.

        *ratio* is the fraction of traces to send, from 0 to 1. Raises `VMError` without the extra
        `otel`.
        """
        old, self.instruments.tracer = self.instruments.tracer, None
        if old is not None:
            old.close()
        if endpoint is not None:
            from vmsdk.rpc.tracing import Tracer

            context = self.vm.ctx
            attributes = {
                "service.name": str(self.vm.name),
                "service.version": str(self.vm.version),
                "service.instance.id": str(context.node_id),
                "vmsdk.chain_id": str(context.chain_id),
            }
            self.instruments.tracer = Tracer(endpoint, ratio, self.blocks, attributes)

    def check_ready(self) -> None:
        """Raise unless the chain is initialised, not shut down, and not stopped by its author."""
        if self.fatal is not None:
            raise self.fatal
        if not self.initialized:
            raise NotReady(ended=self._ended)

    def stop_chain(self, reason: Fatal) -> None:
        """Make the node stop the chain, wherever *reason* was raised.

        A node ignores the errors of most calls, but not that of an application message. So the VM
        sends a request to its own node, and fails when it arrives. Until then every call fails.
        """
        if self.fatal is None and self.initialized and self.node is not None:
            self.fatal = reason
            self.log.critical("the VM stops the chain: %s", reason)
            try:
                self.node.sender.send_app_request([self.vm.ctx.node_id], 0, b"")
            except VMError as error:
                self.log.error("the node did not accept the message that stops the chain: %s", error)

    def shutdown(self, on_begin: Callable[[], None] = lambda: None) -> None:
        """End the chain: its waits, the author's VM, HTTP, and the connections to the node.

        Idempotent. Raises what the author's `shutdown` raised, after everything else has ended.
        """
        self.shutdown_begun.set()
        on_begin()
        self.events.close()
        with self._ending:
            if self._ended:
                return
            try:
                with self.lock:
                    self._ended = True
                    was_initialized, self.initialized = self.initialized, False
                    if was_initialized:
                        call("shutdown", self.vm.shutdown)
            finally:
                # Without the chain's lock, since requests that wait for it could not end.
                self.disconnect()

    def serve_http(self, app: Any, *, prefix: str | None) -> str:
        """Serve an HTTP app of the author's on its own server. Returns the address for the node.

        Raises `TypeError` for a value that is not an app, and whatever the app's startup raises.
        """
        # Imported here, since no node needs HTTP before it has a chain.
        from vmsdk.http.lifespan import lifespan_name

        if self._http is None:
            from vmsdk.rpc.http import HTTPServers

            self._http = HTTPServers(
                *(self.protocol, self.log, self.priority, self._addresses, self.faults, self.instruments),
                self.watchdog,
            )
        with self.watchdog.watch(lifespan_name(prefix)):
            return self._http.serve(app, prefix=prefix)

    def disconnect(self) -> None:
        """Stop HTTP and close the connection to the node. Idempotent."""
        try:
            if self._http is not None:
                self._http.close()
        finally:
            self.cut_off()

    def cut_off(self) -> None:
        """End every call to the node, and refuse later ones. Idempotent and thread-safe."""
        self.stop_notifier()
        if self.node is not None:
            self.node.close()
