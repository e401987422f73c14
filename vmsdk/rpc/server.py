"""The plugin's main gRPC server: `vm.VM` and the health service."""

from __future__ import annotations

import logging
from collections.abc import Callable

from vmsdk.address import Addresses
from vmsdk.protocol import Protocol
from vmsdk.rpc.blocks import Blocks
from vmsdk.rpc.dispatch import Servicer
from vmsdk.rpc.events import Events
from vmsdk.rpc.gather import Gather
from vmsdk.rpc.handlers import Handlers
from vmsdk.rpc.health import Health
from vmsdk.rpc.lifecycle import Lifecycle
from vmsdk.rpc.listener import Server
from vmsdk.rpc.liveness import Liveness
from vmsdk.rpc.methods import VMMethods
from vmsdk.rpc.peers import Peers
from vmsdk.rpc.session import Session
from vmsdk.rpc.statesync import StateSync
from vmsdk.vm import ChainVM


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
    ) -> None:
        """*on_shutdown* is called first thing in the node's Shutdown, from another thread.

        The VM's HTTP servers listen at *addresses*.
        """
        self._server = server
        self.session = Session(vm, protocol, log or logging.getLogger(str(vm.name)), addresses)
        servicers: tuple[Servicer, ...] = (
            Lifecycle(self.session, on_shutdown),
            Blocks(self.session),
            StateSync(self.session),
            Events(self.session),
            Peers(self.session),
            Handlers(self.session),
            Health(self.session),
            Gather(self.session),
        )
        handlers = (handler for servicer in servicers for handler in servicer.handlers())
        server.add_generic_rpc_handlers((VMMethods(handlers, self.session.priority), Liveness()))

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop(self, grace_s: float) -> None:
        """Take no more calls, give those in flight *grace_s* seconds, then end. Returns when ended."""
        self.session.events.close()
        self._server.stop(grace_s).wait()
