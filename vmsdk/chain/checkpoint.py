"""Checkpoints: the complete state after a block, in files that peers download.

A checkpoint is a directory with two files, the same on every node:

- `state`: the length of the block (4 bytes, big-endian) and the block; then for each pair, in order
  of the keys, the lengths of key and value (4 bytes each), the key and the value.
- `manifest`: the length of `state` (8 bytes), and the SHA-256 of each MiB of it.

The SHA-256 of the manifest is the checkpoint's root. A state summary, on which the nodes of a
network agree, contains it.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import shutil
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from vmsdk.chain.block import Block
from vmsdk.errors import AppError, InvalidBlock, InvalidInput, NotFound, VMError
from vmsdk.ids import ID, NodeID
from vmsdk.p2p.handler import Handler
from vmsdk.statesync import StateSummary, StateSyncMode
from vmsdk.timestamp import Timestamp

CHUNK_BYTES = 1024 * 1024
"""The size of a response. A message between nodes holds 2 MiB."""
MAX_CHUNKS = 49_152
"""48 GiB. The manifest must fit in a message, too."""
KEPT = 2
"""A node keeps the last two checkpoints, so that peers can finish their downloads."""

MANIFEST = 0xFFFFFFFF
"""The index of the manifest in a request."""
NO_CHECKPOINT = 1
"""The code of the `AppError` for a checkpoint that the node does not have."""

_SUMMARY = struct.Struct(">HQ32s32s")  # version, height, block ID, root
_SUMMARY_VERSION = 0
_REQUEST = struct.Struct(">32sI")  # root, index of the chunk
_PAIR = struct.Struct(">II")
_LENGTH = struct.Struct(">I")
_SIZE = struct.Struct(">Q")


@dataclass(frozen=True)
class Summary(StateSummary):
    """The state summary of a checkpoint: 74 bytes, the same on every node."""

    height: int
    block_id: ID
    root: bytes
    """32 bytes: the SHA-256 of the checkpoint's manifest."""
    on_accept: Callable[[Summary], StateSyncMode] = field(repr=False, compare=False)

    @cached_property
    def raw(self) -> bytes:
        return _SUMMARY.pack(_SUMMARY_VERSION, self.height, self.block_id, self.root)

    @cached_property
    def id(self) -> ID:
        return ID.of(self.raw)

    def accept(self) -> StateSyncMode:
        return self.on_accept(self)

    @classmethod
    def from_bytes(cls, raw: bytes, on_accept: Callable[[Summary], StateSyncMode]) -> Summary:
        """Decode a summary. Raises `InvalidBlock`."""
        if len(raw) != _SUMMARY.size:
            raise InvalidBlock(f"a state summary has {_SUMMARY.size} bytes, not {len(raw)}")
        version, height, block_id, root = _SUMMARY.unpack(raw)
        if version != _SUMMARY_VERSION:
            raise InvalidBlock(
                f"unknown version {version} of a state summary: this chain has {_SUMMARY_VERSION}"
            )
        return cls(height, ID(block_id), root, on_accept)


@dataclass(frozen=True)
class Manifest:
    """The length of a checkpoint's state file and the hashes of its chunks."""

    length: int
    hashes: tuple[bytes, ...]

    @cached_property
    def raw(self) -> bytes:
        return _SIZE.pack(self.length) + b"".join(self.hashes)

    @cached_property
    def root(self) -> bytes:
        return hashlib.sha256(self.raw).digest()

    def size(self, index: int) -> int:
        """The length of the chunk at *index*: `CHUNK_BYTES`, except for the last."""
        return min(CHUNK_BYTES, self.length - index * CHUNK_BYTES)

    def matches(self, index: int, chunk: bytes) -> bool:
        """Whether *chunk* is the chunk at *index*."""
        return len(chunk) == self.size(index) and hashlib.sha256(chunk).digest() == self.hashes[index]

    @classmethod
    def from_bytes(cls, raw: bytes) -> Manifest:
        """Decode a manifest. Raises `InvalidInput`."""
        hashes = raw[_SIZE.size :]
        length = int.from_bytes(raw[: _SIZE.size], "big")
        if not length or len(hashes) != 32 * -(-length // CHUNK_BYTES):
            raise InvalidInput("invalid manifest", f"{len(raw)} bytes for a state of {length}")
        return cls(length, tuple(hashes[start : start + 32] for start in range(0, len(hashes), 32)))


class Checkpoint:
    """A complete checkpoint in *directory*."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory = directory
        self.manifest = manifest
        with self._open() as file:
            self.block = Block.from_bytes(file.read(_LENGTH.unpack(file.read(_LENGTH.size))[0]))

    @classmethod
    def load(cls, directory: Path) -> Checkpoint:
        """The checkpoint in *directory*. Raises `OSError`, `VMError` or `struct.error`."""
        manifest = Manifest.from_bytes((directory / "manifest").read_bytes())
        size = (directory / "state").stat().st_size
        if size != manifest.length:
            raise InvalidInput("invalid checkpoint", f"{size} bytes of state, not {manifest.length}")
        return cls(directory, manifest)

    def chunk(self, index: int) -> bytes:
        """Read a chunk of the state file. Raises `OSError` if the file no longer exists."""
        with self._open() as file:
            file.seek(index * CHUNK_BYTES)
            return file.read(CHUNK_BYTES)

    def pairs(self) -> Iterator[tuple[bytes, bytes, int]]:
        """Yield the pairs of the state in order, each with the offset of its end in the file."""
        with self._open() as file:
            offset = _LENGTH.size + len(self.block.raw)
            file.seek(offset)
            while offset < self.manifest.length:
                key_length, value_length = _PAIR.unpack(file.read(_PAIR.size))
                key, value = file.read(key_length), file.read(value_length)
                offset += _PAIR.size + key_length + value_length
                yield key, value, offset

    def _open(self) -> BinaryIO:
        return (self.directory / "state").open("rb", buffering=CHUNK_BYTES)


def write(directory: Path, block: Block, pairs: Iterable[tuple[bytes, bytes]]) -> Checkpoint:
    """Write a checkpoint of the state after *block*, atomically.

    Raises `OSError`, and `VMError` if the state is too large.
    """
    temporary = directory.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        manifest = _write_files(temporary, block, pairs)
        shutil.rmtree(directory, ignore_errors=True)
        temporary.rename(directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_directory(directory.parent)
    return Checkpoint(directory, manifest)


def _write_files(directory: Path, block: Block, pairs: Iterable[tuple[bytes, bytes]]) -> Manifest:
    directory.mkdir(parents=True)
    hashes: list[bytes] = []
    buffer = bytearray(_LENGTH.pack(len(block.raw)) + block.raw)
    with (directory / "state").open("wb") as file:

        def flush(least: int) -> None:
            while len(buffer) >= least and buffer:
                chunk = bytes(buffer[:CHUNK_BYTES])
                del buffer[:CHUNK_BYTES]
                hashes.append(hashlib.sha256(chunk).digest())
                file.write(chunk)
            if len(hashes) > MAX_CHUNKS:
                raise VMError(f"the state is larger than {MAX_CHUNKS * CHUNK_BYTES >> 30} GiB")

        for key, value in pairs:
            buffer += _PAIR.pack(len(key), len(value))
            buffer += key
            buffer += value
            if len(buffer) >= CHUNK_BYTES:
                flush(CHUNK_BYTES)
        flush(0)
        length = file.tell()
        sync(file)
    manifest = Manifest(length, tuple(hashes))
    with (directory / "manifest").open("wb") as file:
        file.write(manifest.raw)
        sync(file)
    return manifest


def sync(file: io.RawIOBase | BinaryIO) -> None:
    """Flush a file to the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Flush a directory to the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def request(root: bytes, index: int) -> bytes:
    """Encode a request for a chunk or the manifest."""
    return _REQUEST.pack(root, index)


class Checkpoints(Handler):
    """The checkpoints in *directory*, for peers to download. Thread-safe."""

    def __init__(self, directory: Path, log: logging.Logger) -> None:
        self._directory = directory
        self._log = log
        self._lock = threading.Lock()
        self._by_height: dict[int, Checkpoint] = {}

    def load(self, last_height: int) -> None:
        """Load the checkpoints of an earlier run. Delete those that are incomplete or above
        *last_height*.
        """
        for path in self._directory.iterdir() if self._directory.is_dir() else ():
            if path.name == "download":
                continue
            try:
                checkpoint = Checkpoint.load(path)
                if path.name != str(checkpoint.block.height) or checkpoint.block.height > last_height:
                    raise InvalidInput("invalid checkpoint", "it belongs to another chain")
            except (OSError, VMError, struct.error) as error:
                self._log.info("deleted the invalid checkpoint %s: %s", path, error)
                shutil.rmtree(path, ignore_errors=True)
            else:
                self.add(checkpoint)

    def path(self, height: int) -> Path:
        """The directory of a checkpoint."""
        return self._directory / str(height)

    def add(self, checkpoint: Checkpoint) -> None:
        """Offer a checkpoint to peers, and delete all except the last two."""
        with self._lock:
            self._by_height[checkpoint.block.height] = checkpoint
            old = [self._by_height.pop(height) for height in sorted(self._by_height)[:-KEPT]]
        for each in old:
            shutil.rmtree(each.directory, ignore_errors=True)

    def last(self) -> Checkpoint:
        """The newest checkpoint. Raises `NotFound`."""
        with self._lock:
            height = max(self._by_height, default=0)
        return self.at(height)

    def at(self, height: int) -> Checkpoint:
        """The checkpoint at *height*. Raises `NotFound`."""
        checkpoint = self._by_height.get(height)
        if checkpoint is None:
            raise NotFound(f"no checkpoint at height {height}")
        return checkpoint

    def __contains__(self, height: int) -> bool:
        return height in self._by_height

    def app_request(self, node_id: NodeID, deadline: Timestamp, request: bytes) -> bytes:
        """Return a chunk, or the manifest."""
        if len(request) != _REQUEST.size:
            raise AppError(AppError.UNEXPECTED, f"a request has {_REQUEST.size} bytes, not {len(request)}")
        root, index = _REQUEST.unpack(request)
        with self._lock:
            found = [each for each in self._by_height.values() if each.manifest.root == root]
        try:
            if found and index == MANIFEST:
                return found[0].manifest.raw
            if found and index < len(found[0].manifest.hashes):
                return found[0].chunk(index)
        except OSError as error:
            self._log.warning("can't read a checkpoint for %s: %s", node_id, error)
        raise AppError(NO_CHECKPOINT, "this node does not have the checkpoint")
