"""State sync: a new node downloads the state of a chain instead of executing all blocks."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from vmsdk.chain import checkpoint as checkpoints
from vmsdk.chain.block import Block
from vmsdk.chain.chain import Chain
from vmsdk.chain.checkpoint import Checkpoint, Checkpoints, Summary
from vmsdk.chain.download import Download, Progress
from vmsdk.context import Context
from vmsdk.database import Database, DatabaseIterator
from vmsdk.errors import InvalidBlock, NotFound, VMError
from vmsdk.ids import NodeID
from vmsdk.state import State
from vmsdk.statesync import StateSyncableVM, StateSyncMode
from vmsdk.vm import NodeVersion

HANDLER_ID = 0x73796E63
"""The p2p handler of state sync: "sync" in ASCII."""
BATCH_BYTES = 512 * 1024
"""How much is written to the database at a time."""
BATCH_DELETES = 4_096

_ONGOING = b"ysummary"  # the summary of an unfinished sync


class SyncableChain(Chain, StateSyncableVM):
    """A `Chain` that new nodes can join without executing all its blocks.

        class Tokens(chain.SyncableChain):
            sync_every = 8192

    Every `sync_every` blocks, a node in normal operation writes a checkpoint, the complete state,
    to `Context.chain_data_dir`, in the background. It keeps the last two. A node without blocks
    downloads one from several peers at once, then bootstraps the blocks after it. It lacks the
    blocks before it, with their receipts and events, so a `Follower` that needs all blocks can't be
    used there.
    """

    sync_every: ClassVar[int] = 4096
    """The number of blocks from one checkpoint to the next; the same on all nodes. A sync must
    finish before peers write two more checkpoints.
    """

    _sync: Sync | None = None
    _set_at_start: ClassVar[tuple[str, ...]] = (
        *("_sync", "_directory", "_checkpoints", "_sync_worker", "_is_writing", "_ongoing"),
    )

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not isinstance(cls.sync_every, int) or cls.sync_every < 1:
            raise ValueError(
                f"{cls.__name__}.sync_every is {cls.sync_every}: set the number of blocks from one "
                "checkpoint to the next, or derive from Chain, which has no state sync"
            )

    # Lifecycle ------------------------------------------------------------------------------------

    def initialize(self, ctx: Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        super().initialize(ctx, genesis, upgrade, config)
        self._directory = ctx.chain_data_dir / "sync"
        self._checkpoints = Checkpoints(self._directory, ctx.log)
        self._checkpoints.load(self._chain_progress.last.height)
        self.network.add_handler(HANDLER_ID, self._checkpoints)
        self._sync_worker = ThreadPoolExecutor(1, thread_name_prefix="vmsdk-sync")
        self._is_writing = False
        self._ongoing = self._load_ongoing()
        self.listeners.append(self._checkpoint_if_due)

    def _load_ongoing(self) -> Summary | None:
        stored = self.ctx.db.get(_ONGOING)
        try:
            return None if stored is None else self.parse_state_summary(stored)
        except InvalidBlock as error:
            self.ctx.log.warning("state sync: dropped the unfinished sync of another version: %s", error)
            return None

    def set_state(self, state: State) -> None:
        sync, self._sync = self._sync, None
        if sync is not None:
            sync.stop()
            if sync.checkpoint is not None:
                self._adopt(sync.checkpoint)
        super().set_state(state)
        if state is State.NORMAL_OP:
            self._ongoing = None
            self._in_background(self._clean_up)
            self._checkpoint_if_due(self._chain_progress.last)

    def shutdown(self) -> None:
        self._ending.set()
        if self._sync is not None:
            self._sync.stop()
        self._sync_worker.shutdown(cancel_futures=True)
        super().shutdown()

    def connected(self, node_id: NodeID, version: NodeVersion) -> None:
        super().connected(node_id, version)
        if self._sync is not None:
            self._sync.wake()

    # Checkpoints for peers ------------------------------------------------------------------------

    def _checkpoint_if_due(self, block: Block) -> None:
        """Write a checkpoint in the background. Makes one call to the node."""
        if (
            not self._chain_progress.is_normal
            or block.height % self.sync_every
            or block.height in self._checkpoints
        ):
            return
        if self._is_writing:
            self.ctx.log.warning(
                "no checkpoint at height %d, because the one before is still being written: raise sync_every",
                block.height,
            )
        elif block.height:
            self._is_writing = True
            # The iterator is a snapshot: blocks that are accepted while it is read don't change it.
            self._in_background(self._write, block, self.ctx.db.iterate(prefix=self.accepted.prefix))

    def _write(self, block: Block, stored: DatabaseIterator) -> None:
        try:
            with stored:
                written = checkpoints.write(
                    self._checkpoints.path(block.height), block, self._until_the_end(stored)
                )
        except OSError as error:
            self.ctx.log.error(
                "no checkpoint at height %d, because %s can't be written: %s; the chain continues",
                block.height,
                self._directory,
                error,
            )
            return
        finally:
            self._is_writing = False
        self._checkpoints.add(written)
        self.ctx.log.info(
            "wrote the checkpoint at height %d: %d bytes", block.height, written.manifest.length
        )

    def _until_the_end(self, stored: DatabaseIterator) -> Iterator[tuple[bytes, bytes]]:
        for key, value in stored:
            self._check_running()
            yield key[1:], value

    def _check_running(self) -> None:
        if self._ending.is_set():
            raise VMError("the chain is shutting down")

    def _in_background(self, work: Callable[..., None], *arguments: object) -> None:
        if not self._ending.is_set():
            self._sync_worker.submit(self._logged, work, *arguments)

    def _clean_up(self) -> None:
        """Delete what a finished or interrupted sync has left behind."""
        shutil.rmtree(self._directory / "download", ignore_errors=True)
        clear(self.ctx.db, self.accepted.spare_prefix, self._check_running)
        if self.ctx.db.get(_ONGOING) is not None:
            self.ctx.db.delete(_ONGOING)

    # Called by the node ---------------------------------------------------------------------------

    def state_sync_enabled(self) -> bool:
        """Whether the chain has no blocks yet, or an earlier sync is unfinished."""
        return self._chain_progress.last.height == 0 or self._ongoing is not None

    def get_ongoing_sync_state_summary(self) -> Summary:
        if self._ongoing is None:
            raise NotFound("no state sync is unfinished")
        return self._ongoing

    def get_last_state_summary(self) -> Summary:
        return self._summary(self._checkpoints.last())

    def get_state_summary(self, height: int) -> Summary:
        return self._summary(self._checkpoints.at(height))

    def parse_state_summary(self, data: bytes) -> Summary:
        return Summary.from_bytes(data, self._start_sync)

    def _summary(self, checkpoint: Checkpoint) -> Summary:
        block = checkpoint.block
        return Summary(block.height, block.id, checkpoint.manifest.root, self._start_sync)

    # Syncing --------------------------------------------------------------------------------------

    def _start_sync(self, summary: Summary) -> StateSyncMode:
        if summary.height <= self._chain_progress.last.height:
            self.ctx.log.info(
                "state sync: skipped, because height %d is not above the last accepted block's, %d",
                summary.height,
                self._chain_progress.last.height,
            )
            return StateSyncMode.SKIPPED
        if self._sync is not None:
            self._sync.stop()
        self.ctx.db.put(_ONGOING, summary.raw)
        self._ongoing = summary
        download = Download(
            summary, self._directory / "download", self.network.client(HANDLER_ID), self._others, self.ctx.log
        )
        self._sync = Sync(download, self.ctx.db, self.accepted.spare_prefix)
        self._in_background(self._run_sync, self._sync, summary)
        return StateSyncMode.STATIC

    def _others(self) -> list[NodeID]:
        peers = self.network.peers
        return [node_id for node_id in peers.sample(len(peers)) if node_id != self.ctx.node_id]

    def _run_sync(self, sync: Sync, summary: Summary) -> None:
        log = self.ctx.log
        log.info("state sync: to block %s at height %d", summary.block_id, summary.height)
        try:
            sync.run(log)
        except Exception as error:
            if self._ending.is_set() or self._sync is not sync:
                return
            log.error(
                "state sync to height %d failed: %s; the node bootstraps the chain's blocks instead",
                summary.height,
                error,
                exc_info=not isinstance(error, (OSError, VMError)),
            )
        self.ctx.state_sync_finished()

    def _adopt(self, checkpoint: Checkpoint) -> None:
        """Switch to the state of a checkpoint, which is under the spare prefix."""
        block = checkpoint.block
        with self.accepted.replace() as batch:
            self.history.jump(batch, block)
            batch.delete(_ONGOING)
        self._chain_progress.last = block
        self._ongoing = None
        self._admission.invalidate()
        self._later(self._refresh)
        self.ctx.log.info("state sync: the last accepted block is %s at height %d", block.id, block.height)
        try:
            checkpoint.directory.rename(self._checkpoints.path(block.height))
            self._checkpoints.add(Checkpoint.load(self._checkpoints.path(block.height)))
        except OSError as error:
            self.ctx.log.warning("can't offer the downloaded checkpoint to peers: %s", error)
        self._announce(block)


class Sync:
    """A state sync: downloads a checkpoint, then writes its state under *prefix*.

    The current state is not changed, so a sync can be killed at any time.
    """

    def __init__(self, download: Download, database: Database, prefix: bytes) -> None:
        self._download = download
        self._database = database
        self._prefix = prefix
        self.checkpoint: Checkpoint | None = None
        """The checkpoint, once all of its state is in the database."""
        self.wake = download.wake
        self.stop = download.stop

    def run(self, log: logging.Logger) -> None:
        """Sync. Raises `VMError` or `OSError` if that fails, and after `stop`."""
        checkpoint = self._download.run()
        clear(self._database, self._prefix, self._download.check)
        progress = Progress(log, "stored", checkpoint.manifest.length, time.monotonic)
        batch = self._database.batch()
        for key, value, end in checkpoint.pairs():
            batch.put(self._prefix + key, value)
            if batch.size >= BATCH_BYTES:
                self._download.check()
                batch.write()
                batch.clear()
                progress.show(end)
        batch.write()
        self.checkpoint = checkpoint


def clear(database: Database, prefix: bytes, check: Callable[[], object]) -> None:
    """Delete all keys with *prefix*. Calls *check*, which may raise, now and then."""
    batch = database.batch()
    with database.iterate(prefix=prefix) as pairs:
        for key, _ in pairs:
            batch.delete(key)
            if len(batch) >= BATCH_DELETES:
                check()
                batch.write()
                batch.clear()
    if len(batch):
        batch.write()
