"""The gRPC servers on the event loop, and the apps behind them."""

from __future__ import annotations

import asyncio
import logging
import time

import grpc

from vmsdk.address import Addresses
from vmsdk.http.asgi import ASGIApp
from vmsdk.http.jsonrpc import JSONRPC
from vmsdk.http.lifespan import Lifespan
from vmsdk.http.mount import Mount
from vmsdk.protocol import Protocol
from vmsdk.rpc.http.capacity import Capacity
from vmsdk.rpc.http.plain import PlainServer
from vmsdk.rpc.http.pool import Pool
from vmsdk.rpc.http.routes import Routes
from vmsdk.rpc.http.service import HTTPService
from vmsdk.rpc.http.site import Shared, Site
<<<<<<< HEAD
from vmsdk.rpc.http.turn import Turn
from vmsdk.rpc.http.workers import Workers
from vmsdk.rpc.listener import SERVER_OPTIONS
=======
from vmsdk.rpc.options import SERVER_OPTIONS
>>>>>>> 786d94e (Replace the scheduler of HTTP by an ordinary pool of two threads that grows when its jobs wait)
from vmsdk.rpc.priority import EnginePriority

STARTUP_TIMEOUT_S = 60.0
"""The node waits for CreateHandlers without a limit, with the whole chain."""

# A node gives a plugin 5 s from SIGTERM to its end; the author's own shutdown needs some of them.
REQUEST_GRACE_S = 0.5
SHUTDOWN_TIMEOUT_S = 2.0
PLAIN_STOP_TIMEOUT_S = 0.5


class HTTPFront:
    """All servers of a chain. Its coroutines run on *loop*."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: Protocol,
        log: logging.Logger,
        priority: EnginePriority,
        addresses: Addresses,
    ) -> None:
        self.pool = Pool(loop, priority)
        self._shared = Shared(self.pool, Capacity(), priority, log)
        self._protocol = protocol
        self._addresses = addresses
        self._routes = Routes()
        self._sites: list[Site] = []
        self._loop = loop
        self._servers: list[grpc.aio.Server] = []
        self._plain_servers: list[PlainServer] = []
        self._lifespans: dict[int, Lifespan] = {}

    async def serve(self, app: ASGIApp, mount: Mount | None) -> str:
        """Start the app's lifespan and its server; returns the server's address."""
        lifespan = await self._lifespan(app, mount)
        site = Site(app, mount, lifespan, self._shared)
        service = HTTPService(site, self._routes, self._protocol)
        self._sites.append(site)
        self._routes.add(site)
        # Requests that come by a template may be for a more particular prefix, which the loop sees to.
        if isinstance(app, JSONRPC) and app.is_plain and not (mount and mount.is_template):
            plain = PlainServer(app, service, self._loop, self._shared, self._addresses)
            plain.start()
            self._plain_servers.append(plain)
            return plain.address
        server = grpc.aio.server(options=SERVER_OPTIONS)
        server.add_generic_rpc_handlers((service.handler(),))
        address = self._addresses.listen(server)
        await server.start()
        self._servers.append(server)
        return address

    def stop_plain_servers(self) -> None:
        """End the requests that no event loop serves. Not on the loop, which some of them wait for."""
        for server in self._plain_servers:
            server.begin_to_stop(REQUEST_GRACE_S)
        deadline_s = time.monotonic() + REQUEST_GRACE_S + PLAIN_STOP_TIMEOUT_S
        for server in self._plain_servers:
            server.stop(deadline_s - time.monotonic())
        self._plain_servers.clear()

    async def close(self) -> None:
        """End the requests, then the servers, then the apps."""
        await asyncio.gather(*(site.stop(REQUEST_GRACE_S) for site in self._sites))
        await asyncio.gather(*(server.stop(0) for server in self._servers))
        await asyncio.gather(*(each.stop(SHUTDOWN_TIMEOUT_S) for each in self._lifespans.values()))
        self._servers.clear()

    async def _lifespan(self, app: ASGIApp, mount: Mount | None) -> Lifespan:
        """The lifespan of *app*, begun: one of it also if it is mounted twice."""
        lifespan = self._lifespans.get(id(app))
        if lifespan is None:
            prefix = None if mount is None else mount.prefix
            lifespan = Lifespan(app, prefix=prefix, log=self._shared.log)
            await lifespan.start(STARTUP_TIMEOUT_S)
            self._lifespans[id(app)] = lifespan
        return lifespan
