"""The download of a checkpoint from several peers at once."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

from vmsdk.chain.checkpoint import (
    CHUNK_BYTES,
    MANIFEST,
    NO_CHECKPOINT,
    Checkpoint,
    Manifest,
    Summary,
    request,
    sync,
)
from vmsdk.errors import AppError, InvalidInput, VMError
from vmsdk.ids import NodeID

MAX_IN_FLIGHT = 16
"""Requests at a time, each for 1 MiB."""
MAX_PER_PEER = 4
"""Requests to one peer at a time. A peer that has not sent anything valid yet gets one."""
RETRY_S = 5.0
"""How long a peer gets no request after a failed one, times the number of failures in a row."""
MAX_RETRY_S = 30.0
GIVE_UP_S = 120.0
"""A download fails if it gets nothing valid for this long."""
PROGRESS_S = 5.0
"""How often the progress is logged."""


class Requester(Protocol):
    """What a download needs from `vmsdk.p2p.Client`."""

    def request(self, node_id: NodeID, request: bytes) -> Future[bytes]: ...


@dataclass
class _Peer:
    in_flight: int = 0
    failures: int = 0
    """In a row."""
    retry_at: float = float("-inf")
    has_delivered: bool = False
    is_dropped: bool = False


class Progress:
    """Logs the progress of a task of *total* bytes, every few seconds."""

    def __init__(self, log: logging.Logger, task: str, total: int, clock: Callable[[], float]) -> None:
        self._log = log
        self._task = task
        self._total = total
        self._clock = clock
        self._logged_at = clock()

    def show(self, done: int) -> None:
        """Report that *done* bytes are done."""
        now = self._clock()
        if now - self._logged_at >= PROGRESS_S:
            self._logged_at = now
            self._log.info(
                "state sync: %s %d %% (%d of %d MiB)",
                self._task,
                100 * done // self._total,
                done >> 20,
                self._total >> 20,
            )


class Download:
    """Downloads the checkpoint of *summary* into *directory*. Resumes an interrupted download.

    Each chunk is checked against its hash. A peer that sends an invalid chunk, or does not have the
    checkpoint, gets no more requests; one that does not respond gets fewer.
    """

    def __init__(
        self,
        summary: Summary,
        directory: Path,
        client: Requester,
        peers: Callable[[], Iterable[NodeID]],
        log: logging.Logger,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._summary = summary
        self._directory = directory
        self._client = client
        self._connected = peers
        self._log = log
        self._clock = clock
        self._peers: dict[NodeID, _Peer] = {}
        # Finished requests, or None to look for peers again.
        self._events: SimpleQueue[tuple[NodeID, int, Future[bytes]] | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._advanced_at = clock()

    def wake(self) -> None:
        """Report that a peer has connected."""
        self._events.put(None)

    def stop(self) -> None:
        """Make `run` raise `VMError`."""
        self._stopping.set()
        self._events.put(None)

    def check(self) -> None:
        """Raise `VMError` after `stop`."""
        if self._stopping.is_set():
            raise VMError("the state sync was stopped")

    def run(self) -> Checkpoint:
        """Download what is missing. Raises `VMError` if no peer has it, `OSError` for the disk."""
        manifest = self._manifest()
        path = self._directory / "state"
        path.touch()
        with path.open("r+b", buffering=0) as file:
            file.truncate(manifest.length)
            missing = []
            for index in range(len(manifest.hashes)):
                self.check()
                if not manifest.matches(index, file.read(CHUNK_BYTES)):
                    missing.append(index)
            left = len(missing)
            total = len(manifest.hashes)
            self._log.info("state sync: downloading %d of %d chunks of 1 MiB", left, total)
            progress = Progress(self._log, "downloaded", manifest.length, self._clock)

            def keep(index: int, chunk: bytes) -> bool:
                nonlocal left
                if not manifest.matches(index, chunk):
                    return False
                file.seek(index * CHUNK_BYTES)
                file.write(chunk)
                left -= 1
                progress.show(min((total - left) * CHUNK_BYTES, manifest.length))
                return True

            self._fetch(missing, keep)
            sync(file)
        checkpoint = Checkpoint(self._directory, manifest)
        if checkpoint.block.id != self._summary.block_id or checkpoint.block.height != self._summary.height:
            raise InvalidInput("invalid checkpoint", "its block is not the one of the state summary")
        return checkpoint

    def _manifest(self) -> Manifest:
        path = self._directory / "manifest"
        try:
            manifest = Manifest.from_bytes(path.read_bytes())
            if manifest.root == self._summary.root:
                return manifest
        except (OSError, InvalidInput):
            pass
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        found: list[Manifest] = []

        def keep(_: int, raw: bytes) -> bool:
            try:
                found.append(Manifest.from_bytes(raw))
            except InvalidInput:
                return False
            return found[-1].root == self._summary.root

        self._fetch([MANIFEST], keep)
        path.write_bytes(found[-1].raw)  # checked by its hash when it is read again
        return found[-1]

    def _fetch(self, indexes: Iterable[int], keep: Callable[[int, bytes], bool]) -> None:
        """Request *indexes* from peers until *keep* has accepted each."""
        todo = deque(indexes)
        in_flight = 0
        self._advanced_at = self._clock()
        while todo or in_flight:
            self.check()
            while todo and in_flight < MAX_IN_FLIGHT and (node_id := self._next_peer()) is not None:
                self._send(node_id, todo.popleft())
                in_flight += 1
            finished = self._wait(in_flight)
            if finished is None:
                continue
            node_id, index, response = finished
            in_flight -= 1
            if self._take(node_id, index, response, keep):
                self._advanced_at = self._clock()
            else:
                todo.appendleft(index)

    def _send(self, node_id: NodeID, index: int) -> None:
        self._peers[node_id].in_flight += 1
        future = self._client.request(node_id, request(self._summary.root, index))
        future.add_done_callback(lambda future: self._events.put((node_id, index, future)))

    def _wait(self, in_flight: int) -> tuple[NodeID, int, Future[bytes]] | None:
        """Wait for a finished request. Returns None if there may be another peer to ask.

        The node ends each request in time.
        """
        now = self._clock()
        rest_s = self._advanced_at + GIVE_UP_S - now
        if rest_s <= 0:
            raise VMError(f"no peer has sent anything valid for {GIVE_UP_S:g} s")
        if in_flight:
            return self._events.get()
        retries = [peer.retry_at - now for peer in self._peers.values() if not peer.is_dropped]
        try:
            return self._events.get(timeout=max(0.0, min([rest_s, *retries])))
        except Empty:
            return None

    def _next_peer(self) -> NodeID | None:
        """The best peer that may get a request now; None if there is none."""
        now = self._clock()
        best: tuple[int, int] | None = None
        chosen = None
        for node_id in self._connected():
            peer = self._peers.setdefault(node_id, _Peer())
            if peer.is_dropped or peer.retry_at > now:
                continue
            if peer.in_flight < (MAX_PER_PEER if peer.has_delivered else 1):
                rank = (peer.failures, peer.in_flight)
                if best is None or rank < best:
                    best, chosen = rank, node_id
        return chosen

    def _take(
        self, node_id: NodeID, index: int, response: Future[bytes], keep: Callable[[int, bytes], bool]
    ) -> bool:
        """Process a response. Returns whether it was valid and is kept."""
        peer = self._peers[node_id]
        peer.in_flight -= 1
        try:
            chunk = response.result()
        except AppError as error:
            peer.failures += 1
            peer.retry_at = self._clock() + min(RETRY_S * peer.failures, MAX_RETRY_S)
            peer.is_dropped |= error.code in (NO_CHECKPOINT, AppError.UNREGISTERED_HANDLER)
            self._log.debug("state sync: %s failed to send chunk %d: %s", node_id, index, error)
            return False
        if keep(index, chunk):
            peer.failures, peer.has_delivered = 0, True
            return True
        if not peer.is_dropped:
            peer.is_dropped = True
            self._log.warning("state sync: dropped %s, which sent an invalid chunk", node_id)
        return False
