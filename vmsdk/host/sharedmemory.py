"""The service `sharedmemory.SharedMemory`: mailboxes between the chains of a subnet."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence

from vmsdk._pb.sharedmemory import sharedmemory_pb2 as pb
from vmsdk._pb.sharedmemory.sharedmemory_grpc import SharedMemory
from vmsdk.errors import NotFound
from vmsdk.host.database import DatabaseService
from vmsdk.host.service import NodeService, ServiceError
from vmsdk.host.sqlite import KeySpace, SQLiteDatabase
from vmsdk.ids import ID

# The codec version comes before the two IDs. Source: chains/atomic/memory.go.
_CODEC_VERSION = b"\0\0"

_VALUE, _INDEX, _SEQUENCE = b"v", b"i", b"s"
_NEWEST = 2**64 - 1


def shared_space_id(chain_id: ID, other_id: ID) -> ID:
    """Return the ID of the memory that two chains share, in whichever order they are given."""
    return ID.of(_CODEC_VERSION + min(chain_id, other_id) + max(chain_id, other_id))


class SharedMemoryService(NodeService):
    """Serves the mailboxes of *chain_id*. Batches are written to the chain's *database*."""

    service = SharedMemory

    def __init__(self, disk: SQLiteDatabase, chain_id: ID, database: DatabaseService) -> None:
        super().__init__()
        self._disk = disk
        self._chain_id = chain_id
        self._database = database

    def inbox(self, peer_chain_id: ID) -> Mailbox:
        """Return the mailbox from *peer_chain_id* to this chain."""
        return Mailbox(self._disk, sender=peer_chain_id, receiver=self._chain_id)

    def outbox(self, peer_chain_id: ID) -> Mailbox:
        """Return the mailbox from this chain to *peer_chain_id*."""
        return Mailbox(self._disk, sender=self._chain_id, receiver=peer_chain_id)

    def Get(self, request: pb.GetRequest) -> pb.GetResponse:
        inbox = self.inbox(ID(request.peer_chain_id))
        return pb.GetResponse(values=[inbox.get(key) for key in request.keys])

    def Indexed(self, request: pb.IndexedRequest) -> pb.IndexedResponse:
        values, last_trait, last_key = self.inbox(ID(request.peer_chain_id)).indexed(
            request.traits, request.start_trait, request.start_key, request.limit
        )
        return pb.IndexedResponse(values=values, last_trait=last_trait, last_key=last_key)

    def Apply(self, request: pb.ApplyRequest) -> pb.ApplyResponse:
        # The last of several requests for one peer counts.
        by_peer = {ID(atomic.peer_chain_id): atomic for atomic in request.requests}
        with self._disk.transaction():
            for peer_chain_id, atomic in by_peer.items():
                inbox, outbox = self.inbox(peer_chain_id), self.outbox(peer_chain_id)
                for key in atomic.remove_requests:
                    inbox.remove(key)
                for element in atomic.put_requests:
                    outbox.put(element.key, element.value, element.traits)
            for batch in request.batches:
                self._database.write(batch)
        return pb.ApplyResponse()


class Mailbox:
    """The values from chain *sender* to chain *receiver*. Tests play the peer chain with it."""

    def __init__(self, disk: SQLiteDatabase, *, sender: ID, receiver: ID) -> None:
        side = b"0" if receiver < sender else b"1"
        self._space: KeySpace = disk.space(b"shared/" + shared_space_id(sender, receiver) + side)

    def get(self, key: bytes) -> bytes:
        """Return the value. Raises `NotFound`, also for a key removed before it was put."""
        element = self._load(key)
        if element is None or not element.present:
            raise NotFound
        return element.value

    def put(self, key: bytes, value: bytes, traits: Sequence[bytes] = ()) -> None:
        """Put *value* unless *key* was removed. Raises `ServiceError` if *key* has a value."""
        with self._space.database.transaction():
            element = self._load(key)
            if element is not None:
                if element.present:
                    raise ServiceError(f"duplicate put: Key=0x{key.hex()} Value=0x{value.hex()}")
                self._space.delete(_VALUE + key)
                return
            sequence = int.from_bytes(self._space.get(_SEQUENCE) or b"", "big") + 1
            self._space.put(_SEQUENCE, sequence.to_bytes(8, "big"))
            for trait in traits:
                self._space.put(_index_key(trait, sequence), key)
            self._space.put(_VALUE + key, _Element(True, sequence, tuple(traits), value).pack())

    def remove(self, key: bytes) -> None:
        """Remove the value, or leave a tombstone. Raises `ServiceError` if there is a tombstone."""
        with self._space.database.transaction():
            element = self._load(key)
            if element is None:
                self._space.put(_VALUE + key, _Element(False, 0, (), b"").pack())
                return
            if not element.present:
                raise ServiceError(f"duplicate remove: Key=0x{key.hex()}")
            for trait in element.traits:
                self._space.delete(_index_key(trait, element.sequence))
            self._space.delete(_VALUE + key)

    def indexed(
        self, traits: Sequence[bytes], start_trait: bytes, start_key: bytes, limit: int
    ) -> tuple[list[bytes], bytes, bytes]:
        """Return up to *limit* values by trait, newest first, and the last one's trait and key."""
        keys: dict[bytes, None] = {}
        last_trait, last_key = start_trait, start_key
        for trait in sorted(traits):
            if trait < start_trait:
                continue
            last_trait, last_key = trait, start_key if trait == start_trait else b""
            for key in self._keys(trait, last_key):
                if len(keys) >= limit:
                    break
                last_key = key
                keys[key] = None
            if len(keys) >= limit:
                break
        return [self.get(key) for key in keys], last_trait, last_key

    def _keys(self, trait: bytes, start_key: bytes) -> Iterator[bytes]:
        """Yield the keys with *trait*, newest first, from *start_key* on if it has the trait."""
        start = _index_key(trait, _NEWEST)
        element = self._load(start_key)
        if element is not None and trait in element.traits:
            start = _index_key(trait, element.sequence)
        iterator = self._space.iterate(
            prefix=start[: len(_INDEX) + hashlib.sha256().digest_size], start=start
        )
        try:
            yield from (key for _, key in iterator)
        finally:
            iterator.release()

    def _load(self, key: bytes) -> _Element | None:
        data = self._space.get(_VALUE + key)
        return None if data is None else _Element.unpack(data)


def _index_key(trait: bytes, sequence: int) -> bytes:
    # Keys in ascending order have descending sequence numbers: newest first.
    return _INDEX + hashlib.sha256(trait).digest() + struct.pack(">Q", _NEWEST - sequence)


class _Element:
    """What is stored for a key: a value with its traits, or a tombstone."""

    def __init__(self, present: bool, sequence: int, traits: tuple[bytes, ...], value: bytes) -> None:
        self.present = present
        self.sequence = sequence
        self.traits = traits
        self.value = value

    def pack(self) -> bytes:
        head = struct.pack(">?QI", self.present, self.sequence, len(self.traits))
        return head + b"".join(struct.pack(">I", len(trait)) + trait for trait in self.traits) + self.value

    @classmethod
    def unpack(cls, data: bytes) -> _Element:
        present, sequence, count = struct.unpack_from(">?QI", data)
        offset = struct.calcsize(">?QI")
        traits = []
        for _ in range(count):
            (length,) = struct.unpack_from(">I", data, offset)
            traits.append(data[offset + 4 : offset + 4 + length])
            offset += 4 + length
        return cls(present, sequence, tuple(traits), data[offset:])
