"""What hangs in an author's code is named in the log, and Ctrl-C ends it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from .devcommand import TIMESTAMP_VM, Dev, call, request

pytestmark = pytest.mark.slow

PATIENCE = {"GRPC_VMSDK_SLOW_CALL_S": "0.5"}

VM = f"""\
import itertools, sys, time
sys.path.insert(0, {str(TIMESTAMP_VM.parent)!r})
import vmsdk
from timestampvm import Service, TimestampBlock, TimestampVM
from vmsdk.http import JSONRPC
{{top}}
class Stuck(TimestampVM):
{{methods}}
    def wait_here(self):
        time.sleep(1_000)

    def spin_here(self):
        while True:
            pass

    def compute_here(self):
        sum(itertools.repeat(0))  # in C, with the GIL held

    async def app(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            self.{{how}}()
"""
WAYS = ("wait_here", "spin_here")

LIFESPAN = """
    def create_handlers(self):
        return {"/app": self.app}
"""
ASYNC_LIFESPAN = """
    def create_handlers(self):
        return {"/app": self.starting}

    async def starting(self, scope, receive, send):
        import asyncio
        await receive()
        await asyncio.Event().wait()
"""
WSGI_APP = """
    def create_handlers(self):
        return {"/app": self.view}

    def view(self, environ, start_response):
        self.wait_here()
"""
ASYNC_APP = """
    def create_handlers(self):
        return {"/app": self.endpoint}

    async def endpoint(self, scope, receive, send):
        if scope["type"] == "http":
            self.wait_here()
"""
INITIALIZE = """
    def initialize(self, *given):
        self.{how}()
"""
BUILD = """
    def build_block(self):
        self.{how}()
"""
HELD_LOCK = """
    def create_handlers(self):
        return {{"": JSONRPC({{"timestampvm": Holding(self)}})}}

class Holding(Service):
    def hold(self):
        with self._vm.ctx.lock:
            self._vm.{how}()

class Stuck(Stuck):
"""
FORGOTTEN = """
    def create_handlers(self):
        return {"": JSONRPC({"timestampvm": Forgetful(self)})}

class Forgetful(Service):
    def propose_block(self, data: str):
        self._vm.mempool[bytes.fromhex(data).ljust(32)] = None

class Stuck(Stuck):
"""
DEAF_WAIT = """
    def wait_for_event(self, cancelled):
        self.{how}()
"""
INVALID = """
    def build_block(self):
        block = super().build_block()
        return TimestampBlock(self, block.parent_id, block.height, block.timestamp + 1_000, block.data)
"""


def stuck(folder: Path, methods: str, how: str = "wait_here", top: str = "") -> Path:
    file = folder / "vm.py"
    file.write_text(
        VM.format(top=top, methods=methods.format(how=how) if "{how}" in methods else methods, how=how)
    )
    return file


def press_twice(dev: Dev) -> None:
    """Press Ctrl-C until it ends: a chain that hangs takes two."""
    dev.interrupt()
    dev.line("stopping the VM")
    dev.interrupt()
    assert dev.wait() == 130


@pytest.mark.parametrize("how", ["time.sleep(1_000)", "while True: pass", "sum(itertools.repeat(0))"])
def test_the_import(tmp_path: Path, how: str) -> None:
    file = stuck(tmp_path, "    pass", top=how)
    line = 1 + file.read_text().splitlines().index(how)
    with Dev(file, folder=tmp_path, environment=PATIENCE) as dev:
        dev.line(
            rf"the import of .* has been running for \d+ s at .*vm\.py:{line} in|vm\.py.*, line {line} in"
        )
        # There is no chain to stop yet.
        dev.interrupt()
        assert dev.wait() == 0


@pytest.mark.parametrize("how", WAYS)
def test_initialize(tmp_path: Path, how: str) -> None:
    with Dev(stuck(tmp_path, INITIALIZE, how), folder=tmp_path, environment=PATIENCE) as dev:
        dev.line(rf"WARN .*: Initialize has been running for \d+ s at .*vm\.py:\d+ in {how}")
        press_twice(dev)


@pytest.mark.parametrize("how", WAYS)
def test_build_block(tmp_path: Path, how: str) -> None:
    with Dev(stuck(tmp_path, BUILD, how), folder=tmp_path, environment=PATIENCE) as dev:
        call(dev.url(), "timestampvm.proposeBlock", data="01")
        dev.line(rf"WARN .*: BuildBlock has been running for \d+ s at .*vm\.py:\d+ in {how}")
        dev.line(r"Stack \(most recent call last\)")
        dev.line("in build_block")
        dev.line(rf"BuildBlock has been running for (?:[5-9]|\d\d) s at .* in {how}")
        press_twice(dev)


def test_code_in_c_that_holds_the_gil(tmp_path: Path) -> None:
    with Dev(stuck(tmp_path, BUILD, "compute_here"), folder=tmp_path, environment=PATIENCE) as dev:
        url = dev.url()
        body = b'{"jsonrpc": "2.0", "id": 1, "method": "timestampvm.proposeBlock", "params": {"data": "01"}}'
        # The block may be built before the response is sent, which then never is.
        client = threading.Thread(target=lambda: _ignoring_the_end(url, body), daemon=True)
        client.start()
        dev.line("Timeout")
        dev.line("in compute_here")
        press_twice(dev)
        client.join()


@pytest.mark.parametrize("how", WAYS)
def test_a_lifespan(tmp_path: Path, how: str) -> None:
    with Dev(stuck(tmp_path, LIFESPAN, how), folder=tmp_path, environment=PATIENCE) as dev:
        dev.line(
            rf"the lifespan of the app at prefix '/app' has been running for \d+ s at .*vm\.py:\d+ in {how}"
        )
        press_twice(dev)


def test_a_lifespan_that_awaits(tmp_path: Path) -> None:
    with Dev(stuck(tmp_path, ASYNC_LIFESPAN), folder=tmp_path, environment=PATIENCE) as dev:
        dev.line(r"the lifespan of the app at .* has been running for \d+ s at .*vm\.py:\d+ in starting")
        press_twice(dev)


@pytest.mark.parametrize(
    ("app", "named"),
    [
        (WSGI_APP, "the app at prefix '/app'"),
        (ASYNC_APP, "a coroutine that blocks the event loop of all HTTP apps"),
    ],
)
def test_an_app(tmp_path: Path, app: str, named: str) -> None:
    with Dev(stuck(tmp_path, app), folder=tmp_path, environment=PATIENCE) as dev:
        url = dev.url()
        client = threading.Thread(target=lambda: _ignoring_the_end(url, b""), daemon=True)
        client.start()
        dev.line(rf"WARN .*: {named} has been running for \d+ s at .*vm\.py:\d+ in wait_here")
        dev.interrupt()
        assert dev.wait() == 0
        client.join()


@pytest.mark.parametrize("how", WAYS)
def test_a_handler_that_holds_the_lock(tmp_path: Path, how: str) -> None:
    with Dev(stuck(tmp_path, HELD_LOCK, how), folder=tmp_path, environment=PATIENCE) as dev:
        url = dev.url()
        body = b'{"jsonrpc": "2.0", "id": 1, "method": "timestampvm.hold"}'
        client = threading.Thread(target=lambda: _ignoring_the_end(url, body), daemon=True)
        client.start()
        dev.line(r"has been waiting for ctx\.lock for \d+ s, held by thread \S+ at .*vm\.py:\d+ in " + how)
        press_twice(dev)
        client.join()


def _ignoring_the_end(url: str, body: bytes) -> None:
    try:
        request(url, body)
    except OSError:
        pass  # Ctrl-C ends the request, too.


@pytest.mark.parametrize("how", WAYS)
def test_a_wait_for_event_that_overlooks_its_cancellation(tmp_path: Path, how: str) -> None:
    with Dev(stuck(tmp_path, DEAF_WAIT, how), folder=tmp_path, environment=PATIENCE) as dev:
        text = r"wait_for_event, whose `cancelled` is set, has been running for \d+ s"
        dev.line(rf"WARN .*: {text} at .*vm\.py:\d+ in {how}")
        press_twice(dev)


def test_a_forgotten_notify(tmp_path: Path) -> None:
    with Dev(stuck(tmp_path, FORGOTTEN), folder=tmp_path) as dev:
        call(dev.url(), "timestampvm.proposeBlock", data="01")
        dev.line(r"has_pending_work returns True, but ctx\.notify\(\) was not called")
        dev.line("^block 1 ")
        dev.interrupt()
        assert dev.wait() == 0


def test_an_invalid_block_of_ones_own(tmp_path: Path) -> None:
    with Dev(stuck(tmp_path, INVALID), folder=tmp_path) as dev:
        call(dev.url(), "timestampvm.proposeBlock", data="01")
        dev.line(r"ERROR .*build_block made block \S+ at height 1, which its own verify refuses: ")
        dev.interrupt()
        assert dev.wait() == 0
