"""The HTTP side of `vmsdk dev`, which outlives the VM's processes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from vmsdk import protocol
from vmsdk.cli.dev.screen import Screen
from vmsdk.errors import VMError
from vmsdk.host.chain import Chain
from vmsdk.host.http import Access, AddressUnavailable, HTTPFront, RouteRefused
from vmsdk.host.identity import DEFAULT_NODE_ID


class PortUnavailable(VMError):
    """HTTP can't be served on the port. *reason* is the operating system's text."""

    def __init__(self, port: int, reason: str) -> None:
        self.port = port
        self.reason = reason
        super().__init__(
            f"can't serve HTTP on 127.0.0.1:{port}: {reason}; stop what listens there (a node, another "
            "vmsdk dev), or choose another port by --port (0: a free one)"
        )


class ChainHTTP:
    """Serves the chain's handlers on *port*, and the node's health and metrics pages.

    While no chain is open, requests for the last one are answered as by a node that is starting: with 503.
    """

    def __init__(self, version: int, port: int, screen: Screen) -> None:
        self._screen = screen
        self._lock = threading.Lock()
        self._chain: Chain | None = None
        self._front = HTTPFront(
            protocol.protocol(version),
            DEFAULT_NODE_ID,
            port=port,
            on_access=self._show,
            health=self._health,
            gather=self._gather,
        )
        self._registered: Chain | None = None

    def start(self) -> None:
        """Listen. Raises `PortUnavailable`."""
        try:
            self._front.start()
        except AddressUnavailable as error:
            raise PortUnavailable(error.port, error.reason.rpartition(": ")[2]) from None

    def stop(self) -> None:
        """Hang up. Harmless when repeated."""
        self._front.stop()

    def open(self, chain: Chain) -> list[RouteRefused]:
        """Serve *chain*, which is in normal operation; the prefixes that a node would not serve."""
        refused = self._register(chain)
        self._front.set_normal_op(chain.config.chain_id, True)
        with self._lock:
            self._chain = chain
        return refused

    def pause(self) -> None:
        """The chain's process is about to end. Harmless when there is none."""
        with self._lock:
            chain, self._chain = self._chain, None
        if chain is not None:
            self._register(chain)

    def url(self, chain: Chain) -> str:
        """Where *chain* is, by its alias; the handlers' prefixes follow it."""
        alias = chain.config.alias or str(chain.config.chain_id)
        return f"http://{self._front.address}/ext/bc/{alias}"

    def _register(self, chain: Chain) -> list[RouteRefused]:
        if self._registered is not None:
            self._front.remove_chain(self._registered.config.chain_id)
        self._registered = chain
        alias = chain.config.alias
        return self._front.add_chain(
            chain.config.chain_id, [] if alias is None else [alias], chain.handlers, chain.http_handler
        )

    def _show(self, access: Access) -> None:
        if access.status >= 400:
            self._screen.warning(f"HTTP {access.status}: {access.method} {access.target}")

    def _health(self) -> Mapping[str, object]:
        with self._lock:
            chain = self._chain
        if chain is None:
            return {"healthy": False, "error": "the chain is not running"}
        return {"healthy": True, "checks": {chain.config.alias: {"message": chain.health()}}}

    def _gather(self) -> Any:
        with self._lock:
            chain = self._chain
        return () if chain is None else chain.gather()
