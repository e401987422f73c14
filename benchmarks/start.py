"""A plugin's start: from the exec to the handshake, and until the chain is initialised.

Beside a VM on bare grpcio, and beside an interpreter that imports grpc and does nothing else. Then
what it costs to ask the node for its version: one that prints it after 300 ms, and is asked at the
first start only.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from benchmarks import contenders
from benchmarks.table import Row, compare, markdown
from tests.process.fakenode import COMPILER, FakeNode, answer
from vmsdk.host.node import Host
from vmsdk.install.installation import install

TIMESTAMP = contenders.ROOT / "examples" / "timestamp" / "timestampvm.py"
NODE_ANSWERS_AFTER_MS = 300
ASKED_ROUNDS = 9

# The example, which records when its initialize is entered.
NOTES_ENTRY = """

class NotingVM(TimestampVM):
    def initialize(self, ctx, genesis, upgrade, config):
        import time

        entered_s = time.perf_counter()
        super().initialize(ctx, genesis, upgrade, config)
        (ctx.chain_data_dir / "entered").write_text(repr(entered_s))
"""


def run() -> list[Row]:
    """Measure, with the example installed into a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="vmsdk-bench-") as directory:
        plugins = Path(directory) / "plugins"
        plugins.mkdir()
        installed = [
            str(install(str(TIMESTAMP), name="bench", plugin_dir=plugins, protocol=contenders.PROTOCOL).path)
        ]
        rows = [
            compare(
                "installed: exec to the VM's initialize vs. a process that imports grpc and ends",
                "ms",
                _entered(Path(directory)),
                _import_grpc_and_end_ms,
                goal="at most 1.5",
            ),
            compare(
                "installed: exec to handshake vs. import grpc",
                "ms",
                _handshake(installed),
                _import_grpc_ms,
            ),
            compare(
                "installed: exec to handshake vs. a bare grpcio VM",
                "ms",
                _handshake(installed),
                _handshake(contenders.bare()),
            ),
            compare(
                "installed: exec to initialised vs. a bare grpcio VM",
                "ms",
                _initialised(installed),
                _initialised(contenders.bare()),
            ),
            compare(
                "script: exec to handshake vs. a bare grpcio VM",
                "ms",
                _handshake(contenders.example()),
                _handshake(contenders.bare()),
            ),
        ]
        if COMPILER is not None:
            rows += _asking(Path(directory))
        return rows


def _asking(directory: Path) -> list[Row]:
    plugins = directory / "asking"
    plugins.mkdir()
    path = install(str(TIMESTAMP), name="bench", plugin_dir=plugins).path
    node = FakeNode(directory / "metalgo", answer(contenders.PROTOCOL), delay_ms=NODE_ANSWERS_AFTER_MS)
    start = _initialised([str(node.path), str(path)])

    def start_by_a_new_node() -> float:
        # With another modification time, the plugin takes it for an unknown node.
        os.utime(node.path)
        return start()

    asked = statistics.median(start_by_a_new_node() for _ in range(ASKED_ROUNDS))
    assert len(node.asked) == ASKED_ROUNDS
    known = statistics.median(start() for _ in range(ASKED_ROUNDS))
    assert len(node.asked) == ASKED_ROUNDS
    return [
        Row(
            f"exec to initialised, the node asked ({NODE_ANSWERS_AFTER_MS} ms)",
            asked,
            0,
            "ms",
            0,
            "under 1,000 ms",
        ),
        Row("exec to initialised, the node's version cached", known, 0, "ms", 0),
    ]


def _import_grpc_and_end_ms() -> float:
    begun_s = perf_counter()
    subprocess.run([sys.executable, "-c", "import grpc"], check=True)
    return (perf_counter() - begun_s) * 1_000


def _import_grpc_ms() -> float:
    command = [sys.executable, "-c", "import grpc; print(flush=True); input()"]
    begun_s = perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        took_s = perf_counter() - begun_s
        process.communicate(b"\n")
    return took_s * 1_000


def _entered(directory: Path) -> Callable[[], float]:
    """From the exec to the moment when the VM's own `initialize` begins."""
    source = directory / "notingvm.py"
    source.write_text(TIMESTAMP.read_text(encoding="utf-8") + NOTES_ENTRY, encoding="utf-8")
    plugins, data = directory / "noting", directory / "data"
    plugins.mkdir()
    installed = install(f"{source}:NotingVM", name="noting", plugin_dir=plugins, protocol=contenders.PROTOCOL)

    def start_ms() -> float:
        with Host([str(installed.path)], protocol=contenders.PROTOCOL, chain_data_dir=data) as host:
            return (float((data / "entered").read_text()) - host.process.exec_at_s) * 1_000

    return start_ms


def _handshake(command: Sequence[str]) -> Callable[[], float]:
    return lambda: _start_ms(command)[0]


def _initialised(command: Sequence[str]) -> Callable[[], float]:
    return lambda: _start_ms(command)[1]


def _start_ms(command: Sequence[str]) -> tuple[float, float]:
    """From the exec to the handshake, and to the response of Initialize."""
    host = Host(command, protocol=contenders.PROTOCOL)
    host.connect()
    try:
        shaken_at_s = perf_counter()
        host.chain.initialize()
        assert host.process.handshake_s is not None
        to_handshake_ms = host.process.handshake_s * 1_000
        return to_handshake_ms, to_handshake_ms + (perf_counter() - shaken_at_s) * 1_000
    finally:
        host.stop()


if __name__ == "__main__":
    print(markdown(run()))
