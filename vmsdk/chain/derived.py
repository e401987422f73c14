"""Followers: indexes of the accepted blocks."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from typing import ClassVar, Generic

from vmsdk.chain.feed import BlockT, Feed
from vmsdk.errors import VMError
from vmsdk.interface import Interface, must_not_hold

FIRST_RETRY_S = 1.0
MAX_RETRY_S = 60.0
JOIN_TIMEOUT_S = 2.0
"""How long `stop` waits for the current block. A node kills a plugin after 5 s."""


class Follower(Interface, Generic[BlockT]):
    """An index of accepted blocks: an SQLite file, a search engine, statistics.

    It runs in its own thread, and starts with the block after its `height`, so blocks that it
    missed because of a crash are applied at the next start. An index that stores the data of a
    block and the height in one transaction gets each block exactly once. Any other index must
    expect to get the last block twice.

    An exception does not stop the chain: it is logged, and the block is applied again after 1 s,
    then after ever longer pauses of up to 60 s. A chain that prunes its blocks keeps those that the
    index lacks.
    """

    @abstractmethod
    def height(self) -> int:
        """The height of the last block in the index, read from the index; -1 if it is empty."""

    @abstractmethod
    def apply(self, block: BlockT) -> None:
        """Add a block, and store its height in the same transaction."""

    def open(self) -> None:
        """Open the index. Called in the follower's thread, before the other methods."""

    def close(self) -> None:
        """Close the index. Called in the follower's thread, after the last block."""

    # Called by vmsdk ------------------------------------------------------------------------------

    _thread: threading.Thread | None = None
    _set_at_start: ClassVar[tuple[str, ...]] = (
        *("_thread", "_feed", "_log", "_applied", "_is_known", "_failure", "_stopping", "_changed"),
    )

    def start(self, feed: Feed[BlockT], log: logging.Logger) -> None:
        """Follow *feed* until `stop`. Called by `Chain.initialize`."""
        if "_is_known" not in vars(self):
            must_not_hold(self)
        elif self._thread is not None:
            raise VMError(f"{self._name} already follows a chain: create one object for each chain")
        self._feed = feed
        self._log = log
        self._applied = -1
        self._is_known = False  # until the index is open
        self._failure: BaseException | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"vmsdk-{self._name}", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = JOIN_TIMEOUT_S) -> None:
        """Stop after the current block. The feed must be closed. Idempotent."""
        if self._thread is None:
            return
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._log.warning(
                "%s did not stop within %g s; the block is applied again at the next start",
                self._name,
                timeout_s,
            )

    @property
    def needed(self) -> int | None:
        """The height of the first block that is not in the index; None until the index is open."""
        return self._applied + 1 if self._is_known else None

    # Called by handlers ---------------------------------------------------------------------------

    def wait_for(self, height: int, timeout: float | None = None) -> None:
        """Wait until the block at *height* is in the index, for at most *timeout* seconds.

        Raises `TimeoutError`, or `VMError` if the follower has stopped; either is chained to the
        index's last error, if any. Blocks, so call it from a plain handler, not an `async` one.
        """
        if self._thread is None:
            raise VMError(f"{self._name} doesn't follow a chain yet: return it from Chain.followers")
        with self._changed:
            self._changed.wait_for(lambda: self._applied >= height or self._stopping, timeout)
            if self._applied >= height:
                return
            if self._stopping:
                raise VMError(
                    f"{self._name} stopped at height {self._applied}, before {height}"
                ) from self._failure
            raise TimeoutError(
                f"{self._name} is still at height {self._applied}, not at {height}, after {timeout:g} s"
            ) from self._failure

    # The thread -----------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _run(self) -> None:
        pause_s, failed_at, is_open = FIRST_RETRY_S, -2, False
        while not self._stopping:
            try:
                if not is_open:
                    self.open()
                    is_open = True
                    self._log_lag()
                self._follow()
                break
            except BaseException as error:  # noqa: BLE001 - even SystemExit must be logged
                is_new = self._applied != failed_at
                pause_s = FIRST_RETRY_S if is_new else min(2 * pause_s, MAX_RETRY_S)
                failed_at, self._failure = self._applied, error
                self._log.error(
                    "%s failed at height %d: %r; trying again in %g s, and the chain continues",
                    self._name,
                    self._applied + 1,
                    error,
                    pause_s,
                    exc_info=error if is_new else None,
                )
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, pause_s)
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if is_open:
            try:
                self.close()
            except BaseException as error:  # noqa: BLE001 - the thread ends here
                self._log.error("%s.close raised %r", self._name, error, exc_info=error)

    def _log_lag(self) -> None:
        height, accepted = self._checked_height(), self._feed.height
        if height < accepted:
            self._log.info("%s is at height %d; replaying to %d", self._name, height, accepted)
        elif height > accepted:
            self._log.warning(
                "%s is at height %d, but the last accepted block is at %d: it waits for the chain to get "
                "there. If the index belongs to another chain, delete it",
                self._name,
                height,
                accepted,
            )

    def _checked_height(self) -> int:
        height: object = self.height()
        if not isinstance(height, int):
            raise TypeError(
                f"{self._name}.height returned {height!r}: return the last block's, or -1 if there is none"
            )
        return height

    def _follow(self) -> None:
        height = self._checked_height()
        self._advance(height)
        for block in self._feed.blocks(height + 1):
            if self._stopping:
                return
            self.apply(block)
            height = self._checked_height()
            if height != block.height:
                self._failure = VMError(
                    f"{self._name}.apply of block {block.height} left height() at {height}: store the "
                    "height in the same transaction as the data"
                )
                self._log.error("%s; it no longer follows the chain", self._failure)
                return
            self._advance(height)

    def _advance(self, height: int) -> None:
        with self._changed:
            self._applied, self._failure, self._is_known = height, None, True
            self._changed.notify_all()
