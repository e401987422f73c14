"""A mounted app: runs its requests. `Routes` finds the app for a path."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from urllib.parse import quote

from vmsdk.http.asgi import FAILURES, REPORT, RUN_IN_THREAD, WAITING, ASGIApp, Scope, internal_error
from vmsdk.http.lifespan import Lifespan, place
from vmsdk.http.mount import Mount, prefix_of
from vmsdk.rpc.errors import FaultLog
from vmsdk.rpc.http.capacity import Capacity, Full
from vmsdk.rpc.http.exchange import Exchange
from vmsdk.rpc.http.pool import Pool
from vmsdk.rpc.http.target import Target
from vmsdk.rpc.instruments import Instruments, method_label
from vmsdk.rpc.priority import EnginePriority
from vmsdk.rpc.watchdog import Watchdog
from vmsdk.services.databasemetrics import RECORDED_CALLS, RecordedCall

# How long an app may take to notice that its client has disconnected, before it is cancelled.
DISCONNECT_GRACE_S = 5.0

_ASGI = {"version": "3.0", "spec_version": "2.4"}
_MAX_LOGGED_PATH = 200
# As nginx counts them.
_CLIENT_LEFT = 499


@dataclass(frozen=True)
class Shared:
    """What all apps of a chain have in common."""

    pool: Pool
    capacity: Capacity
    priority: EnginePriority
    faults: FaultLog
    log: logging.Logger
    instruments: Instruments | None = None
    watchdog: Watchdog = field(default_factory=Watchdog)


class Site:
    """An app at the place where it is mounted."""

    def __init__(self, app: ASGIApp, mount: Mount | None, lifespan: Lifespan, shared: Shared) -> None:
        self.app = app
        self.mount = mount
        """None for the header-routed handler."""
        self.lifespan = lifespan
        self.shared = shared
        self.report = shared.faults.record
        self.route = "by header" if mount is None else mount.prefix or "/"
        """The label of its metrics."""
        self._place = place(None if mount is None else mount.prefix)
        self._running: dict[asyncio.Task[None], Exchange] = {}

    def scope(self, kind: str, target: Target, **rest: Any) -> Scope:
        """The scope of a request: *kind* is `http` or `websocket`."""
        path = target.path
        root = self.mount.root_path(path) if self.mount is not None else ""
        if root and len(path) == len(root):
            # The mounted path itself is the app's "/".
            path += "/"
        return {
            "type": kind,
            "asgi": _ASGI,
            "path": path,
            "raw_path": target.raw_path,
            "query_string": target.query_string,
            "root_path": root,
            "state": self.lifespan.state.copy(),
            RUN_IN_THREAD: self.run_in_thread,
            WAITING: self.shared.pool.waiting,
            REPORT: self.report,
            **rest,
        }

    async def run_in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call the app's blocking code in the pool. Raises `Closed`."""
        watched = self.shared.watchdog.watch(f"the app at {self._place}", once=True)
        return await self.shared.pool.run(function, *arguments, watched=watched)

    # Requests -------------------------------------------------------------------------------------

    async def run(self, exchange: Exchange) -> None:
        """Run the app on the exchange. Returns when the response is complete or abandoned.

        gRPC cancels this when the client disconnects. The app is notified, and cancelled in turn
        after `DISCONNECT_GRACE_S`.
        """
        began_s = perf_counter()
        calls: list[RecordedCall] = []
        recording = RECORDED_CALLS.set(calls if self.is_traced else None)
        task = asyncio.create_task(self._call(exchange))
        RECORDED_CALLS.reset(recording)
        method = exchange.scope.get("method", "WEBSOCKET")
        self._running[task] = exchange
        task.add_done_callback(self._running.pop)
        try:
            await exchange.done
            self.measured(method, exchange.status or _CLIENT_LEFT, began_s, calls)
        except asyncio.CancelledError:
            self.measured(method, _CLIENT_LEFT, began_s, calls)
            exchange.disconnect()
            if not task.done():
                timer = asyncio.get_running_loop().call_later(DISCONNECT_GRACE_S, task.cancel)
                task.add_done_callback(lambda _: timer.cancel())
            raise

    @property
    def is_traced(self) -> bool:
        """Whether to record the database calls of each request."""
        return self.shared.instruments is not None and self.shared.instruments.tracer is not None

    def measured(self, method: str, status: int, began_s: float, calls: list[RecordedCall]) -> None:
        """Count and trace a request that began at *began_s* of `perf_counter` and made these
        database *calls*.
        """
        instruments = self.shared.instruments
        if instruments is None:
            return
        ended_s, method = perf_counter(), method_label(method)
        if method != "WEBSOCKET":
            instruments.http.of(self.route).observe(ended_s - began_s)
        instruments.http_requests.add(self.route, method, str(status))
        if instruments.tracer is not None:
            attributes = {
                "http.request.method": method,
                "http.route": self.route,
                "http.response.status_code": status,
            }
            failure = f"status {status}" if status >= 500 else None
            instruments.tracer.emit(
                f"{method} {self.route}", began_s, ended_s, attributes, calls, failure=failure
            )

    async def _call(self, exchange: Exchange) -> None:
        capacity, priority = self.shared.capacity, self.shared.priority
        try:
            with (capacity.streams if exchange.is_stream else capacity.requests).take():
                # For the app's own threads, which don't yield: meanwhile, the switch interval is
                # short. Not for streams, which may be idle for long.
                with nullcontext() if exchange.is_stream else priority.http:
                    await self.app(exchange.scope, exchange.receive, exchange.send)
                await exchange.ended()
        except Full as error:
            self.shared.log.debug("%s: refused: %s", self.name(exchange.scope), error)
            await exchange.fail(503, str(error))
        except asyncio.CancelledError:
            await exchange.fail(503, "the chain is shutting down")
        except FAILURES as error:
            if exchange.gone:
                # Of any type: frameworks turn the OSError of `send` into one of theirs.
                self.shared.log.debug("%s: the client has disconnected: %r", self.name(exchange.scope), error)
            else:
                consequence = f"{self.name(exchange.scope)} gets status 500"
                fault = self.report(f"the app at {self._place}", error, consequence)
                await exchange.fail(500, internal_error(fault))
        finally:
            exchange.finish()
            await exchange.close()

    @staticmethod
    def name(scope: Scope) -> str:
        """A request's method and path for the log. Control characters, which a client may send,
        are escaped.
        """
        path = quote(scope["path"][:_MAX_LOGGED_PATH], safe="/:@!$&'()*+,;=")
        return f"{quote(scope.get('method', 'WebSocket')[:20])} {path}"

    # The end --------------------------------------------------------------------------------------

    async def stop(self, grace_s: float) -> None:
        """Disconnect every client, and cancel requests that take over *grace_s* seconds to end."""
        for exchange in list(self._running.values()):
            exchange.disconnect()
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        for task in list(self._running):
            task.cancel()
        if self._running:
            _, stuck = await asyncio.wait(self._running, timeout=grace_s)
            for task in stuck:
                self.shared.log.warning(
                    "%s: the app ignored its cancellation", self.name(self._running[task].scope)
                )


class Routes:
    """All mounted apps, by path.

    A node registers the prefixes of a chain in random order, and the first that matches gets a
    request. So if one is a template, such as `/{path:.*}`, a request for `/rpc` may reach the wrong
    server.
    """

    def __init__(self) -> None:
        self._exact: dict[str, Site] = {}
        self._templates: list[tuple[Mount, Site]] = []

    def add(self, site: Site) -> None:
        """Add an app."""
        mount = site.mount
        if mount is None:
            return
        if mount.is_template:
            self._templates.append((mount, site))
            self._templates.sort(key=lambda each: len(each[0].base), reverse=True)
        else:
            self._exact[mount.prefix] = site

    def site_for(self, path: str, reached: Site) -> Site:
        """The app for *path*. An exact prefix beats a template, a longer template a shorter one.

        *reached* is the app whose server got the request.
        """
        if reached.mount is None or not reached.mount.is_template:
            return reached
        prefix = prefix_of(path)
        if prefix is None:
            return reached
        exact = self._exact.get(prefix)
        if exact is not None:
            return exact
        return next((site for mount, site in self._templates if mount.matches(prefix)), reached)
