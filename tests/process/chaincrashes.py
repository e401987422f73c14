"""A plugin on `vmsdk.chain` is killed again and again, and always finds its chain consistent.

python -m tests.process.chaincrashes --kills 500
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from vmsdk.host.errors import HostError, PluginGone
from vmsdk.host.node import Host
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.state import Event

from .jsonrpc import Client
from .plugin import PATIENCE_S, PLUGINS

COMMAND = [sys.executable, str(PLUGINS / "ledger.py")]
BLOCKS = 2


class Fragile(SQLiteDatabase):
    """A disk that calls *crash* before or after one of its transactions while the plugin runs."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.transactions = 0
        self.crash_at: tuple[int, str] | None = None
        self.crash: Callable[[], object] = lambda: None
        self.is_watched: Callable[[], bool] = lambda: False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        is_outermost = not self._in_transaction and self.is_watched()
        if is_outermost:
            self.transactions += 1
            if self.crash_at == (self.transactions, "before"):
                self.crash()
        number = self.transactions
        with super().transaction():
            yield
        if is_outermost and self.crash_at == (number, "after"):
            self.crash()


class Trial:
    """One chain, over many lives of its plugin."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.disk = Fragile(directory / "chain.db")
        self.number = 0
        self.promised: list[str] = []
        """The entries of the blocks that the node was told are accepted."""
        self.writes = 0
        """The transactions of the disk in a life without a crash."""

    @contextmanager
    def life(self) -> Iterator[tuple[Host, Client]]:
        host = Host(COMMAND, database=self.disk, chain_data_dir=self.data)
        self.disk.crash = partial(host.process.send_signal, signal.SIGKILL)
        self.disk.is_watched = lambda: host.process.alive
        with host, Client(host, "ledger") as client:
            yield host, client

    def steps(self, host: Host, client: Client, blocks: int) -> Iterator[None]:
        """Make blocks, one call to the plugin at a time."""
        chain = host.chain
        for _ in range(blocks):
            texts = [f"entry {self.number + each}" for each in range(3)]
            self.number += len(texts)
            for text in texts:
                client("submit", text=text)
                yield
            assert chain.next_event(PATIENCE_S) is Event.BUILD_BLOCK
            block = chain.build_block()
            yield
            chain.verify(block)
            yield
            chain.prefer(block.id)
            yield
            chain.accept(block)
            self.promised += texts
            yield

    def check(self, host: Host, client: Client) -> None:
        """The chain is consistent, and has at least what the node was told."""
        audit = client("audit")
        assert "entries" in audit, audit
        assert audit["height"] == host.chain.last_accepted.height
        assert audit["entries"][: len(self.promised)] == self.promised
        self.promised = audit["entries"]

    def run(self, crash_after: int | None = None) -> int:
        """A life that may crash after some call, then one without. Returns the number of calls."""
        calls = 0
        try:
            with self.life() as (host, client):
                for calls, _ in enumerate(self.steps(host, client, BLOCKS), 1):
                    if calls == crash_after:
                        self.disk.crash()
                        raise PluginGone("killed by the test")
                assert self.disk.crash_at is None
            self.writes = self.disk.transactions
        except (HostError, grpc.RpcError):
            assert crash_after or self.disk.crash_at
        self.disk.crash_at = None
        with self.life() as (host, client):
            self.check(host, client)
            for _ in self.steps(host, client, 1):
                pass
            self.check(host, client)
        return calls

    def run_until_killed(self, delay_s: float) -> None:
        """Make blocks under load until a SIGKILL comes."""
        try:
            with self.life() as (host, client):
                killer = threading.Timer(delay_s, self.disk.crash)
                killer.start()
                try:
                    for _ in self.steps(host, client, sys.maxsize):
                        pass
                finally:
                    killer.cancel()
        except (HostError, grpc.RpcError):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with TemporaryDirectory() as directory:
        trial = Trial(Path(directory))
        for kill in range(1, arguments.kills + 1):
            trial.run_until_killed(moments.uniform(0, 0.5))
            with trial.life() as (host, client):
                trial.check(host, client)
            if kill % 10 == 0:
                print(f"{kill} kills, {len(trial.promised)} entries, consistent", flush=True)


if __name__ == "__main__":
    main()
