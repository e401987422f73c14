"""What hangs is reported, with the author's line."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

import vmsdk
from vmsdk.rpc.watchdog import PATIENCE_S, PATIENCE_VARIABLE, REMINDER, Watchdog, lock_holder

WAIT_S = 60.0


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Author:
    """Work that hangs until the end of the test."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.released = threading.Event()
        self._begin: Callable[[], object] = self.begun.release

    def hang(self) -> None:
        # In one line, or the watchdog might look while the thread is at another one.
        self._begin() or self.released.wait(WAIT_S)  # the author's line

    def awaits(self) -> None:
        """What calls it, in an event loop, has begun when it awaits."""
        asyncio.get_running_loop().call_soon(self._begin)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watchdog(clock: Clock) -> Watchdog:
    dog = Watchdog(PATIENCE_S, clock)
    dog.lock = threading.RLock()
    return dog


@pytest.fixture
def author() -> Iterator[Author]:
    author = Author()
    yield author
    author.released.set()


@contextmanager
def running(author: Author, work: Callable[[], object], name: str = "worker") -> Iterator[threading.Thread]:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    assert author.begun.acquire(timeout=WAIT_S)
    yield thread
    author.released.set()
    thread.join(WAIT_S)


def reports(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "vmsdk.watchdog"]


def test_a_call_that_hangs_is_reported_with_its_line_and_once_more_later(
    watchdog: Watchdog, clock: Clock, author: Author, caplog: pytest.LogCaptureFixture
) -> None:
    def build() -> None:
        with watchdog.watch("BuildBlock"):
            author.hang()

    with running(author, build):
        for passed_s in (PATIENCE_S - 0.1, 0.1, 1.0, PATIENCE_S * (REMINDER - 1) - 1.1, 0.1, 1_000.0):
            clock.now_s += passed_s
            watchdog.check()
    first, second = reports(caplog)
    assert first.getMessage().startswith("BuildBlock has been running for 3 s at ")
    assert "test_watchdog.py:" in first.getMessage()
    assert first.getMessage().endswith(" in hang")
    assert second.getMessage().startswith("BuildBlock has been running for 30 s at ")
    assert "self._begin() or self.released.wait(WAIT_S)  # the author's line" in str(first.stack_info)
    assert "in build\n" in str(first.stack_info)


def test_a_call_that_has_ended_is_not_reported_even_if_it_raised(
    watchdog: Watchdog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyError), watchdog.watch("ParseBlock"):
        raise KeyError
    clock.now_s += 1_000
    watchdog.check()
    assert not reports(caplog)


def test_a_call_that_waits_for_the_lock_names_who_holds_it(
    watchdog: Watchdog, clock: Clock, author: Author, caplog: pytest.LogCaptureFixture
) -> None:
    lock: Any = watchdog.lock

    def handle() -> None:
        with lock:
            author.hang()

    with running(author, handle, "vmsdk-http_0"), watchdog.watch("ParseBlock", needs_lock=True):
        clock.now_s += PATIENCE_S
        watchdog.check()
    (report,) = reports(caplog)
    text = report.getMessage()
    assert text.startswith(
        "ParseBlock has been waiting for ctx.lock for 3 s, held by thread vmsdk-http_0 at "
    )
    assert text.endswith(" in hang")


def test_a_call_that_waits_for_a_watched_one_is_not_reported_beside_it(
    watchdog: Watchdog, clock: Clock, author: Author, caplog: pytest.LogCaptureFixture
) -> None:
    lock: Any = watchdog.lock

    def build() -> None:
        with watchdog.watch("BuildBlock", needs_lock=True), lock:
            author.hang()

    with running(author, build), watchdog.watch("has_pending_work", needs_lock=True):
        clock.now_s += PATIENCE_S
        watchdog.check()
    (report,) = reports(caplog)
    assert report.getMessage().startswith("BuildBlock has been running for 3 s")


def test_a_lock_that_was_never_released_is_reported_with_the_cure(
    watchdog: Watchdog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    lock: Any = watchdog.lock
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    thread.join(WAIT_S)
    with watchdog.watch("ParseBlock", needs_lock=True):
        clock.now_s += PATIENCE_S
        watchdog.check()
    (report,) = reports(caplog)
    assert report.getMessage().endswith(
        "which runs none of the VM's code: was it acquired without `with ctx.lock:`?"
    )


@pytest.mark.parametrize(("file", "is_idle"), [("rpc/http/pool.py", True), ("rpc/initialize.py", False)])
def test_the_cure_is_not_given_while_code_of_vmsdk_holds_the_lock(
    file: str,
    is_idle: bool,
    watchdog: Watchdog,
    clock: Clock,
    author: Author,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scope: dict[str, Any] = {"lock": watchdog.lock, "begun": author.begun, "released": author.released}
    source = f"def work():\n with lock:\n  begun.release()\n  released.wait({WAIT_S})"
    exec(compile(source, str(Path(vmsdk.__file__).parent / file), "exec"), scope)
    thread = threading.Thread(target=scope["work"], daemon=True)
    thread.start()
    assert author.begun.acquire(timeout=WAIT_S)
    with watchdog.watch("ParseBlock", needs_lock=True):
        clock.now_s += PATIENCE_S
        watchdog.check()
    author.released.set()
    thread.join(WAIT_S)
    (report,) = reports(caplog)
    assert report.getMessage().endswith("`with ctx.lock:`?") is is_idle


@contextmanager
def running_loop(author: Author, name: str, work: Coroutine[Any, Any, None]) -> Iterator[None]:
    """Run *work* as a task of an event loop in a thread, as HTTP apps run."""

    loop, ended = asyncio.new_event_loop(), asyncio.Event()

    def run() -> None:
        tasks = [loop.create_task(work, name=name), loop.create_task(asyncio.sleep(WAIT_S))]
        loop.run_until_complete(ended.wait())
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()

    with running(author, run, "vmsdk-http"):
        yield
        loop.call_soon_threadsafe(ended.set)


def test_a_lifespan_that_awaits_is_found_on_the_event_loop(
    watchdog: Watchdog, clock: Clock, author: Author, caplog: pytest.LogCaptureFixture
) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        author.awaits()
        await asyncio.Event().wait()  # never set
        yield

    async def run() -> None:
        async with lifespan():
            pass

    engine = threading.Thread(target=author.released.wait, daemon=True)
    engine.start()
    call = watchdog.watch("the lifespan")
    with running_loop(author, "the lifespan", run()), call:
        # In a plugin, the waiting thread has no frame of the author's.
        call.thread = engine.ident or 0
        clock.now_s += PATIENCE_S
        watchdog.check()
    (report,) = reports(caplog)
    assert report.getMessage().endswith(" in lifespan")
    assert "await asyncio.Event().wait()  # never set" in str(report.stack_info)


def test_a_coroutine_that_holds_the_lock_is_found_on_the_event_loop(
    watchdog: Watchdog, clock: Clock, author: Author, caplog: pytest.LogCaptureFixture
) -> None:
    lock: Any = watchdog.lock

    async def handler() -> None:
        with lock:
            author.awaits()
            await asyncio.Event().wait()

    with running_loop(author, "a request", handler()), watchdog.watch("ParseBlock", needs_lock=True):
        clock.now_s += PATIENCE_S
        watchdog.check()
    (report,) = reports(caplog)
    assert "held by thread vmsdk-http at " in report.getMessage()
    assert report.getMessage().endswith(" in handler")


def test_a_lock_names_its_thread() -> None:
    lock = threading.RLock()
    assert lock_holder(lock) is None
    with lock, lock:
        assert lock_holder(lock) == threading.get_ident()
    assert lock_holder(lock) is None


def test_the_thread_reports_by_itself(author: Author, caplog: pytest.LogCaptureFixture) -> None:
    reported = threading.Event()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            reported.set()

    handler = Handler()
    logging.getLogger("vmsdk.watchdog").addHandler(handler)
    watchdog = Watchdog(0.01)
    watchdog.start()
    try:
        with watchdog.watch("BuildBlock"):
            assert reported.wait(WAIT_S)
    finally:
        watchdog.stop()
        logging.getLogger("vmsdk.watchdog").removeHandler(handler)


@pytest.mark.parametrize(
    ("text", "patience_s"),
    [("", 3.0), ("0.5", 0.5), ("0", 0.0), ("soon", 3.0), ("inf", 3.0), ("nan", 3.0), ("-1", 3.0)],
)
def test_the_environment_sets_the_patience(
    text: str, patience_s: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, text)
    assert Watchdog().patience_s == patience_s
    assert bool(reports(caplog)) is (text in ("soon", "inf", "nan", "-1"))


@pytest.mark.parametrize("patience_s", [float("inf"), float("nan"), -1])
def test_an_impossible_patience_is_refused(patience_s: float) -> None:
    with pytest.raises(ValueError, match="slow_call_s is"):
        Watchdog(patience_s)


def test_a_generator_of_an_http_app_is_not_reported_while_it_goes_on(
    watchdog: Watchdog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(3):
            clock.now_s += PATIENCE_S
            watchdog.check()
            yield b"chunk"

    async def read() -> list[bytes]:
        return [each async for each in iterate_in_threadpool(chunks())]

    assert asyncio.run(read()) == 3 * [b"chunk"]
    assert not reports(caplog)


def test_a_function_of_an_installed_http_app_is_reported(
    watchdog: Watchdog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    installed: dict[str, Any] = {"watchdog": watchdog, "clock": clock}
    source = f"def work():\n watchdog.check()\n clock.now_s += {PATIENCE_S}\n watchdog.check()"
    exec(compile(source, "/usr/lib/python3/site-packages/vm.py", "exec"), installed)
    asyncio.run(run_in_threadpool(installed["work"]))
    (report,) = reports(caplog)
    assert report.getMessage().endswith(" for 3 s at /usr/lib/python3/site-packages/vm.py:4 in work")


def test_functions_behind_one_decorator_are_reported_each_once(
    watchdog: Watchdog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def hang() -> None:
        clock.now_s += PATIENCE_S
        watchdog.check()

    def hang_too() -> None:
        clock.now_s += PATIENCE_S
        watchdog.check()

    for function in (hang, hang_too, hang):
        with watchdog.watch("a JSON-RPC method", once=True):
            function()
    assert [each.getMessage().rpartition(" ")[2] for each in reports(caplog)] == ["hang", "hang_too"]


def test_a_forked_child_that_comes_back_from_a_call_ends() -> None:
    program = """\
import os
from vmsdk.rpc.watchdog import Watchdog
with Watchdog().watch("the app at /x"):
    child = os.fork()
print("returned", child and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "returned 1\n"
    assert "the app at /x: a child process that the VM forked returned: end it with os._exit" in done.stderr
