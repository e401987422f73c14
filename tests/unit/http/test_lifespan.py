"""An app's lifespan: start-up before the first request, shutdown after the last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette

from vmsdk.http.lifespan import Lifespan, StartupFailed

LOG = logging.getLogger("lifespan")
SOON_S = 0.05


async def with_lifespan(app: Any, use: Callable[[Lifespan], Awaitable[None]]) -> None:
    await use(Lifespan(app, prefix="/api", log=LOG))


def run(app: Any, use: Callable[[Lifespan], Awaitable[None]]) -> None:
    asyncio.run(with_lifespan(app, use))


async def start_and_stop(lifespan: Lifespan) -> None:
    await lifespan.start(60)
    await lifespan.stop(60)


def test_startup_and_shutdown_run_once_each_in_order() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        events.append("up")
        yield {"key": "value"}
        events.append("down")

    async def use(running: Lifespan) -> None:
        await running.start(60)
        assert events == ["up"]
        assert running.state == {"key": "value"}
        await running.stop(60)
        assert events == ["up", "down"]

    run(Starlette(lifespan=lifespan), use)


@pytest.mark.parametrize("error", [AssertionError("no lifespan here"), None])
def test_an_app_without_a_lifespan_is_fine(error: Exception | None) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if error is not None:
            raise error

    run(app, start_and_stop)


async def find_oracle() -> None:
    raise OSError("the oracle is unreachable")


def test_a_startup_that_fails_says_so_with_the_apps_own_words() -> None:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        await find_oracle()
        yield

    async def use(running: Lifespan) -> None:
        with pytest.raises(StartupFailed, match=r"(?s)prefix '/api'.*the oracle is unreachable"):
            await running.start(60)
        await running.stop(60)

    run(Starlette(lifespan=lifespan), use)


def test_a_startup_that_never_ends_is_given_up() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def use(running: Lifespan) -> None:
        with pytest.raises(StartupFailed, match=f"startup took longer than {SOON_S} s"):
            await running.start(SOON_S)

    run(app, use)


def test_a_shutdown_that_never_ends_is_cancelled_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    cancelled = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def use(running: Lifespan) -> None:
        await running.start(60)
        await running.stop(SOON_S)

    run(app, use)
    assert cancelled == [True]
    assert "its lifespan shutdown took longer than" in caplog.text


def test_a_shutdown_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "the cache was lost"})

    run(app, start_and_stop)
    assert "the cache was lost" in caplog.text


def test_an_app_that_fails_while_it_runs_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise RuntimeError("later")

    run(app, start_and_stop)
    [record] = [record for record in caplog.records if record.exc_info]
    assert "'/api'" in record.getMessage()


def test_stopping_what_was_never_started_is_nothing() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("called")

    async def use(running: Lifespan) -> None:
        await running.stop(60)

    run(app, use)


def test_an_app_that_raises_in_its_startup_has_failed_to_start() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        raise KeyError("config")

    async def use(running: Lifespan) -> None:
        with pytest.raises(
            StartupFailed, match=r"prefix '/api' did not start: .*KeyError\('config'\)"
        ) as caught:
            await running.start(60)
        assert isinstance(caught.value.__cause__, KeyError)
        await running.stop(60)

    run(app, use)
