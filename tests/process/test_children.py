"""Processes that a VM starts: they behave like any other, and end with the plugin."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vmsdk.cli.dev.launch import Starter
from vmsdk.host.clock import Clock
from vmsdk.host.node import Host
from vmsdk.host.plugin import GRACEFUL_STOP_TIMEOUT_S
from vmsdk.install.installation import install
from vmsdk.protocol import DEFAULT_PROTOCOL
from vmsdk.runtime.plugin import ALARM_S, LAST_RESORT_S
from vmsdk.target import find

from .jsonrpc import Client
from .plugin import PATIENCE_S, ROOT, Lines, await_end

pytestmark = pytest.mark.slow

SOURCE = """\
import multiprocessing, os, signal
from concurrent.futures import ProcessPoolExecutor
from examples.timestamp.timestampvm import TimestampVM

def square(number):
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    return os.getpid(), number * number

def notify():
    try:
        PoolVM.notify()
    except Exception as error:
        return str(error)

class PoolVM(TimestampVM):
    def initialize(self, ctx, genesis, upgrade, config):
        super().initialize(ctx, genesis, upgrade, config)
        child = os.fork()
        if child == 0:
            return
        PoolVM.notify = staticmethod(ctx.notify)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        context = multiprocessing.get_context(config.decode())
        self.pool = ProcessPoolExecutor(2, mp_context=context)

    def shutdown(self):
        self.pool.shutdown(cancel_futures=True)
        super().shutdown()

    def health_check(self):
        return {"squares": list(self.pool.map(square, range(4)))}
"""

# One that is forked while the plugin serves, in its usual form.
POOL = """

    def health_check(self):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return {"squares": pool.map(square, range(4)), "notified": pool.apply(notify)}
"""

RETURNS_FROM_A_THREAD = """

    def health_check(self):
        codes = []
        def fork():
            child = os.fork()
            if child:
                codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        import threading
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
        return {"exit_code": codes[0]}
"""

# As a thread of a C library, of which `threading` does not know.
RETURNS_FROM_AN_UNKNOWN_THREAD = """

    def health_check(self):
        import _thread, queue
        codes = queue.SimpleQueue()
        def fork():
            child = os.fork()
            if child:
                codes.put(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        _thread.start_new_thread(fork, ())
        return {"exit_code": codes.get()}
"""

# A service on the event loop, whose plain methods run in threads.
FORKING = """\
import asyncio, os
from concurrent.futures import ThreadPoolExecutor
import anyio.to_thread
from examples.timestamp.timestampvm import TimestampVM
from vmsdk.http import JSONRPC

class Service:
    threads = ThreadPoolExecutor(1)

    def fork(self):
        child = os.fork()
        if not child:
            return "the child's"
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    async def afork(self):
        return self.fork()

    def from_a_pool(self):
        return self.threads.submit(self.fork).result()

    async def from_asyncio(self):
        return await asyncio.to_thread(self.fork)

    async def from_anyio(self):
        return await anyio.to_thread.run_sync(self.fork)

class ForkingVM(TimestampVM):
    def create_handlers(self):
        return {"": JSONRPC("service", Service())}
"""


# What docs/processes.md shows, as a part of a VM that is complete.
(RECIPE,) = re.findall(
    r"^```python\n(.*?)^```",
    (ROOT / "docs" / "processes.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)
RECIPE_IN_A_VM = f"""\
{RECIPE.replace("vmsdk.ChainVM", "object")}
from examples.timestamp.timestampvm import TimestampVM

class OurVM(TimestampVM):
    def initialize(self, *arguments):
        super().initialize(*arguments)
        self.prover = ProverVM()
        self.prover.initialize(*arguments)

    def shutdown(self):
        self.prover.shutdown()
        super().shutdown()

    def health_check(self):
        return {{"proofs": [each.hex() for each in self.prover.prove_all([b"a", b"b", b"c"])]}}
"""
PROOFS = [hashlib.scrypt(data, salt=b"vm", n=2**12, r=8, p=1) for data in (b"a", b"b", b"c")]


@pytest.fixture(params=["dev", "installed"])
def start(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a host of the VM with this source and this configuration."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the example from which the VM is derived
    closing = []

    def start(source: str, config: bytes) -> Host:
        file = tmp_path / "poolvm.py"
        file.write_text(source, encoding="utf-8")
        if request.param == "dev":
            starter = Starter(
                find(str(file)),
                protocol=DEFAULT_PROTOCOL,
                log_level="info",
                reload=False,
                clock=Clock(tmp_path / "clock").file,
                debug=None,
            )
            closing.append(starter)
            command: Any = starter.command
        else:
            (tmp_path / "plugins").mkdir()
            command = install(str(file), plugin_dir=tmp_path / "plugins").path
        return Host(
            command, protocol=DEFAULT_PROTOCOL, config=config, log=Lines(), handshake_timeout_s=PATIENCE_S
        )

    yield start
    for each in closing:
        each.close()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_of_processes_computes_and_ends_with_the_chain(start: Any, method: str) -> None:
    with start(SOURCE, method.encode()) as host:
        squares = host.chain.health()["health"]["squares"]
        assert [square for _, square in squares] == [0, 1, 4, 9]
        workers = {pid for pid, _ in squares}
        assert host.process.pid not in workers
    assert host.process.exit_code == 0
    for pid in workers:
        await_end(pid)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_end_with_a_plugin_that_is_killed(start: Any, method: str) -> None:
    with start(SOURCE, method.encode()) as host:
        workers = {pid for pid, _ in host.chain.health()["health"]["squares"]}
        host.kill()
        for pid in workers:
            await_end(pid)


def test_a_forked_pool_is_terminated_in_time(start: Any) -> None:
    with start(SOURCE + POOL, b"spawn") as host:
        for _ in range(3):
            health = host.chain.health()["health"]
            assert [square for _, square in health["squares"]] == [0, 1, 4, 9]
            assert health["notified"].startswith("ctx.notify() has no effect in a child process")


def test_a_signal_for_a_child_does_not_reach_the_plugin(start: Any) -> None:
    with start(SOURCE, b"fork") as host:
        pid, _ = host.chain.health()["health"]["squares"][0]
        os.kill(pid, signal.SIGTERM)
        await_end(pid)
        assert host.chain.version() == "1.0.0"
    assert not [line for line in host.process.output if "ignoring signal" in line]


@pytest.mark.parametrize(
    "health_check", [RETURNS_FROM_A_THREAD, RETURNS_FROM_AN_UNKNOWN_THREAD], ids=["known", "unknown"]
)
def test_a_child_ends_with_the_thread_that_forked_it(start: Any, health_check: str) -> None:
    with start(SOURCE + health_check, b"spawn") as host:
        assert host.chain.health()["health"]["exit_code"] == 0


def test_the_documented_recipe_computes(start: Any) -> None:
    with start(RECIPE_IN_A_VM, b"") as host:
        assert host.chain.health()["health"]["proofs"] == [proof.hex() for proof in PROOFS]
    assert host.process.exit_code == 0


def test_the_documented_recipe_computes_in_a_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "provervm.py").write_text(RECIPE.replace("vmsdk.ChainVM", "object"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    vm = importlib.import_module("provervm").ProverVM()
    try:
        vm.initialize(None, b"", b"", b"")
        assert vm.prove_all([b"a", b"b", b"c"]) == PROOFS
    finally:
        vm.shutdown()
        del sys.modules["provervm"]


def test_a_child_that_a_method_forks_ends_when_it_returns_and_its_parent_answers(start: Any) -> None:
    with start(FORKING, b"") as host:
        for _ in range(10):
            with Client(host, "service") as call:
                assert call("fork") == 1
                assert call("afork") == 1


def test_a_child_that_a_pool_of_threads_forks_ends_when_it_returns_to_the_pool(start: Any) -> None:
    with start(FORKING, b"") as host, Client(host, "service") as call:
        for method in ("from_a_pool", "from_asyncio", "from_anyio"):
            assert call(method) == 1
    assert any("a process that a thread of the VM forked returns" in line for line in host.process.output)


DEAF = """\
import multiprocessing, signal, threading
import vmsdk.runtime.plugin
from examples.timestamp.timestampvm import TimestampVM

def ignore_signals(ready):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    signal.pause()

# On a busy machine, the alarm half a second later may be faster than the last resort.
vmsdk.runtime.plugin.ALARM_S = 50.0

class DeafVM(TimestampVM):
    def initialize(self, *arguments):
        super().initialize(*arguments)
        context = multiprocessing.get_context("fork")
        ready = context.Event()
        self.child = context.Process(target=ignore_signals, args=(ready,), name="prover")
        self.child.start()
        ready.wait()

    def health_check(self):
        return {"pid": self.child.pid}
"""


def test_a_child_that_ignores_its_end_is_named_and_killed_before_the_node_kills_the_plugin(
    start: Any,
) -> None:
    assert LAST_RESORT_S < ALARM_S < GRACEFUL_STOP_TIMEOUT_S
    with start(DEAF, b"") as host:
        pid = host.chain.health()["health"]["pid"]
    assert host.process.exit_code == 0
    await_end(pid)
    ended = f"the VM's process prover ({pid}) is still running: it is killed"
    assert any(ended in line for line in host.process.output)


COMMANDS = """\
import subprocess, sys
from examples.timestamp.timestampvm import TimestampVM

class CommandsVM(TimestampVM):
    def initialize(self, *arguments):
        super().initialize(*arguments)
        code = "import subprocess, sys; print(subprocess.Popen(['sleep', '1000'], stdout=2).pid)"
        self.daemon = int(subprocess.check_output([sys.executable, "-c", code], text=True))
        self.redirected = subprocess.Popen(["sleep", "1001"], stdout=-3, stderr=-3).pid

    def health_check(self):
        return [self.daemon, self.redirected]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_plugin_that_ends_warns_of_a_command_that_keeps_the_nodes_pipes(start: Any) -> None:
    with start(COMMANDS, b"") as host:
        pids = host.chain.health()["health"]
        host.stop()
        try:
            warnings = [
                line for line in host.process.output if "that the VM started is still running" in line
            ]
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
    [warning] = warnings
    assert f"the command sleep 1000 (process {pids[0]})" in warning
