"""The servers of a chain's HTTP handlers, as the rest of the SDK starts and stops them."""

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

# A node gives a plugin 5 s from SIGTERM to its end. The author's shutdown needs some of them.
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
        self._addresses = addresses or Addresses("tcp")
        self._priority = priority or EnginePriority()
        self._faults = faults or FaultLog(log)
        self._instruments = instruments
        self._watchdog = watchdog or Watchdog()
        self._protocol = protocol
        self._log = log
        self._lock = threading.Lock()
        self._loop: LoopThread | None = None
        self._front: _Front | None = None
        self._closed = False

    def serve(self, app: object, *, prefix: str | None) -> str:
        """Serve *app*; returns the server's address for the node, once the app's lifespan has
        begun.

        *prefix* is its key in `create_handlers`, None for the header-routed handler. Raises
        `NotAnApp`, `InvalidPrefix`, `StartupFailed`, and `Closed` after `close`.
        """
        asgi = as_asgi(app, prefix=prefix)
        mount = None if prefix is None else Mount(prefix)
        with self._lock:
            if self._closed:
                raise Closed("the HTTP servers are closed")
            if self._loop is None or self._front is None:
                watched = self._watchdog.watch(
                    "a coroutine that blocks the event loop of all HTTP apps", once=True
                )
                self._loop = LoopThread("vmsdk-http", self._log, self._priority.http, watched)
                shared = Shared(
                    Pool(self._priority),
                    Capacity(),
                    self._priority,
                    self._faults,
                    self._log,
                    self._instruments,
                    self._watchdog,
                )
                self._front = _Front(self._loop.loop, self._protocol, self._addresses, shared)
            with self._priority.lent():
                return self._loop.run(self._front.serve(asgi, mount), START_TIMEOUT_S)

    def close(self) -> None:
        """End every request, run every lifespan's shutdown, and stop the servers. Idempotent.

        Takes a few seconds at most, however stuck an app is.
        """
        with self._lock:
            self._closed = True
            loop, front = self._loop, self._front
            self._loop = self._front = None
        if loop is None or front is None:
            return
        try:
            front.stop_threaded_servers()
            loop.finish(front.close(), CLOSE_TIMEOUT_S)
        except LoopBlocked as error:
            self._log.warning("HTTP did not stop in order: %s", error)
        finally:
            front.shared.pool.close()


class _Front:
    """All servers of a chain. Its coroutines run on *loop*."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: Protocol,
        addresses: Addresses,
        shared: Shared,
    ) -> None:
        self.shared = shared
        self._addresses = addresses
        self._protocol = protocol
        self._routes = Routes()
        self._sites: list[Site] = []
        self._loop = loop
        self._servers: list[grpc.aio.Server] = []
        self._threaded_servers: list[ThreadedServer] = []
        self._lifespans: dict[int, Lifespan] = {}

    async def serve(self, app: ASGIApp, mount: Mount | None) -> str:
        """Start the app's lifespan and its server; returns the server's address."""
        site = Site(app, mount, await self._lifespan(app, mount), self.shared)
        service = HTTPService(site, self._routes, self._protocol)
        self._sites.append(site)
        self._routes.add(site)
        # A request that arrives by a template may be for a longer prefix, which the loop finds.
        if isinstance(app, JSONRPC) and app.is_plain and not (mount and mount.is_template):
            threaded = ThreadedServer(app, site, service, self._loop)
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

    def stop_threaded_servers(self) -> None:
        """End their requests. Not on the loop, which some of them wait for."""
        for server in self._threaded_servers:
            server.begin_to_stop(REQUEST_GRACE_S)
        deadline_s = time.monotonic() + REQUEST_GRACE_S + THREADED_STOP_TIMEOUT_S
        for server in self._threaded_servers:
            server.stop(deadline_s - time.monotonic())
        self._threaded_servers.clear()

    async def close(self) -> None:
        """End the requests, then the servers, then the apps."""
        await asyncio.gather(*(site.stop(REQUEST_GRACE_S) for site in self._sites))
        await asyncio.gather(*(server.stop(0) for server in self._servers))
        await asyncio.gather(*(each.stop(SHUTDOWN_TIMEOUT_S) for each in self._lifespans.values()))
        self._servers.clear()

    async def _lifespan(self, app: ASGIApp, mount: Mount | None) -> Lifespan:
        """The running lifespan of *app*: one, even if it is mounted twice."""
        lifespan = self._lifespans.get(id(app))
        if lifespan is None:
            prefix = None if mount is None else mount.prefix
            lifespan = Lifespan(app, prefix=prefix, log=self.shared.log)
            await lifespan.start(STARTUP_TIMEOUT_S)
            self._lifespans[id(app)] = lifespan
        return lifespan
