"""Two plugins, of which one syncs the other's state: `python -m tests.process.chainsync`.

By hand it syncs a million keys, is killed half-way once, has one lying peer among three, and prints
what that took.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.process.plugin import PLUGINS, Lines
from vmsdk.chain.checkpoint import MANIFEST
from vmsdk.chain.statesync import HANDLER_ID
from vmsdk.errors import AppError
from vmsdk.host.appnetwork import Peer, PeerRequest
from vmsdk.host.errors import HostError
from vmsdk.host.node import Host
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.host.statesync import Summary
from vmsdk.ids import NodeID
from vmsdk.p2p.network import prefix
from vmsdk.state import State

SYNC = prefix(HANDLER_ID)
CALL_TIMEOUT_S = 300.0


class Nodes:
    """The plugin that serves its state, and the peers as which a syncing plugin sees it."""

    def __init__(
        self, directory: Path, *, blocks: int, keys: int, value_bytes: int, protocol: int = 45
    ) -> None:
        self.directory = directory
        # They outlive the plugins, as a node does.
        self._databases: dict[str, SQLiteDatabase] = {}
        self.blocks = blocks
        self.protocol = protocol
        self.command = [
            sys.executable,
            str(PLUGINS / "archive.py"),
            *map(str, (protocol, blocks, keys, value_bytes)),
        ]
        self.lines = Lines()
        self.server = self.host("server", config=b"%d" % (blocks + 1), log=self.lines)
        self.requested: list[int] = []
        """The chunks that the syncing plugin has requested from honest peers."""
        self.lies = 0
        self.kill_at = 0
        """The plugin is killed when it requests so many chunks."""
        self.client: Host | None = None
        self._lock = threading.Lock()

    def host(self, name: str, **fields: Any) -> Host:
        return Host(
            self.command,
            protocol=self.protocol,
            database=self._databases.setdefault(name, SQLiteDatabase()),
            chain_data_dir=self.directory / name,
            call_timeout_s=CALL_TIMEOUT_S,
            **fields,
        )

    def fill(self) -> tuple[Summary, bytes]:
        """Let the server accept its blocks; returns its summary, and the block after that."""
        self.server.start()
        for _ in range(self.blocks):
            self.server.chain.produce()
        self.lines.wait_for(f"wrote the checkpoint at height {self.blocks}")
        summary = self.server.chain.state_sync.last()
        assert summary is not None
        assert summary.height == self.blocks
        return summary, self.server.chain.produce().raw

    def sync(self, client: Host, summary: Summary, blocks: list[bytes]) -> None:
        """Bring *client* to normal operation, by state sync from three peers. Two are honest."""
        self.client = client
        client.connect()
        chain = client.chain
        chain.initialize()
        chain.create_handlers()
        assert chain.state_sync.enabled()
        chain.begin_events()
        chain.set_state(State.STATE_SYNCING)
        chain.open_messages()
        for number, on_request in enumerate((self._lie, self._relay, self._relay)):
            chain.connect(Peer(NodeID(bytes([number + 1] * 20)), on_request=on_request))
        chain.sync_state([summary.raw])
        chain.bootstrap(blocks)
        chain.begin_normal_operation()

    def _relay(self, request: PeerRequest) -> None:
        index = int.from_bytes(request.data[-4:], "big")
        if request.data.startswith(SYNC) and index != MANIFEST:
            with self._lock:
                self.requested.append(index)
                if self.kill_at and len(self.requested) >= self.kill_at:
                    assert self.client is not None
                    assert self.client.process.pid is not None
                    os.kill(self.client.process.pid, signal.SIGKILL)
                    return
        self._ask(request, lambda chunk: chunk)

    def _lie(self, request: PeerRequest) -> None:
        if request.data.startswith(SYNC):
            self.lies += 1
            self._ask(request, lambda chunk: bytes([chunk[0] ^ 1]) + chunk[1:])

    def _ask(self, request: PeerRequest, change: Any) -> None:
        response = self.server.services.network.request(NodeID(bytes([9] * 20)), request.data)

        def respond(future: Any) -> None:
            try:
                request.respond(change(future.result()))
            except AppError as error:
                request.fail(error.code, error.message)

        response.add_done_callback(respond)

    def close(self) -> None:
        """Stop the serving plugin, and close the databases."""
        assert self.server.stop() == 0
        for database in self._databases.values():
            database.close()

    @staticmethod
    def state(host: Host, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """The pairs under *prefix* in the database of a node."""
        return [(key[1:], value) for key, value in host.services.database.space.items() if key[:1] == prefix]


def peak_mib(host: Host) -> int:
    """The most memory that the plugin has had."""
    status = Path(f"/proc/{host.process.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) >> 10 for line in status.splitlines() if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--value-bytes", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        blocks = max(options.keys // 1000, 1)
        nodes = Nodes(Path(directory), blocks=blocks, keys=1000, value_bytes=options.value_bytes)
        began = time.monotonic()
        summary, block = nodes.fill()
        print(f"{blocks} blocks and the checkpoint: {time.monotonic() - began:.1f} s")
        print(f"the serving plugin: at most {peak_mib(nodes.server)} MiB")
        size = (Path(directory) / "server" / "sync" / str(blocks) / "state").stat().st_size
        print(f"the state: {size >> 20} MiB")
        for kill_at in ((size >> 20) // 2, 0):
            nodes.requested.clear()
            nodes.kill_at = kill_at
            client = nodes.host("client")
            began = time.monotonic()
            try:
                nodes.sync(client, summary, [block])
            except HostError as error:
                print(f"killed after {time.monotonic() - began:.1f} s: {error}")
            else:
                print(f"synced in {time.monotonic() - began:.1f} s, {len(nodes.requested)} chunks")
                print(f"the syncing plugin: at most {peak_mib(client)} MiB")
                same = nodes.state(client, b"S") == nodes.state(nodes.server, b"s")
                print(f"the states are the same: {same}; {nodes.lies} lies")
            client.stop()
        nodes.close()


if __name__ == "__main__":
    main()
