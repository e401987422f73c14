"""A correct VM on nothing but grpcio. Each defect in `defects/` is a subclass of it.

A transaction is 8 bytes: the start of the SHA-256 of what is POSTed to the chain. A block is 8
bytes of height, 8 of Unix seconds, 32 of the parent's ID, and its transactions; its ID is the
SHA-256 of that. A transaction is accepted once. Genesis has height 0, time 0, and the genesis bytes
instead of transactions.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import queue
import signal
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from vmsdk._pb.appsender import appsender_pb2
from vmsdk._pb.appsender.appsender_grpc import AppSender
from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk._pb.messenger import messenger_pb2
from vmsdk._pb.messenger.messenger_grpc import Messenger
from vmsdk._pb.rpcdb import rpcdb_pb2
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk._pb.vm.runtime import runtime_pb2
from vmsdk._pb.vm.runtime.runtime_grpc import Runtime
from vmsdk._pb.vm.vm_grpc import VM

ENGINE_ADDRESS_KEY = "AVALANCHE_VM_RUNTIME_ENGINE_ADDR"
UNLIMITED = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
]
HEADER = struct.Struct(">QQ32s")
TRANSACTION_BYTES = 8
MAX_FUTURE_S = 10
NODE_TIMEOUT_S = 20


def command(protocol: int, defect: str = "") -> list[str]:
    """Return what starts this VM, or a defect of it: `blocks:UnstableIDs` is a class in
    `defects/blocks.py`.
    """
    return [sys.executable, __file__, str(protocol), defect]


@dataclass(frozen=True)
class Block:
    """A block as it is on the wire, taken apart."""

    raw: bytes
    height: int
    seconds: int
    parent_id: bytes
    body: bytes

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.raw).digest()

    @property
    def transactions(self) -> list[bytes]:
        if not self.height:
            return []
        return [self.body[i : i + TRANSACTION_BYTES] for i in range(0, len(self.body), TRANSACTION_BYTES)]


class GoodVM:
    """Each method of `vm.VM` by its name. An exception becomes the status UNKNOWN with its text."""

    found_by: ClassVar[str] = ""
    """The check that must find this defect."""
    at_protocol: ClassVar[int] = 45
    """The protocol version at which it must."""
    interface: ClassVar[str] = "127.0.0.1"
    workers: ClassVar[int] = 32
    options: ClassVar[list[tuple[str, int]]] = UNLIMITED
    has_health_service: ClassVar[bool] = True
    lacks: ClassVar[tuple[str, ...]] = ()
    """The methods that are not served."""

    def __init__(self, protocol: int) -> None:
        self.protocol = protocol
        self.lock = threading.RLock()
        """Held during each call except `WaitForEvent`."""
        self.wake = threading.Condition()
        """Guards `pending`; notified when there may be work, and at the end."""
        self.pending: list[bytes] = []
        """The transactions that are not accepted yet."""
        self.undecided: dict[bytes, Block] = {}
        self.preferred = b""
        self.last_accepted = b""
        self.state = 0
        self.genesis = b""
        self.database: grpc.Channel | None = None
        self.node: grpc.Channel | None = None
        self.failure: Exception | None = None
        """The database write that failed: nothing is written after it."""
        self.shut_down = threading.Event()
        self.address = ""

    # The node's services

    def call(self, channel: grpc.Channel | None, method: Any, request: Any) -> Any:
        if channel is None:
            raise ValueError("not initialized")
        return method.on(channel)(request, timeout=NODE_TIMEOUT_S)

    def get(self, key: bytes) -> bytes | None:
        response = self.call(self.database, Database.Get, rpcdb_pb2.GetRequest(key=key))
        return None if response.err else response.value

    def write(self, puts: dict[bytes, bytes]) -> None:
        """Write in one batch. After a failure, nothing is written any more."""
        if self.failure is not None:
            raise self.failure
        pairs = [rpcdb_pb2.PutRequest(key=key, value=value) for key, value in puts.items()]
        try:
            response = self.call(self.database, Database.WriteBatch, rpcdb_pb2.WriteBatchRequest(puts=pairs))
            if response.err:
                raise ValueError("the database is closed")
        except Exception as error:
            self.failure = error
            raise

    def changed(self) -> None:
        """Report work: to `WaitForEvent`, or up to protocol 41 to the node."""
        with self.wake:
            self.wake.notify_all()
            work = self.has_work()
        if work and self.protocol < 42:
            try:
                request = messenger_pb2.NotifyRequest(message=messenger_pb2.MESSAGE_BUILD_BLOCK)
                self.call(self.node, Messenger.Notify, request)
            except grpc.RpcError:
                pass  # "full message queue": the node knows already.

    # Blocks

    def parse(self, data: bytes) -> Block:
        if len(data) < HEADER.size:
            raise ValueError("too short for a block")
        height, seconds, parent_id = HEADER.unpack_from(data)
        block = Block(data, height, seconds, parent_id, data[HEADER.size :])
        if not height and data != self.genesis:
            raise ValueError("another genesis block")
        if height and (not block.body or len(block.body) % TRANSACTION_BYTES):
            raise ValueError("the transactions have a wrong length")
        if seconds > 253_402_300_799:
            raise ValueError("the time is after the year 9999")
        return block

    def find(self, block_id: bytes) -> Block | None:
        """An undecided or accepted block."""
        if block_id in self.undecided:
            return self.undecided[block_id]
        data = self.get(b"block" + block_id)
        return None if data is None else self.parse(data)

    def tip(self) -> Block:
        block = self.find(self.last_accepted)
        if block is None:
            raise ValueError("the last accepted block is missing")
        return block

    def branch(self, block_id: bytes) -> set[bytes]:
        """The transactions in the undecided blocks from *block_id* down."""
        found: set[bytes] = set()
        # WaitForEvent runs beside the calls that decide blocks.
        while (block := self.undecided.get(block_id)) is not None:
            found.update(block.transactions)
            block_id = block.parent_id
        return found

    def new_transactions(self) -> list[bytes]:
        included = self.branch(self.preferred)
        with self.wake:
            return [transaction for transaction in self.pending if transaction not in included]

    def has_work(self) -> bool:
        return self.state == pb.STATE_NORMAL_OP and bool(self.new_transactions())

    def verify(self, block: Block) -> None:
        parent = self.find(block.parent_id)
        if parent is None:
            raise ValueError("unknown parent")
        if block.height != parent.height + 1:
            raise ValueError("the height does not follow the parent's")
        if not parent.seconds <= block.seconds <= time.time() + MAX_FUTURE_S:
            raise ValueError("the time is before the parent's or in the future")
        spent = self.branch(block.parent_id)
        for transaction in block.transactions:
            if transaction in spent or self.get(b"transaction" + transaction) is not None:
                raise ValueError("a transaction is accepted twice")
            spent.add(transaction)
        self.undecided[block.id] = block

    def writes(self, block: Block) -> dict[bytes, bytes]:
        """What accepting *block* writes."""
        height = struct.pack(">Q", block.height)
        puts = {b"block" + block.id: block.raw, b"height" + height: block.id, b"last": block.id}
        puts.update({b"transaction" + transaction: height for transaction in block.transactions})
        return puts

    def accept(self, block: Block) -> None:
        self.write(self.writes(block))
        self.last_accepted = block.id
        accepted = set(block.transactions)
        with self.wake:
            self.pending = [transaction for transaction in self.pending if transaction not in accepted]

    def reject(self, block: Block) -> None:
        """Nothing to do: the transactions are still pending."""

    def take(self, block_id: bytes) -> Block:
        """Remove a block from the undecided ones."""
        if block_id not in self.undecided:
            raise ValueError("not found")
        return self.undecided.pop(block_id)

    def status(self, block: Block) -> pb.Status.ValueType:
        """What protocol 35 sends."""
        return pb.STATUS_PROCESSING if block.height > self.tip().height else pb.STATUS_ACCEPTED

    @staticmethod
    def timestamp(block: Block) -> Timestamp:
        return Timestamp(seconds=block.seconds)

    def last_accepted_fields(self) -> dict[str, Any]:
        block = self.tip()
        return {
            "last_accepted_id": block.id,
            "last_accepted_parent_id": block.parent_id,
            "height": block.height,
            "timestamp": self.timestamp(block),
            "bytes": block.raw,
        }

    def parsed(self, data: bytes) -> pb.ParseBlockResponse:
        block = self.parse(data)
        return pb.ParseBlockResponse(
            id=block.id,
            parent_id=block.parent_id,
            height=block.height,
            timestamp=self.timestamp(block),
            status=self.status(block),
        )

    @staticmethod
    def check_id(value: bytes) -> bytes:
        if len(value) != 32:
            raise ValueError(f"invalid hash length: expected 32 bytes but got {len(value)}")
        return value

    # vm.VM: life

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        self.database = grpc.insecure_channel(request.db_server_addr, UNLIMITED)
        self.node = grpc.insecure_channel(request.server_addr, UNLIMITED)
        self.genesis = HEADER.pack(0, 0, bytes(32)) + request.genesis_bytes
        self.last_accepted = self.get(b"last") or b""
        if not self.last_accepted:
            self.accept(self.parse(self.genesis))
        self.preferred = self.last_accepted
        return pb.InitializeResponse(**self.last_accepted_fields())

    def SetState(self, request: pb.SetStateRequest) -> pb.SetStateResponse:
        if request.state not in (pb.STATE_STATE_SYNCING, pb.STATE_BOOTSTRAPPING, pb.STATE_NORMAL_OP):
            raise ValueError("unknown state")
        self.state = request.state
        self.changed()
        return pb.SetStateResponse(**self.last_accepted_fields())

    def Shutdown(self, request: Empty) -> Empty:
        self.shut_down.set()
        with self.wake:
            self.wake.notify_all()
        for channel in (self.database, self.node):
            if channel is not None:
                channel.close()
        return Empty()

    def CreateHandlers(self, request: Empty) -> pb.CreateHandlersResponse:
        return pb.CreateHandlersResponse(handlers=[pb.Handler(prefix="", server_addr=self.address)])

    def NewHTTPHandler(self, request: Empty) -> pb.NewHTTPHandlerResponse:
        return pb.NewHTTPHandlerResponse()

    def CreateHTTP2Handler(self, request: Empty) -> pb.CreateHTTP2HandlerResponse:
        return pb.CreateHTTP2HandlerResponse()

    def Health(self, request: Empty) -> pb.HealthResponse:
        return pb.HealthResponse(details=b'{"database":null,"health":null}')

    def Version(self, request: Empty) -> pb.VersionResponse:
        return pb.VersionResponse(version="good/1.0.0")

    def Gather(self, request: Empty) -> pb.GatherResponse:
        return pb.GatherResponse()

    # vm.VM: peers

    def Connected(self, request: pb.ConnectedRequest) -> Empty:
        return Empty()

    def Disconnected(self, request: pb.DisconnectedRequest) -> Empty:
        return Empty()

    def AppRequest(self, request: pb.AppRequestMsg) -> Empty:
        """Respond with an error: this VM knows no request."""
        error = appsender_pb2.SendAppErrorMsg(node_id=request.node_id, request_id=request.request_id)
        self.call(self.node, AppSender.SendAppError, error)
        return Empty()

    def AppResponse(self, request: pb.AppResponseMsg) -> Empty:
        return Empty()

    def AppRequestFailed(self, request: pb.AppRequestFailedMsg) -> Empty:
        return Empty()

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        return Empty()

    def CrossChainAppRequest(self, request: pb.CrossChainAppRequestMsg) -> Empty:
        return Empty()

    def CrossChainAppResponse(self, request: pb.CrossChainAppResponseMsg) -> Empty:
        return Empty()

    def CrossChainAppRequestFailed(self, request: pb.CrossChainAppRequestFailedMsg) -> Empty:
        return Empty()

    # vm.VM: blocks

    def WaitForEvent(self, request: Empty, context: grpc.ServicerContext) -> pb.WaitForEventResponse:
        def wake() -> None:
            with self.wake:
                self.wake.notify_all()

        context.add_callback(wake)
        with self.wake:
            self.wake.wait_for(lambda: self.has_work() or self.shut_down.is_set() or not context.is_active())
        if self.shut_down.is_set():
            raise ValueError("shut down")
        return pb.WaitForEventResponse(message=pb.MESSAGE_BUILD_BLOCK)

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        transactions = self.new_transactions()
        parent = self.find(self.preferred)
        if not transactions or parent is None:
            raise ValueError("nothing to build")
        seconds = max(parent.seconds, int(time.time()))
        header = HEADER.pack(parent.height + 1, seconds, parent.id)
        return self.response_of(self.parse(header + b"".join(transactions)))

    def response_of(self, block: Block) -> pb.BuildBlockResponse:
        return pb.BuildBlockResponse(
            id=block.id,
            parent_id=block.parent_id,
            bytes=block.raw,
            height=block.height,
            timestamp=self.timestamp(block),
        )

    def ParseBlock(self, request: pb.ParseBlockRequest) -> pb.ParseBlockResponse:
        return self.parsed(request.bytes)

    def BatchedParseBlock(self, request: pb.BatchedParseBlockRequest) -> pb.BatchedParseBlockResponse:
        return pb.BatchedParseBlockResponse(response=[self.parsed(data) for data in request.request])

    def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
        block = self.find(self.check_id(request.id))
        if block is None:
            return pb.GetBlockResponse(err=pb.ERROR_NOT_FOUND)
        return pb.GetBlockResponse(
            parent_id=block.parent_id,
            bytes=block.raw,
            height=block.height,
            timestamp=self.timestamp(block),
            status=self.status(block),
        )

    def GetBlockIDAtHeight(self, request: pb.GetBlockIDAtHeightRequest) -> pb.GetBlockIDAtHeightResponse:
        found = self.get(b"height" + struct.pack(">Q", request.height))
        if found is None:
            return pb.GetBlockIDAtHeightResponse(err=pb.ERROR_NOT_FOUND)
        return pb.GetBlockIDAtHeightResponse(blk_id=found)

    def GetAncestors(self, request: pb.GetAncestorsRequest) -> pb.GetAncestorsResponse:
        begun = time.monotonic_ns()
        response = pb.GetAncestorsResponse()
        block = self.find(self.check_id(request.blk_id))
        size = 0
        while block is not None:
            size += len(block.raw) + 4
            if response.blks_bytes and size > request.max_blocks_size:
                break
            response.blks_bytes.append(block.raw)
            if len(response.blks_bytes) >= request.max_blocks_num:
                break
            if time.monotonic_ns() - begun >= request.max_blocks_retrival_time:
                break
            block = self.find(block.parent_id)
        return response

    def SetPreference(self, request: pb.SetPreferenceRequest) -> Empty:
        if self.find(self.check_id(request.id)) is None:
            raise ValueError("not found")
        self.preferred = request.id
        self.changed()
        return Empty()

    def BlockVerify(self, request: pb.BlockVerifyRequest) -> pb.BlockVerifyResponse:
        block = self.parse(request.bytes)
        if block.id not in self.undecided:
            self.verify(block)
        return pb.BlockVerifyResponse(timestamp=self.timestamp(block))

    def BlockAccept(self, request: pb.BlockAcceptRequest) -> Empty:
        self.accept(self.take(self.check_id(request.id)))
        self.changed()
        return Empty()

    def BlockReject(self, request: pb.BlockRejectRequest) -> Empty:
        self.reject(self.take(self.check_id(request.id)))
        self.changed()
        return Empty()

    # vm.VM: state sync, which this VM does not have

    def StateSyncEnabled(self, request: Empty) -> pb.StateSyncEnabledResponse:
        return pb.StateSyncEnabledResponse()

    def GetOngoingSyncStateSummary(self, request: Empty) -> pb.GetOngoingSyncStateSummaryResponse:
        return pb.GetOngoingSyncStateSummaryResponse(err=pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED)

    def GetLastStateSummary(self, request: Empty) -> pb.GetLastStateSummaryResponse:
        return pb.GetLastStateSummaryResponse(err=pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED)

    def ParseStateSummary(self, request: pb.ParseStateSummaryRequest) -> pb.ParseStateSummaryResponse:
        return pb.ParseStateSummaryResponse(err=pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED)

    def GetStateSummary(self, request: pb.GetStateSummaryRequest) -> pb.GetStateSummaryResponse:
        return pb.GetStateSummaryResponse(err=pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED)

    def StateSummaryAccept(self, request: pb.StateSummaryAcceptRequest) -> pb.StateSummaryAcceptResponse:
        return pb.StateSummaryAcceptResponse(
            mode=pb.StateSummaryAcceptResponse.MODE_SKIPPED, err=pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED
        )

    # http.HTTP

    def HandleSimple(self, request: http_pb2.HandleSimpleHTTPRequest) -> http_pb2.HandleSimpleHTTPResponse:
        """POST proposes a transaction; other methods return the height of the last accepted
        block.
        """
        response = http_pb2.HandleSimpleHTTPResponse(code=200, headers=request.response_headers)
        if request.method == "POST":
            transaction = hashlib.sha256(request.body).digest()[:TRANSACTION_BYTES]
            with self.wake:
                self.pending.append(transaction)
            self.changed()
            response.body = transaction.hex().encode()
        else:
            response.body = str(self.tip().height).encode()
        return response

    def Handle(self, request: http_pb2.HTTPRequest) -> http_pb2.HTTPResponse:
        raise ValueError("this VM has no WebSocket")

    # The process

    def respond(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        """Run one call."""
        if name == "WaitForEvent":
            return self.WaitForEvent(request, context)
        with self.lock:
            return getattr(self, name)(request)

    def serve(self) -> grpc.Server:
        """Start the server, and set `address`."""
        server = grpc.server(ThreadPoolExecutor(self.workers), options=self.options)
        for service in (VM, HTTP):
            handlers = {
                name: grpc.unary_unary_rpc_method_handler(
                    self._handler(name),
                    request_deserializer=self.decoder(method),
                    response_serializer=method.response.SerializeToString,
                )
                for name, method in service.methods.items()
                if hasattr(self, name) and name not in self.lacks
            }
            server.add_generic_rpc_handlers(
                [grpc.method_handlers_generic_handler(service.full_name, handlers)]
            )
        if self.has_health_service:
            servicer = health.HealthServicer()
            servicer.set("", health_pb2.HealthCheckResponse.SERVING)
            health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        self.address = f"127.0.0.1:{server.add_insecure_port(f'{self.interface}:0')}"
        server.start()
        return server

    def decoder(self, method: Any) -> Any:
        """Return what decodes the requests of *method*."""
        return method.request.FromString

    def _handler(self, name: str) -> Any:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                return self.respond(name, request, context)
            except grpc.RpcError as error:
                context.abort(grpc.StatusCode.UNKNOWN, str(error))
            except Exception as error:  # noqa: BLE001
                context.abort(grpc.StatusCode.UNKNOWN, str(error))

        return handle

    def announce(self) -> None:
        """Make the handshake with the node. Raises `grpc.RpcError` if it refuses."""
        with grpc.insecure_channel(os.environ[ENGINE_ADDRESS_KEY]) as channel:
            request = runtime_pb2.InitializeRequest(protocol_version=self.protocol, addr=self.address)
            self.call(channel, Runtime.Initialize, request)

    def run(self) -> None:
        """The life of the process: SIGTERM counts once Shutdown has been called, and an orphan
        ends.
        """
        parent = os.getppid()
        ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: ended.put(None) if self.shut_down.is_set() else None)
        if ENGINE_ADDRESS_KEY not in os.environ:
            sys.exit(f"required env var missing: {ENGINE_ADDRESS_KEY!r}")
        server = self.serve()
        try:
            self.announce()
        except grpc.RpcError as error:
            sys.exit(str(error))
        while os.getppid() == parent:
            try:
                ended.get(timeout=0.2)
                break
            except queue.Empty:
                continue
        server.stop(1).wait()


def main(protocol: str, defect: str) -> None:
    """Run the good VM, or *defect*."""
    vm_class = GoodVM
    if defect:
        module, _, name = defect.partition(":")
        vm_class = getattr(importlib.import_module(f"tests.conformance.defects.{module}"), name)
    vm_class(int(protocol)).run()


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])
    # By its name, so that the defects subclass the same class as the one that runs.
    importlib.import_module("tests.conformance.goodvm").main(*sys.argv[1:])
