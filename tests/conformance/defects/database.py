"""Defects in using the node's database."""

from __future__ import annotations

import hashlib
import threading
import time

import grpc
from google.protobuf.empty_pb2 import Empty

from tests.conformance.goodvm import Block, GoodVM
from vmsdk._pb.rpcdb import rpcdb_pb2
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk._pb.vm import vm_pb2 as pb


class LeaksIterators(GoodVM):
    """Each accept opens an iterator and does not release it."""

    found_by = "database.iterators-are-released"

    def accept(self, block: Block) -> None:
        super().accept(block)
        request = rpcdb_pb2.NewIteratorWithStartAndPrefixRequest(prefix=b"height")
        self.call(self.database, Database.NewIteratorWithStartAndPrefix, request)


class VerifyWritesTheBlock(GoodVM):
    """BlockVerify stores the block."""

    found_by = "database.nothing-is-written-before-accept"

    def verify(self, block: Block) -> None:
        super().verify(block)
        self.write({b"block" + block.id: block.raw})


class BatchRepeatsKeys(GoodVM):
    """A batch has every write to a key, not only the last."""

    found_by = "database.batch-has-each-key-once"

    def write(self, puts: dict[bytes, bytes]) -> None:
        pairs = [(b"last", self.last_accepted), *puts.items()]
        batch = [rpcdb_pb2.PutRequest(key=key, value=value) for key, value in pairs]
        self.call(self.database, Database.WriteBatch, rpcdb_pb2.WriteBatchRequest(puts=batch))


class SwallowsFailedWrites(GoodVM):
    """BlockAccept succeeds although its write failed."""

    found_by = "database.failed-write-stops-the-vm"

    def write(self, puts: dict[bytes, bytes]) -> None:
        try:
            super().write(puts)
        except Exception:  # noqa: BLE001
            self.failure = None


class WritesAfterAFailedWrite(GoodVM):
    """Shutdown writes although a write has failed."""

    found_by = "database.failed-write-stops-the-vm"

    def Shutdown(self, request: Empty) -> Empty:
        self.failure = None
        self.write({b"clean": b"yes"})
        return super().Shutdown(request)


class IgnoresErrFields(GoodVM):
    """A write to a closed database counts as done."""

    found_by = "database.closed-database-fails-the-accept"

    def write(self, puts: dict[bytes, bytes]) -> None:
        try:
            super().write(puts)
        except ValueError:
            self.failure = None


class UnreadableIsNotFound(GoodVM):
    """A block that can't be read is reported as missing."""

    found_by = "database.failed-read-is-not-missing"

    def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
        try:
            return super().GetBlock(request)
        except Exception:  # noqa: BLE001
            return pb.GetBlockResponse(err=pb.ERROR_NOT_FOUND)


class WritesAfterShutdown(GoodVM):
    """A thread writes after Shutdown has returned."""

    found_by = "database.nothing-is-written-after-shutdown"

    def Shutdown(self, request: Empty) -> Empty:
        self.shut_down.set()
        threading.Thread(target=self.write_on, daemon=True).start()
        return Empty()

    def write_on(self) -> None:
        while True:
            self.write({b"clean": b"yes"})
            threading.Event().wait(0.05)


class AcceptInTwoWrites(GoodVM):
    """BlockAccept writes the tip, then the block."""

    found_by = "database.accept-is-atomic"

    def write(self, puts: dict[bytes, bytes]) -> None:
        super().write({b"last": puts.pop(b"last")})
        super().write(puts)


class HurriesTheDatabase(GoodVM):
    """It gives each write a second."""

    found_by = "database.slow-write-is-awaited"

    def write(self, puts: dict[bytes, bytes]) -> None:
        began_s = time.monotonic()
        super().write(puts)
        if time.monotonic() - began_s > 1:
            raise TimeoutError("the database did not respond in time")


class StoresGossip(GoodVM):
    """All gossip is stored before it is looked at."""

    found_by = "database.garbage-is-not-stored"

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        self.write({b"gossip" + hashlib.sha256(request.msg).digest(): request.msg})
        return super().AppGossip(request)


class GossipLog(GoodVM):
    """All gossip is appended to one value."""

    found_by = "database.garbage-is-not-stored"

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        self.write({b"gossip": (self.get(b"gossip") or b"") + request.msg})
        return super().AppGossip(request)


class CountsQuestions(GoodVM):
    """GetBlock counts in the database how often each ID was asked for."""

    found_by = "database.garbage-is-not-stored"

    def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
        self.write({b"asked" + request.id: b"1"})
        return super().GetBlock(request)


class LeaksIteratorsOfRequests(GoodVM):
    """Each request of a peer opens an iterator and does not release it."""

    found_by = "database.iterators-are-released"

    def AppRequest(self, request: pb.AppRequestMsg) -> Empty:
        iterator = rpcdb_pb2.NewIteratorWithStartAndPrefixRequest(prefix=request.request)
        self.call(self.database, Database.NewIteratorWithStartAndPrefix, iterator)
        return super().AppRequest(request)


class LeaksIteratorsOfFailures(GoodVM):
    """BuildBlock releases its iterator only if it builds a block."""

    found_by = "database.iterators-are-released"

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        iterator = rpcdb_pb2.NewIteratorWithStartAndPrefixRequest(prefix=b"height")
        opened = self.call(self.database, Database.NewIteratorWithStartAndPrefix, iterator)
        response = super().BuildBlock(request)
        self.call(self.database, Database.IteratorRelease, rpcdb_pb2.IteratorReleaseRequest(id=opened.id))
        return response


class GenesisInTwoWrites(GoodVM):
    """The first Initialize writes the tip, then genesis."""

    found_by = "database.initialize-is-atomic"

    def accept(self, block: Block) -> None:
        if not block.height:
            self.write({b"last": block.id})
        super().accept(block)


class UnreadableIsANewChain(GoodVM):
    """Initialize takes an error of the database for an empty one."""

    found_by = "database.failed-read-is-no-new-chain"

    def get(self, key: bytes) -> bytes | None:
        try:
            return super().get(key)
        except grpc.RpcError:
            return self.genesis if key.startswith(b"block") else None


class StoresASet(GoodVM):
    """The order of what it stores depends on the hash seed."""

    found_by = "database.same-blocks-give-the-same-database"

    def writes(self, block: Block) -> dict[bytes, bytes]:
        accounts = {"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"}
        return {**super().writes(block), b"accounts": ",".join(accounts).encode()}


class StoresLocalTime(GoodVM):
    """It stores each block's time as text, in the node's time zone."""

    found_by = "database.same-blocks-give-the-same-database"

    def writes(self, block: Block) -> dict[bytes, bytes]:
        return {**super().writes(block), b"time": time.ctime(block.seconds).encode()}
