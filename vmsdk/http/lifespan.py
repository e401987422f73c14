"""An ASGI app's lifespan: what runs before its first request and after its last."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from vmsdk.errors import VMError
from vmsdk.http.asgi import FAILURES, ASGIApp, Message, Scope


class StartupFailed(VMError):
    """An app's lifespan start-up failed: *reason* is what the app said."""

    def __init__(self, prefix: str | None, reason: str) -> None:
        self.prefix = prefix
        self.reason = reason
        where = "new_http_handler" if prefix is None else f"prefix {prefix!r}"
        super().__init__(f"the app of {where} did not start: {reason}")


class Lifespan:
    """Runs one app's lifespan on the running event loop. An app without one is fine."""

    def __init__(self, app: ASGIApp, *, prefix: str | None, log: logging.Logger) -> None:
        self._app = app
        self._prefix = prefix
        self._log = log
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self.state: dict[str, Any] = {}
        """What the app left in `scope["state"]`: each request gets a shallow copy."""

    async def start(self, timeout_s: float) -> None:
        """Run the start-up. Raises `StartupFailed`, also after *timeout_s* seconds without an end."""
        self._task = asyncio.create_task(self._run())
        self._to_app.put_nowait({"type": "lifespan.startup"})
        await asyncio.wait(
            [self._started, self._task], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if self._started.done():
            self._started.result()
        elif not self._task.done():
            await self._cancel()
            raise StartupFailed(self._prefix, f"its lifespan start-up had not ended after {timeout_s:g} s")

    async def stop(self, timeout_s: float) -> None:
        """Run the shutdown; after *timeout_s* seconds it is cancelled. Never raises."""
        if self._task is None:
            return
        if not self._task.done():
            self._to_app.put_nowait({"type": "lifespan.shutdown"})
            waiting: list[asyncio.Future[None]] = [self._stopped, self._task]
            done, _ = await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self._log.warning(
                    "the app of prefix %r had not ended its lifespan shutdown after %g s: cancelled",
                    self._prefix, timeout_s,
                )  # fmt: skip
        await self._cancel()

    async def _cancel(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._to_app.get, self._send)
        except FAILURES as error:  # An app without lifespan support may raise anything.
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        if self._started.done():
            if not self._started.exception():
                self._log.exception("the app of prefix %r failed in its lifespan", self._prefix)
            return
        # The specification: an app that raises at once, without having sent anything, has no lifespan.
        # But one that raises out of its own start-up code looks the same, and must not be hidden.
        self._log.debug("the app of prefix %r has no lifespan: %r", self._prefix, error)

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            self._set(self._started)
        elif kind == "lifespan.startup.failed":
            if not self._started.done():
                self._started.set_exception(
                    StartupFailed(self._prefix, message.get("message", "") or "no reason given")
                )
        elif kind == "lifespan.shutdown.complete":
            self._set(self._stopped)
        elif kind == "lifespan.shutdown.failed":
            self._log.error(
                "the app of prefix %r failed to shut down: %s", self._prefix, message.get("message", "")
            )
            self._set(self._stopped)
        else:
            raise ValueError(f"a lifespan sends lifespan.….complete or .failed, not {kind!r}")

    @staticmethod
    def _set(future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_result(None)
