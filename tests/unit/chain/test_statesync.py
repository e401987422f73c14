"""State sync between chains in this process: what peers serve, and how a new node gets it."""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import Empty
from typing import Any, cast

import pytest

import vmsdk
from vmsdk import chain
from vmsdk.chain import checkpoint, history
from vmsdk.chain.block import Block, Header
from vmsdk.chain.checkpoint import CHUNK_BYTES, MANIFEST, NO_CHECKPOINT, Manifest, Summary, request
from vmsdk.chain.download import Download
from vmsdk.chain.statesync import HANDLER_ID
from vmsdk.database import Batch, Database, DatabaseIterator
from vmsdk.errors import AppError
from vmsdk.ids import ID, NodeID
from vmsdk.memorydb import MemoryDatabase
from vmsdk.p2p.network import prefix
from vmsdk.state import State
from vmsdk.statesync import StateSyncMode
from vmsdk.timestamp import Timestamp
from vmsdk.vm import NodeVersion

from .engine import Engine

# Only a failing test waits that long.
PATIENCE_S = 60.0
VERSION = NodeVersion("metalgo", 1, 13, 5)
VALUE_BYTES = 64 * 1024


class Archive(chain.SyncableChain):
    """Each transaction stores 16 values of 64 KiB; "-x" deletes those of "x"."""

    sync_every = 4

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        for number in range(16):
            if tx.startswith(b"-"):
                del state[tx[1:] + bytes([number])]
            else:
                state[tx + bytes([number])] = (tx + bytes([number])).ljust(VALUE_BYTES, b".")


def node_id(number: int) -> NodeID:
    return NodeID(number.to_bytes(20, "big"))


class Network:
    """Delivers requests between nodes, two at a time to each sender, as nodes do."""

    def __init__(self) -> None:
        self.peers: dict[NodeID, Callable[[NodeID, bytes], bytes]] = {}
        self.requests: list[tuple[NodeID, bytes]] = []
        self._pool = ThreadPoolExecutor(2)

    def add(self, number: int, handle: Callable[[NodeID, bytes], bytes]) -> NodeID:
        self.peers[node_id(number)] = handle
        return node_id(number)

    def close(self) -> None:
        self._pool.shutdown()

    def chunks(self) -> list[int]:
        """The indexes of the chunks that were requested, in order."""
        return [index for _, data in self.requests if (index := int.from_bytes(data[-4:], "big")) < 1 << 31]


class Node:
    """One node of the test: its disk, and its VM while it runs."""

    def __init__(self, number: int, network: Network, directory: Path) -> None:
        self.node_id = node_id(number)
        self.network = network
        self.directory = directory / f"node{number}"
        self.directory.mkdir()
        self.database: Database = MemoryDatabase()
        self.sender = self  # its services are itself
        self.at_checkpoint: dict[bytes, bytes] = {}

    def start(self, *, begins: bool = True, vm: Archive | None = None) -> Archive:
        self.finished = threading.Event()
        self.vm = Archive() if vm is None else vm
        self.engine = Engine(
            self.vm,
            self.database,
            begins=False,
            node_id=self.node_id,
            chain_data_dir=self.directory,
            services=cast(Any, self),
            state_sync_finished=self.finished.set,
        )
        self.network.peers[self.node_id] = lambda sender, data: self.vm.app_request(
            sender, 1, Timestamp(1 << 30), data
        )
        for peer in self.network.peers:
            self.vm.connected(peer, VERSION)
        if begins:
            self.engine.begin()
        return self.vm

    def send_app_request(self, node_ids: Iterable[NodeID], request_id: int, data: bytes) -> None:
        vm = self.vm
        for peer in node_ids:
            self.network.requests.append((peer, data))
            self.network._pool.submit(self._deliver, vm, peer, request_id, data)

    def _deliver(self, vm: Archive, peer: NodeID, request_id: int, data: bytes) -> None:
        try:
            response = self.network.peers[peer](self.node_id, data)
        except AppError as error:
            vm.app_request_failed(peer, request_id, error)
        else:
            vm.app_response(peer, request_id, response)

    def add(self, *transactions: bytes) -> None:
        for each in transactions:
            self.vm.submit(each)
            self.engine.produce()

    def settle(self) -> None:
        """Wait for what is done in the background."""
        self.vm._sync_worker.submit(lambda: None).result(PATIENCE_S)

    def accept(self, raw: bytes) -> StateSyncMode:
        """Start to sync, as the node does."""
        self.vm.set_state(State.STATE_SYNCING)
        assert self.vm.state_sync_enabled()
        return self.vm.parse_state_summary(raw).accept()

    def sync(self, raw: bytes) -> None:
        """Sync, and go on to normal operation."""
        assert self.accept(raw) is StateSyncMode.STATIC
        assert self.finished.wait(PATIENCE_S)
        self.vm.set_state(State.BOOTSTRAPPING)
        self.engine.begin()
        self.settle()


def content(vm: Archive) -> dict[bytes, bytes]:
    with vm.snapshot() as state:
        return dict(state.scan())


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network()
    yield made
    made.close()


@pytest.fixture
def server(network: Network, tmp_path: Path) -> Iterator[Node]:
    """A node with 5 blocks, and a checkpoint of the state after the fourth: 2 MiB in 3 chunks."""
    node = Node(1, network, tmp_path)
    node.start()
    node.add(b"a", b"b", b"c", b"-a")
    node.settle()
    node.at_checkpoint = content(node.vm)
    node.add(b"d")
    yield node
    node.engine.stop()


@pytest.fixture
def client(network: Network, tmp_path: Path) -> Iterator[Node]:
    node = Node(2, network, tmp_path)
    yield node
    node.engine.stop()


@pytest.fixture
def summary(server: Node) -> bytes:
    return server.vm.get_last_state_summary().raw


# Serving ------------------------------------------------------------------------------------------


def test_every_node_has_the_same_summary(network: Network, server: Node, tmp_path: Path) -> None:
    other = Node(3, network, tmp_path)
    other.start()
    for height in range(1, 6):
        block = other.engine.verify(server.vm.history.block_at(height).raw)
        other.engine.accept(block)
    other.settle()
    ours, theirs = server.vm.get_last_state_summary(), other.vm.get_last_state_summary()
    assert (ours.raw, ours.id, ours.height) == (theirs.raw, theirs.id, 4)
    assert other.vm.get_state_summary(4).raw == ours.raw
    assert other.vm.parse_state_summary(ours.raw) == ours
    with pytest.raises(vmsdk.NotFound):
        other.vm.get_state_summary(5)
    other.engine.stop()


def test_the_last_two_checkpoints_are_kept_and_found_again(server: Node) -> None:
    server.add(b"e", b"f", b"g")
    server.settle()
    server.add(b"h", b"i", b"j", b"k")
    server.settle()
    heights = sorted(path.name for path in (server.directory / "sync").iterdir())
    assert heights == ["12", "8"]
    server.engine.stop()
    (server.directory / "sync" / "12.tmp").mkdir()  # as a crash leaves it
    state = server.directory / "sync" / "8" / "state"
    os.truncate(state, state.stat().st_size - 1)
    server.start()
    assert server.vm.get_last_state_summary().height == 12
    with pytest.raises(vmsdk.NotFound):
        server.vm.get_state_summary(8)
    server.engine.stop()
    server.database = MemoryDatabase()  # of a chain that begins anew
    server.start()
    with pytest.raises(vmsdk.NotFound):
        server.vm.get_last_state_summary()


def test_a_checkpoint_that_a_kill_prevented_is_written_at_the_next_start(server: Node) -> None:
    server.add(b"e", b"f", b"g")
    server.settle()
    summary = server.vm.get_state_summary(8)
    server.engine.stop()
    (server.directory / "sync" / "8").rename(server.directory / "sync" / "8.tmp")
    server.start()
    server.settle()
    assert server.vm.get_last_state_summary() == summary


def test_a_checkpoint_shows_its_own_block_however_late_it_is_written(
    network: Network, server: Node, summary: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Node(3, network, tmp_path)
    slow.start()
    go_on = threading.Event()
    slow.vm._sync_worker.submit(go_on.wait)
    for height in range(1, 6):
        slow.engine.accept(slow.engine.verify(server.vm.history.block_at(height).raw))
    slow.add(b"-b", b"e", b"f")
    assert "no checkpoint at height 8, because the one before is still being written" in caplog.text
    go_on.set()
    slow.settle()
    assert slow.vm.get_last_state_summary().raw == summary
    slow.add(b"g", b"h", b"i", b"j")
    slow.settle()
    assert slow.vm.get_last_state_summary().height == 12
    slow.engine.stop()


def test_a_new_chain_has_no_checkpoint(network: Network, client: Node) -> None:
    client.start()
    client.settle()
    with pytest.raises(vmsdk.NotFound):
        client.vm.get_last_state_summary()
    with pytest.raises(vmsdk.NotFound):
        client.vm.get_ongoing_sync_state_summary()


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 35, request(bytes(32), 0), b"\0" * 37], ids=["empty", "short", "other", "long"]
)
def test_a_request_that_makes_no_sense_is_refused(server: Node, data: bytes) -> None:
    with pytest.raises(AppError):
        server.vm.app_request(node_id(9), 1, Timestamp(0), prefix(HANDLER_ID) + data)


def test_a_chunk_past_the_end_is_refused(server: Node) -> None:
    root = server.vm._checkpoints.last().manifest.root
    assert len(server.vm._checkpoints.last().manifest.hashes) == 3
    for index in (3, 1 << 31):
        with pytest.raises(AppError) as caught:
            server.vm.app_request(node_id(9), 1, Timestamp(0), prefix(HANDLER_ID) + request(root, index))
        assert caught.value.code == NO_CHECKPOINT


def test_bytes_that_are_not_a_summary_are_refused(server: Node, summary: bytes) -> None:
    for data in (b"", summary[:-1], summary + b"\0", b"\0\1" + summary[2:]):
        with pytest.raises(vmsdk.InvalidBlock):
            server.vm.parse_state_summary(data)


def test_bytes_that_are_not_a_manifest_are_refused() -> None:
    for data in (b"", bytes(8), (1).to_bytes(8, "big"), (1).to_bytes(8, "big") + bytes(64), b"\xff" * 40):
        with pytest.raises(vmsdk.InvalidInput):
            Manifest.from_bytes(data)


def test_a_chain_without_checkpoints_says_what_to_derive_from() -> None:
    with pytest.raises(ValueError, match=r"Never.sync_every is 0: .* or derive from Chain"):

        class Never(Archive):
            sync_every = 0


# Syncing ------------------------------------------------------------------------------------------


def test_a_new_node_has_the_state_and_goes_on(server: Node, client: Node, summary: bytes) -> None:
    accepted: list[int] = []
    client.start(begins=False)
    client.vm.listeners.append(lambda block: accepted.append(block.height))
    client.sync(summary)
    assert content(client.vm) == server.at_checkpoint
    assert client.engine.last.id == server.vm.get_block_id_at_height(4)
    client.engine.accept(client.engine.verify(server.engine.last.raw))
    assert content(client.vm) == content(server.vm)
    client.add(b"e")
    assert accepted == [4, 5, 6]
    assert client.vm.get_last_state_summary().raw == summary  # it serves what it got


def test_a_node_may_prune_while_it_serves(
    network: Network, server: Node, client: Node, summary: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PRUNE_BLOCKS", 1)
    pruner = history.History(server.database, blocks=1, receipts=1)
    serve = network.peers[server.node_id]

    def prune_and_serve(sender: NodeID, data: bytes) -> bytes:
        for _ in range(5):
            pruner.prune(5)
        return serve(sender, data)

    network.peers[server.node_id] = prune_and_serve
    client.start(begins=False)
    client.sync(summary)
    assert content(client.vm) == server.at_checkpoint
    assert client.vm.last.height == 4
    with pytest.raises(vmsdk.NotFound):
        server.vm.history.block_at(4)


def test_what_is_below_the_synced_block_is_not_there(server: Node, client: Node, summary: bytes) -> None:
    client.start(begins=False)
    client.sync(summary)
    client.engine.accept(client.engine.verify(server.engine.last.raw))
    vm = client.vm
    for height in (1, 2, 3):
        with pytest.raises(vmsdk.NotFound):
            vm.get_block_id_at_height(height)
        with pytest.raises(vmsdk.NotFound):
            vm.get_block(server.vm.get_block_id_at_height(height))
    ancestors = vm.get_ancestors(client.engine.last.id, 100, 1 << 20, 10.0)
    assert ancestors == [client.engine.last.raw, vm.get_block(client.engine.last.parent_id).raw]
    assert [block.height for block in vm.blocks(1)] == [4, 5]
    with pytest.raises(vmsdk.NotFound):
        vm.receipt(ID.of(b"-a"))


def test_pruning_begins_at_the_synced_block(
    server: Node, client: Node, summary: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pruned(Archive):
        limits = chain.Limits(blocks=2)

    monkeypatch.setattr("vmsdk.chain.history.PRUNE_BLOCKS", 1)
    client.start(begins=False, vm=Pruned())
    client.sync(summary)
    client.engine.accept(client.engine.verify(server.engine.last.raw))
    client.add(b"e", b"f")
    client.vm._worker.submit(lambda: None).result(PATIENCE_S)
    assert [block.height for block in client.vm.blocks()] == [0, 6, 7]


def test_an_unfinished_sync_of_another_version_is_dropped(server: Node, client: Node, summary: bytes) -> None:
    client.database.put(b"ysummary", b"\0\1" + summary[2:])
    client.start(begins=False)
    with pytest.raises(vmsdk.NotFound):
        client.vm.get_ongoing_sync_state_summary()
    client.sync(summary)
    assert content(client.vm) == server.at_checkpoint


def test_a_synced_node_starts_again(server: Node, client: Node, summary: bytes) -> None:
    client.start(begins=False)
    client.sync(summary)
    client.engine.stop()
    client.start(begins=False)
    assert not client.vm.state_sync_enabled()
    client.engine.begin()
    assert content(client.vm) == server.at_checkpoint
    assert client.vm.get_last_state_summary().raw == summary


def test_only_one_state_is_left_in_the_database(server: Node, client: Node, summary: bytes) -> None:
    client.start()
    client.add(b"old")
    client.engine.stop()
    client.database.put(b"ysummary", summary)  # an author may sync a chain that has blocks
    client.start(begins=False)
    client.sync(summary)
    kinds = {key[:1] for key in client.database}
    assert (b"s" in kinds, b"S" in kinds, b"y" in kinds) == (False, True, False)
    assert not (client.directory / "sync" / "download").exists()


def test_readers_see_the_old_state_until_the_sync_is_done(server: Node, client: Node, summary: bytes) -> None:
    client.start(begins=False)
    assert client.accept(summary) is StateSyncMode.STATIC
    assert client.finished.wait(PATIENCE_S)
    with client.vm.snapshot() as state:
        assert list(state.scan()) == []
        assert state.get(b"b\0") is None
        client.vm.set_state(State.BOOTSTRAPPING)
        with pytest.raises(chain.SnapshotUnavailable):
            state.get(b"b\0")
    assert content(client.vm) == server.at_checkpoint
    with client.vm.snapshot() as state:
        assert state.get(b"b\0") == server.at_checkpoint[b"b\0"]


def test_a_summary_that_is_not_above_the_chain_is_skipped(server: Node, client: Node, summary: bytes) -> None:
    client.start(begins=False)
    client.sync(summary)
    client.vm.set_state(State.STATE_SYNCING)
    assert client.vm.parse_state_summary(summary).accept() is StateSyncMode.SKIPPED


def test_waiting_transactions_are_run_on_the_synced_state(server: Node, client: Node, summary: bytes) -> None:
    client.start(begins=False)
    client.vm.submit(b"mine")
    client.sync(summary)
    assert client.engine.produce().block.transactions == (b"mine",)


# Bad peers ----------------------------------------------------------------------------------------


def test_a_lying_peer_is_dropped(
    network: Network, server: Node, client: Node, summary: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    honest = network.peers[server.node_id]

    def lie(sender: NodeID, data: bytes) -> bytes:
        chunk = honest(sender, data)
        return chunk[:-1] + bytes([chunk[-1] ^ 1])

    def cut(sender: NodeID, data: bytes) -> bytes:
        return honest(sender, data)[:-1]

    def manifest_only(sender: NodeID, data: bytes) -> bytes:
        return honest(sender, data) if data[-4:] == b"\xff" * 4 else b""

    def swap(sender: NodeID, data: bytes) -> bytes:
        return honest(sender, data if data[-4:] == b"\xff" * 4 else data[:-1] + bytes([data[-1] ^ 1]))

    def lengthen(sender: NodeID, data: bytes) -> bytes:
        return honest(sender, data) + bytes(8 * 1024 * 1024)

    def other_manifest(sender: NodeID, data: bytes) -> bytes:
        return (2**63).to_bytes(8, "big") + bytes(32)

    lies = (lie, cut, manifest_only, swap, lengthen, other_manifest)
    liars = [network.add(number, each) for number, each in enumerate(lies, 10)]
    client.start(begins=False)
    client.sync(summary)
    assert content(client.vm) == server.at_checkpoint
    for liar in liars:
        asked = [peer for peer, _ in network.requests].count(liar)
        is_dropped = f"dropped {liar}" in caplog.text
        assert asked <= 2 + 4  # one, or what was in flight when it was caught
        assert asked or not is_dropped
        assert is_dropped or asked <= 4  # in flight when the others had sent everything
    assert "state sync: dropped" in caplog.text


def test_a_silent_peer_does_not_hold_the_sync_up(
    network: Network, server: Node, client: Node, summary: bytes
) -> None:
    def say_nothing(sender: NodeID, data: bytes) -> bytes:
        raise AppError(AppError.TIMED_OUT, "timed out")

    silent = network.add(10, say_nothing)
    client.start(begins=False)
    client.sync(summary)
    assert content(client.vm) == server.at_checkpoint
    assert [peer for peer, _ in network.requests].count(silent) <= 2


def test_a_peer_that_connects_later_is_asked(
    network: Network, server: Node, client: Node, summary: bytes
) -> None:
    away = network.peers.pop(server.node_id)
    client.start(begins=False)
    assert client.accept(summary) is StateSyncMode.STATIC
    network.peers[server.node_id] = away
    client.vm.connected(server.node_id, VERSION)
    assert client.finished.wait(PATIENCE_S)
    client.vm.set_state(State.BOOTSTRAPPING)
    assert content(client.vm) == server.at_checkpoint


def test_a_failed_sync_ends_with_a_clear_line_and_changes_nothing(
    network: Network,
    server: Node,
    client: Node,
    summary: bytes,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vmsdk.chain.download.GIVE_UP_S", 0.0)
    network.peers.pop(server.node_id)
    client.start(begins=False)
    client.sync(summary)
    assert (
        "state sync to height 4 failed: no peer has sent anything valid for 0 s; the node bootstraps the "
        "chain's blocks instead"
    ) in caplog.text
    assert client.engine.last.height == 0
    assert {key[:1] for key in client.database}.isdisjoint({b"S", b"y"})
    for height in range(1, 6):
        client.engine.accept(client.engine.verify(server.vm.history.block_at(height).raw))
    assert content(client.vm) == content(server.vm)


class Idle:
    """A queue whose clock moves on while nothing comes."""

    def __init__(self) -> None:
        self.now = 0.0
        self._items: deque[Any] = deque()
        self.put = self._items.append

    def get(self, timeout: float | None = None) -> Any:
        if self._items:
            return self._items.popleft()
        assert timeout is not None
        self.now += timeout
        raise Empty


def test_silent_peers_are_asked_ever_less_often_and_not_for_ever(tmp_path: Path) -> None:
    class Silence:
        def __init__(self) -> None:
            self.asked_at: list[float] = []

        def request(self, node_id: NodeID, request: bytes) -> Future[bytes]:
            self.asked_at.append(idle.now)
            future: Future[bytes] = Future()
            future.set_exception(AppError(AppError.TIMED_OUT, "timed out"))
            return future

    idle, silence = Idle(), Silence()
    download = Download(
        Summary(4, ID.EMPTY, bytes(32), lambda _: StateSyncMode.STATIC),
        tmp_path / "download",
        silence,
        lambda: [node_id(1)],
        vmsdk.Context().log,
        clock=lambda: idle.now,
    )
    download._events = cast(Any, idle)
    with pytest.raises(vmsdk.VMError, match="no peer has sent anything valid for 120 s"):
        download.run()
    assert silence.asked_at == [0, 5, 15, 30, 50, 75, 105]


# Kills --------------------------------------------------------------------------------------------


def test_a_download_that_was_killed_goes_on_where_it_ended(
    network: Network, server: Node, client: Node, summary: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = network.peers[server.node_id]
    is_kept, is_killed = threading.Event(), threading.Event()
    monkeypatch.setattr("vmsdk.chain.download.Progress.show", lambda *_: is_kept.set())
    served: list[int] = []

    def stop_at_the_second(sender: NodeID, data: bytes) -> bytes:
        index = int.from_bytes(data[-4:], "big")
        if index != MANIFEST:
            served.append(index)
            if served[0] != index:
                assert is_kept.wait(PATIENCE_S)
                is_killed.set()
                raise AppError(AppError.TIMED_OUT, "timed out")
        return honest(sender, data)

    network.peers[server.node_id] = stop_at_the_second
    client.start(begins=False)
    assert client.accept(summary) is StateSyncMode.STATIC
    assert is_killed.wait(PATIENCE_S)
    client.engine.stop()
    assert not client.finished.is_set()
    network.requests.clear()
    network.peers[server.node_id] = honest

    client.start(begins=False)
    assert client.vm.state_sync_enabled()
    assert client.vm.get_ongoing_sync_state_summary().raw == summary
    client.sync(summary)
    assert content(client.vm) == server.at_checkpoint
    # Not again what was there.
    assert sorted(network.chunks()) == sorted({0, 1, 2} - {served[0]})
    assert len(network.requests) == 2


def test_a_damaged_chunk_on_the_disk_is_downloaded_again(
    network: Network, server: Node, client: Node, summary: bytes
) -> None:
    client.start(begins=False)
    assert client.accept(summary) is StateSyncMode.STATIC
    assert client.finished.wait(PATIENCE_S)
    client.engine.stop()
    network.requests.clear()
    with (client.directory / "sync" / "download" / "state").open("r+b") as file:
        file.seek(CHUNK_BYTES)
        file.write(b"damaged")
    client.start(begins=False)
    client.sync(summary)
    assert network.chunks() == [1]
    assert content(client.vm) == server.at_checkpoint


def test_a_newer_summary_replaces_an_unfinished_sync(
    network: Network, server: Node, client: Node, summary: bytes
) -> None:
    client.start(begins=False)
    assert client.accept(summary) is StateSyncMode.STATIC
    assert client.finished.wait(PATIENCE_S)
    client.engine.stop()
    server.add(b"e", b"-b", b"g")
    server.settle()
    client.start(begins=False)
    client.sync(server.vm.get_last_state_summary().raw)
    assert client.engine.last.height == 8
    assert content(client.vm) == content(server.vm)


class Killed(vmsdk.VMError):
    """The process is gone."""


class Dying(MemoryDatabase):
    """Another view of a disk, which ends before or after a given write."""

    def __init__(self, disk: MemoryDatabase, writes: int, *, is_last_done: bool) -> None:
        super().__init__()
        self._disk = disk
        self._left = writes
        self._is_last_done = is_last_done
        self.is_dead = threading.Event()

    def _get(self, key: bytes) -> bytes | None:
        return self._disk._get(key)

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        return self._disk.get_many(keys)

    def iterate(self, *, prefix: bytes = b"", start: bytes = b"") -> DatabaseIterator:
        return self._disk.iterate(prefix=prefix, start=start)

    def batch(self) -> Batch:
        return super().batch()

    def _apply(self, operations: dict[bytes, bytes | None]) -> None:
        self._left -= 1
        if self._left > 0 or (self._left == 0 and self._is_last_done):
            self._disk._apply(operations)
        if self._left <= 0:
            self.is_dead.set()
            raise Killed("the process is gone")


@pytest.mark.parametrize("is_last_done", [False, True], ids=["before", "after"])
def test_a_kill_at_any_write_leaves_one_whole_state_and_the_sync_goes_on(
    server: Node, client: Node, summary: bytes, is_last_done: bool
) -> None:
    expected = server.at_checkpoint
    disk = cast(MemoryDatabase, client.database)
    client.start(begins=False)
    client.engine.stop()  # it has its genesis
    blank = dict(disk._content)
    killed = 0
    while True:
        disk._apply({**dict.fromkeys(disk._content), **blank})
        client.database = dying = Dying(disk, killed + 1, is_last_done=is_last_done)
        client.start(begins=False)
        try:
            client.sync(summary)
        except Killed:
            pass
        if not dying.is_dead.is_set():
            break
        killed += 1
        client.vm.shutdown()
        client.database = disk
        client.start(begins=False)
        found = content(client.vm)
        assert found == (expected if client.vm.last.height == 4 else {})
        if client.vm.last.height == 0:
            client.sync(summary)
        assert content(client.vm) == expected
        client.engine.stop()
    # The marker, five batches of 512 KiB or less, and the switch.
    assert killed == 7


def test_a_checkpoint_that_can_not_be_finished_leaves_no_files(tmp_path: Path) -> None:
    def pairs() -> Iterator[tuple[bytes, bytes]]:
        yield b"key", bytes(2 * CHUNK_BYTES)
        raise OSError(errno.ENOSPC, "the disk is full")

    block = Block(Header(ID.EMPTY, height=1, timestamp=0), bytes(32), (b"x",))
    with pytest.raises(OSError, match="the disk is full"):
        checkpoint.write(tmp_path / "1", block, pairs())
    assert list(tmp_path.iterdir()) == []
