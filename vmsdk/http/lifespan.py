"""An ASGI app's lifespan: what runs before its first request and after its last."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from vmsdk.errors import VMError
from vmsdk.http.asgi import FAILURES, ASGIApp, Message, Scope


class StartupFailed(VMError):
    """An app's lifespan startup failed; *reason* says why."""

    def __init__(self, prefix: str | None, reason: str) -> None:
        self.prefix = prefix
        self.reason = reason
        super().__init__(f"the app at {place(prefix)} did not start: {reason}")


def place(prefix: str | None) -> str:
    """How messages refer to the place of an app."""
    return "new_http_handler" if prefix is None else f"prefix {prefix!r}"


def lifespan_name(prefix: str | None) -> str:
    """The name of the task of an app's lifespan."""
    return f"the lifespan of the app at {place(prefix)}"


class Lifespan:
    """Runs one app's lifespan on the running event loop. An app need not have one."""

    def __init__(self, app: ASGIApp, *, prefix: str | None, log: logging.Logger) -> None:
        self._app = app
        self._prefix = prefix
        self._log = log
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._taken = False
        """Whether the app has received `lifespan.startup`, as only apps with a lifespan do."""
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self.state: dict[str, Any] = {}
        """What the app stored in `scope["state"]`. Each request gets a shallow copy."""

    async def start(self, timeout_s: float) -> None:
        """Run the startup. Raises `StartupFailed`, also when it takes over *timeout_s* seconds."""
        self._task = asyncio.create_task(self._run(), name=lifespan_name(self._prefix))
        self._to_app.put_nowait({"type": "lifespan.startup"})
        await asyncio.wait(
            [self._started, self._task], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if self._started.done():
            self._started.result()
        elif not self._task.done():
            await self._cancel()
            raise StartupFailed(self._prefix, f"its lifespan startup took longer than {timeout_s:g} s")

    async def stop(self, timeout_s: float) -> None:
        """Run the shutdown; cancel it after *timeout_s* seconds. Never raises."""
        if self._task is None:
            return
        if not self._task.done():
            self._to_app.put_nowait({"type": "lifespan.shutdown"})
            ends: list[asyncio.Future[None]] = [self._stopped, self._task]
            done, _ = await asyncio.wait(ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self._log.warning(
                    "the app at %s was cancelled, because its lifespan shutdown took longer than %g s",
                    place(self._prefix), timeout_s,
                )  # fmt: skip
        await self._cancel()

    async def _cancel(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        asgi = {"version": "3.0", "spec_version": "2.0"}
        scope: Scope = {"type": "lifespan", "asgi": asgi, "state": self.state}
        try:
            await self._app(scope, self._receive, self._send)
        except FAILURES as error:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        if self._started.done():
            if not self._started.exception():
                self._log.error("the app at %s failed in its lifespan", place(self._prefix), exc_info=error)
        elif self._taken:
            failure = StartupFailed(
                self._prefix,
                f"its lifespan startup raised {error!r}. An app without a lifespan raises before it "
                'calls receive, when scope["type"] is "lifespan"',
            )
            failure.__cause__ = error
            self._started.set_exception(failure)
        else:
            self._log.debug("the app at %s has no lifespan: %r", place(self._prefix), error)

    async def _receive(self) -> Message:
        message = await self._to_app.get()
        self._taken = True
        return message

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            self._set(self._started)
        elif kind == "lifespan.startup.failed":
            if not self._started.done():
                reason = message.get("message", "") or "it gave no reason"
                self._started.set_exception(StartupFailed(self._prefix, reason))
        elif kind == "lifespan.shutdown.complete":
            self._set(self._stopped)
        elif kind == "lifespan.shutdown.failed":
            self._log.error(
                "the app at %s failed to shut down: %s", place(self._prefix), message.get("message", "")
            )
            self._set(self._stopped)
        else:
            raise ValueError(f"an app can't send {kind!r} in its lifespan")

    @staticmethod
    def _set(future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_result(None)
