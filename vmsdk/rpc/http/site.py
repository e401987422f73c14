"""One mounted app: what its requests share, and how each of them runs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from vmsdk.http.asgi import FAILURES, RUN_IN_THREAD, WAITING, ASGIApp, Scope
from vmsdk.http.lifespan import Lifespan
from vmsdk.http.mount import Mount
from vmsdk.rpc.http.capacity import Capacity, Full
from vmsdk.rpc.http.exchange import Exchange
from vmsdk.rpc.http.pool import Pool
from vmsdk.rpc.http.target import Target
from vmsdk.rpc.priority import EnginePriority

# For an app to notice by itself that its client has left, before it is cancelled.
DISCONNECT_GRACE_S = 5.0

_ASGI = {"version": "3.0", "spec_version": "2.4"}


@dataclass(frozen=True)
class Shared:
    """What all apps of a chain have in common."""

    pool: Pool
    capacity: Capacity
    priority: EnginePriority
    log: logging.Logger


class Site:
    """An app at its place."""

    def __init__(self, app: ASGIApp, mount: Mount | None, lifespan: Lifespan, shared: Shared) -> None:
        self.app = app
        self.mount = mount
        """Where it is; None for the header-routed handler."""
        self.lifespan = lifespan
        self.shared = shared
        self._running: dict[asyncio.Task[None], Exchange] = {}

    def scope(self, kind: str, target: Target, **rest: Any) -> Scope:
        """The scope of a request: *kind* is `http` or `websocket`."""
        path = target.path
        root = self.mount.root_path(path) if self.mount is not None else ""
        if root and len(path) == len(root):
            # The mounted path itself is the app's "/": there is no shorter route to write.
            path += "/"
        return {
            "type": kind,
            "asgi": _ASGI,
            "path": path,
            "raw_path": target.raw_path,
            "query_string": target.query_string,
            "root_path": root,
            "state": self.lifespan.state.copy(),
            RUN_IN_THREAD: self.shared.pool.run,
            WAITING: self.shared.pool.waiting,
            **rest,
        }

    # Requests --------------------------------------------------------------------------------------

    async def run(self, exchange: Exchange) -> None:
        """Let the app handle the exchange; returns when the response has ended or been given up.

        Cancelled, which is how gRPC tells that the client has left, the app gets to know it, and
        `DISCONNECT_GRACE_S` to end.
        """
        task = asyncio.create_task(self._call(exchange))
        self._running[task] = exchange
        task.add_done_callback(self._running.pop)
        try:
            await exchange.done
        except asyncio.CancelledError:
            exchange.disconnect()
            if not task.done():
                timer = asyncio.get_running_loop().call_later(DISCONNECT_GRACE_S, task.cancel)
                task.add_done_callback(lambda _: timer.cancel())
            raise

    async def _call(self, exchange: Exchange) -> None:
        capacity = self.shared.capacity
        try:
            with (capacity.streams if exchange.is_stream else capacity.requests).take():
                self.shared.priority.give_way()
                # A stream may be idle for long.
                with nullcontext() if exchange.is_stream else self.shared.priority.at_work():
                    await self.app(exchange.scope, exchange.receive, exchange.send)
                await exchange.ended()
        except Full as error:
            self.shared.log.debug("%s %s: refused: %s", *self._name(exchange), error)
            await exchange.fail(503, str(error))
        except asyncio.CancelledError:
            await exchange.fail(503, "the chain is shutting down")
        except FAILURES as error:
            if exchange.gone and isinstance(error, OSError):
                self.shared.log.debug("%s %s: the client has left", *self._name(exchange))
            else:
                self.shared.log.error("%s %s: the app failed", *self._name(exchange), exc_info=error)
                await exchange.fail(500, "Internal Server Error")
        finally:
            exchange.finish()
            await exchange.close()

    @staticmethod
    def _name(exchange: Exchange) -> tuple[str, str]:
        return exchange.scope.get("method", "WebSocket"), exchange.scope["path"]

    # The end ---------------------------------------------------------------------------------------

    async def stop(self, grace_s: float) -> None:
        """Tell every app that its client has left, and cancel what has not ended after *grace_s* seconds."""
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
                    "%s %s: the app ignores its cancellation", *self._name(self._running[task])
                )
