"""Bootstraps a plugin on `vmsdk.chain` from many blocks, and reports its rate and memory.

python -m tests.process.chainbootstrap --blocks 100000
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import psutil

from tests.unit.chain.engine import Engine
from vmsdk.host.node import Host
from vmsdk.state import State

from .plugin import PLUGINS
from .plugins.ledger import Index, Ledger

COMMAND = [sys.executable, str(PLUGINS / "ledger.py")]


def make_blocks(count: int) -> list[bytes]:
    """The bytes of *count* blocks of three entries each."""

    class Alone(Ledger):
        def followers(self) -> tuple[Index, ...]:
            return ()

    engine = Engine(Alone(), genesis=b"")
    raws = []
    for number in range(count):
        for entry in range(3):
            engine.vm.submit(b"entry %d of block %d" % (entry, number))
        raws.append(engine.produce().raw)
    engine.stop()
    return raws


def bootstrap(raws: list[bytes], part: int) -> Iterator[tuple[int, float, float, int, int]]:
    """Feed the blocks to a new node, *part* at a time. Height, seconds, the plugin's seconds of
    CPU, its memory, and calls to the database after each.
    """
    host = Host(COMMAND, call_timeout_s=None)
    try:
        host.connect()
        chain = host.chain
        chain.initialize()
        chain.create_handlers()
        chain.begin_events()
        chain.set_state(State.BOOTSTRAPPING)
        pid = host.process.pid
        assert pid is not None
        process = psutil.Process(pid)
        for start in range(0, len(raws), part):
            before = sum(host.services.database.calls.values())
            started, cpu = time.perf_counter(), sum(process.cpu_times()[:2])
            chain.bootstrap(raws[start : start + part])
            seconds = time.perf_counter() - started
            calls = sum(host.services.database.calls.values()) - before
            cpu = sum(process.cpu_times()[:2]) - cpu
            yield chain.last_accepted.height, seconds, cpu, process.memory_info().rss, calls
    finally:
        host.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=100_000)
    arguments = parser.parse_args()
    part = max(1, arguments.blocks // 10)
    raws = make_blocks(arguments.blocks)
    print(f"{len(raws):,} blocks made")
    for height, seconds, cpu, memory, calls in bootstrap(raws, part):
        print(
            f"height {height:,}: {part / seconds:,.0f} blocks/s, {cpu / part * 1e6:,.0f} µs of CPU a block, "
            f"{memory / 2**20:,.0f} MiB, "
            f"{calls / part:.2f} database calls a block",
            flush=True,
        )


if __name__ == "__main__":
    main()
