"""The servers of a chain's HTTP handlers."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import grpc

from vmsdk.address import Addresses
from vmsdk.errors import Closed
from vmsdk.http import as_asgi
from vmsdk.http.asgi import ASGIApp
from vmsdk.http.jsonrpc import JSONRPC
from vmsdk.http.lifespan import Lifespan
from vmsdk.http.mount import Mount
from vmsdk.protocol import Protocol
from vmsdk.rpc.errors import FaultLog
from vmsdk.rpc.http.capacity import Capacity
from vmsdk.rpc.http.loopthread import LoopBlocked, LoopThread
from vmsdk.rpc.http.pool import Pool
from vmsdk.rpc.http.service import HTTPService
from vmsdk.rpc.http.site import Routes, Shared, Site
from vmsdk.rpc.http.threaded import ThreadedServer
from vmsdk.rpc.instruments import Instruments
from vmsdk.rpc.listener import listen
from vmsdk.rpc.peercheck import peer_check
from vmsdk.rpc.priority import EnginePriority
from vmsdk.rpc.publicserver import SERVER_OPTIONS
from vmsdk.rpc.watchdog import Watchdog

STARTUP_TIMEOUT_S = 60.0
"""Limits an app's startup, for which the node, and the whole chain, wait without a limit."""
START_TIMEOUT_S = STARTUP_TIMEOUT_S + 5.0

# A node gives a plugin 5 s to exit after SIGTERM, and the author's shutdown needs some of them.
REQUEST_GRACE_S = 0.5
SHUTDOWN_TIMEOUT_S = 2.0
THREADED_STOP_TIMEOUT_S = 0.5
CLOSE_TIMEOUT_S = 3.5


class HTTPServers:
    """One server for each mounted app, on one event loop in one thread.

    Thread-safe, but not to be called on that loop.
    """

    def __init__(
        self,
        protocol: Protocol,
        log: logging.Logger,
        priority: EnginePriority | None = None,
        addresses: Addresses | None = None,
        faults: FaultLog | None = None,
        instruments: Instruments | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        """*priority* is what engine calls enter, so that HTTP gives way to them.

        The servers listen at *addresses*, by default at TCP ports.
        """
        self._protocol = protocol
        self._log = log
        self._addresses = addresses or Addresses("tcp")
        self._priority = priority or EnginePriority()
        watchdog = watchdog or Watchdog()
        watched = watchdog.watch("a coroutine that blocks the event loop of all HTTP apps", once=True)
        self._thread = LoopThread("vmsdk-http", log, self._priority.http, watched)
        self._shared = Shared(
            Pool(self._priority),
            Capacity(),
            self._priority,
            faults or FaultLog(log),
            log,
            instruments,
            watchdog,
        )
        self._lock = threading.Lock()
        self._closed = False
        # Filled on the loop:
        self._routes = Routes()
        self._sites: list[Site] = []
        self._servers: list[grpc.aio.Server] = []
        self._threaded_servers: list[ThreadedServer] = []
        self._lifespans: dict[int, Lifespan] = {}

    def serve(self, app: object, *, prefix: str | None) -> str:
        """Run the startup of the app's lifespan and start its server; returns the address for the
        node.

        *prefix* is its key in `create_handlers`, None for the header-routed handler. Raises
        `NotAnApp`, `InvalidPrefix`, `StartupFailed`, and `Closed` after `close`.
        """
        asgi = as_asgi(app, prefix=prefix)
        mount = None if prefix is None else Mount(prefix)
        with self._lock:
            if self._closed:
                raise Closed("the HTTP servers are closed")
            with self._priority.lent():
                return self._thread.run(self._serve(asgi, mount), START_TIMEOUT_S)

    def close(self) -> None:
        """End every request, run every lifespan's shutdown, and stop the servers. Idempotent.

        Takes a few seconds at most, even if an app hangs.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self._stop_threaded_servers()
            self._thread.finish(self._close(), CLOSE_TIMEOUT_S)
        except LoopBlocked as error:
            self._log.warning("HTTP did not shut down cleanly: %s", error)
        finally:
            self._shared.pool.close()

    def _stop_threaded_servers(self) -> None:
        """End their requests. Not on the loop, which some of them wait for."""
        for server in self._threaded_servers:
            server.begin_to_stop(REQUEST_GRACE_S)
        deadline_s = time.monotonic() + REQUEST_GRACE_S + THREADED_STOP_TIMEOUT_S
        for server in self._threaded_servers:
            server.stop(deadline_s - time.monotonic())

    # On the loop ----------------------------------------------------------------------------------

    async def _serve(self, app: ASGIApp, mount: Mount | None) -> str:
        site = Site(app, mount, await self._lifespan(app, mount), self._shared)
        service = HTTPService(site, self._routes, self._protocol)
        self._sites.append(site)
        self._routes.add(site)
        # A request that arrives by a template may be for a longer prefix, which the loop finds.
        if isinstance(app, JSONRPC) and app.is_plain and not (mount and mount.is_template):
            threaded = ThreadedServer(app, site, service, self._thread.loop)
            address = listen(threaded.server, self._addresses)
            threaded.start()
            self._threaded_servers.append(threaded)
            return address
        server = grpc.aio.server(options=SERVER_OPTIONS)
        server.add_generic_rpc_handlers((service.handler(),))
        address = self._addresses.listen(server)
        service.peers = peer_check(address, self._addresses.transport)
        await server.start()
        self._servers.append(server)
        return address

    async def _lifespan(self, app: ASGIApp, mount: Mount | None) -> Lifespan:
        """The running lifespan of *app*: one, even if it is mounted twice."""
        lifespan = self._lifespans.get(id(app))
        if lifespan is None:
            prefix = None if mount is None else mount.prefix
            lifespan = Lifespan(app, prefix=prefix, log=self._log)
            await lifespan.start(STARTUP_TIMEOUT_S)
            self._lifespans[id(app)] = lifespan
        return lifespan

    async def _close(self) -> None:
        """End the requests, then the servers, then the apps."""
        await asyncio.gather(*(site.stop(REQUEST_GRACE_S) for site in self._sites))
        await asyncio.gather(*(server.stop(0) for server in self._servers))
        self._servers.clear()  # grpcio ends its own thread when the last of them is collected
        await asyncio.gather(*(each.stop(SHUTDOWN_TIMEOUT_S) for each in self._lifespans.values()))
