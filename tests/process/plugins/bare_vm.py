"""A VM of nothing but grpcio: what tests of the host run, as a process (bare_vm.py VERSION
MANNERS…) or in their own.

A block is 8 bytes of height, 8 of Unix seconds, 32 of the parent's ID, and a payload; its ID is the
SHA-256 of that. Genesis is at height 0, time 0. Blocks that are accepted are stored in the node's
database.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import signal
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from vmsdk._pb.rpcdb import rpcdb_pb2
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk._pb.vm.runtime import runtime_pb2
from vmsdk._pb.vm.runtime.runtime_grpc import Runtime
from vmsdk._pb.vm.vm_grpc import VM

ENGINE_ADDRESS_KEY = "AVALANCHE_VM_RUNTIME_ENGINE_ADDR"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
GENESIS = bytes(48) + b"genesis"


def block_bytes(height: int, timestamp: int, parent_id: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">QQ32s", height, timestamp, parent_id) + payload


def block_id(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class BareVM:
    """Each method of `vm.VM` by its name. Tests override, or look at `calls` and `undecided`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.undecided: dict[bytes, bytes] = {}
        self.pending: list[bytes] = []
        self.wake = threading.Condition()
        self.preferred = b""
        self.last_accepted = b""
        self.channels: list[grpc.Channel] = []
        self.request = pb.InitializeRequest()

    # The node's side

    def _node(self, method: Any, request: Any) -> Any:
        return self.channels[0].unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )(request, wait_for_ready=True, timeout=20)

    def stored(self, key: bytes) -> bytes | None:
        response = self._node(Database.Get, rpcdb_pb2.GetRequest(key=key))
        return None if response.err else response.value

    def store(self, data: bytes) -> None:
        height = data[:8]
        puts = [(block_id(data), data), (b"last", block_id(data)), (b"height" + height, block_id(data))]
        batch = rpcdb_pb2.WriteBatchRequest(
            puts=[rpcdb_pb2.PutRequest(key=key, value=value) for key, value in puts]
        )
        self._node(Database.WriteBatch, batch)
        self.last_accepted = block_id(data)

    def find(self, wanted: bytes) -> bytes | None:
        return self.undecided.get(wanted) or self.stored(wanted)

    # vm.VM

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        self.request = request
        self.channels.append(grpc.insecure_channel(request.db_server_addr, UNLIMITED))
        self.last_accepted = self.stored(b"last") or b""
        if not self.last_accepted:
            self.store(GENESIS + request.genesis_bytes)
        self.preferred = self.last_accepted
        return pb.InitializeResponse(**self.tip())

    def tip(self) -> dict[str, Any]:
        data = self.stored(self.last_accepted)
        assert data is not None
        fields = self.fields(data)
        return {
            "last_accepted_id": fields["id"],
            "last_accepted_parent_id": fields["parent_id"],
            "height": fields["height"],
            "timestamp": fields["timestamp"],
            "bytes": data,
        }

    @staticmethod
    def fields(data: bytes) -> dict[str, Any]:
        height, seconds, parent_id = struct.unpack_from(">QQ32s", data)
        return {
            "id": block_id(data),
            "parent_id": parent_id,
            "height": height,
            "timestamp": Timestamp(seconds=seconds),
        }

    def SetState(self, request: pb.SetStateRequest) -> pb.SetStateResponse:
        return pb.SetStateResponse(**self.tip())

    def Shutdown(self, request: Empty) -> Empty:
        with self.wake:
            self.wake.notify_all()
        for channel in self.channels:
            channel.close()
        self.channels.clear()
        return Empty()

    def CreateHandlers(self, request: Empty) -> pb.CreateHandlersResponse:
        return pb.CreateHandlersResponse()

    def NewHTTPHandler(self, request: Empty) -> pb.NewHTTPHandlerResponse:
        return pb.NewHTTPHandlerResponse()

    def CreateHTTP2Handler(self, request: Empty) -> pb.CreateHTTP2HandlerResponse:
        return pb.CreateHTTP2HandlerResponse()

    def Connected(self, request: pb.ConnectedRequest) -> Empty:
        return Empty()

    def Disconnected(self, request: pb.DisconnectedRequest) -> Empty:
        return Empty()

    def AppRequest(self, request: pb.AppRequestMsg) -> Empty:
        return Empty()

    def AppResponse(self, request: pb.AppResponseMsg) -> Empty:
        return Empty()

    def AppRequestFailed(self, request: pb.AppRequestFailedMsg) -> Empty:
        return Empty()

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        return Empty()

    def Gather(self, request: Empty) -> pb.GatherResponse:
        return pb.GatherResponse()

    def Health(self, request: Empty) -> pb.HealthResponse:
        return pb.HealthResponse(details=json.dumps({"database": None, "health": None}).encode())

    def Version(self, request: Empty) -> pb.VersionResponse:
        return pb.VersionResponse(version="bare/1.0.0")

    def propose(self, payload: bytes) -> None:
        with self.wake:
            self.pending.append(payload)
            self.wake.notify_all()

    def WaitForEvent(self, request: Empty, context: grpc.ServicerContext) -> pb.WaitForEventResponse:
        def wake() -> None:
            with self.wake:
                self.wake.notify_all()

        context.add_callback(wake)
        with self.wake:
            self.wake.wait_for(lambda: self.pending or not context.is_active())
        return pb.WaitForEventResponse(message=pb.MESSAGE_BUILD_BLOCK)

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        if not self.pending:
            raise ValueError("nothing to build")
        parent = self.find(self.preferred)
        assert parent is not None
        height, seconds, _ = struct.unpack_from(">QQ32s", parent)
        data = block_bytes(height + 1, seconds + 1, self.preferred, self.pending.pop(0))
        return pb.BuildBlockResponse(bytes=data, **self.fields(data))

    def parse(self, data: bytes) -> pb.ParseBlockResponse:
        if len(data) < 48:
            raise ValueError("too short for a block")
        response = pb.ParseBlockResponse(**self.fields(data))
        response.status = self.status(data)
        return response

    def status(self, data: bytes) -> pb.Status.ValueType:
        last = self.stored(self.last_accepted)
        assert last is not None
        return pb.STATUS_PROCESSING if data[:8] > last[:8] else pb.STATUS_ACCEPTED

    def ParseBlock(self, request: pb.ParseBlockRequest) -> pb.ParseBlockResponse:
        return self.parse(request.bytes)

    def BatchedParseBlock(self, request: pb.BatchedParseBlockRequest) -> pb.BatchedParseBlockResponse:
        return pb.BatchedParseBlockResponse(response=[self.parse(data) for data in request.request])

    def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
        data = self.find(request.id)
        if data is None:
            return pb.GetBlockResponse(err=pb.ERROR_NOT_FOUND)
        fields = self.fields(data)
        del fields["id"]
        return pb.GetBlockResponse(bytes=data, status=self.status(data), **fields)

    def GetBlockIDAtHeight(self, request: pb.GetBlockIDAtHeightRequest) -> pb.GetBlockIDAtHeightResponse:
        found = self.stored(b"height" + struct.pack(">Q", request.height))
        if found is None:
            return pb.GetBlockIDAtHeightResponse(err=pb.ERROR_NOT_FOUND, blk_id=bytes(32))
        return pb.GetBlockIDAtHeightResponse(blk_id=found)

    def GetAncestors(self, request: pb.GetAncestorsRequest) -> pb.GetAncestorsResponse:
        response = pb.GetAncestorsResponse()
        wanted = request.blk_id
        while len(response.blks_bytes) < request.max_blocks_num:
            data = self.find(wanted)
            if data is None:
                break
            response.blks_bytes.append(data)
            wanted = self.fields(data)["parent_id"]
        return response

    def SetPreference(self, request: pb.SetPreferenceRequest) -> Empty:
        if self.find(request.id) is None:
            raise ValueError("not found")
        self.preferred = request.id
        return Empty()

    def BlockVerify(self, request: pb.BlockVerifyRequest) -> pb.BlockVerifyResponse:
        fields = self.fields(request.bytes)
        if self.find(fields["parent_id"]) is None:
            raise ValueError("unknown parent")
        self.undecided[fields["id"]] = request.bytes
        return pb.BlockVerifyResponse(timestamp=fields["timestamp"])

    def BlockAccept(self, request: pb.BlockAcceptRequest) -> Empty:
        if request.id not in self.undecided:
            raise ValueError("not found")
        self.store(self.undecided.pop(request.id))
        return Empty()

    def BlockReject(self, request: pb.BlockRejectRequest) -> Empty:
        if self.undecided.pop(request.id, None) is None:
            raise ValueError("not found")
        return Empty()

    def StateSyncEnabled(self, request: Empty) -> pb.StateSyncEnabledResponse:
        return pb.StateSyncEnabledResponse()


def serve(vm: BareVM) -> tuple[grpc.Server, str]:
    """A running server of *vm*, and its address."""

    def behaviour(name: str) -> Any:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            vm.calls.append((name, request))
            method = getattr(vm, name)
            try:
                return method(request, context) if name == "WaitForEvent" else method(request)
            except Exception as error:  # noqa: BLE001
                context.abort(grpc.StatusCode.UNKNOWN, str(error))

        return call

    server = grpc.server(ThreadPoolExecutor(16), options=[*UNLIMITED, ("grpc.so_reuseport", 0)])
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            behaviour(name),
            request_deserializer=method.request.FromString,
            response_serializer=method.response.SerializeToString,
        )
        for name, method in VM.methods.items()
        if hasattr(vm, name)
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(VM.full_name, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


def handshake(address: str, version: int) -> None:
    """Announce *address* to the node, as protocol *version*. Raises `grpc.RpcError` if it
    refuses.
    """
    with grpc.insecure_channel(os.environ[ENGINE_ADDRESS_KEY]) as channel:
        channel.unary_unary(
            Runtime.Initialize.path,
            request_serializer=Runtime.Initialize.request.SerializeToString,
            response_deserializer=Runtime.Initialize.response.FromString,
        )(runtime_pb2.InitializeRequest(protocol_version=version, addr=address), timeout=5)


class PluginVM(BareVM):
    """As a process: in normal operation it has as many blocks to build as its configuration
    says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shut_down = threading.Event()

    def SetState(self, request: pb.SetStateRequest) -> pb.SetStateResponse:
        if request.state == pb.STATE_NORMAL_OP:
            for number in range(int(self.request.config_bytes or b"0")):
                self.propose(b"%d" % number)
        return super().SetState(request)

    def Shutdown(self, request: Empty) -> Empty:
        self.shut_down.set()
        return super().Shutdown(request)


class HangingVM(PluginVM):
    """Never returns from BuildBlock."""

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        print("hanging", flush=True)
        while True:
            threading.Event().wait()


def main(version: int, manners: set[str]) -> None:
    """The life of a plugin: SIGTERM counts once Shutdown has been called. With bad manners:

    ``mortal``: SIGTERM ends it at once. ``deaf``: SIGTERM never ends it. ``close1``, ``close2``: it
    closes that descriptor after the announcement. ``hang``: it never builds a block.
    """
    parent = os.getppid()
    # An event would not do: its lock may be held by what the handler interrupts.
    ended: queue.SimpleQueue[None] = queue.SimpleQueue()
    vm = HangingVM() if "hang" in manners else PluginVM()

    def terminate(*_: object) -> None:
        if vm.shut_down.is_set() or os.getppid() != parent:
            ended.put(None)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "deaf" in manners:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif "mortal" not in manners:
        signal.signal(signal.SIGTERM, terminate)
    server, address = serve(vm)
    handshake(address, version)
    print("serving", flush=True)
    for descriptor in (1, 2):
        if f"close{descriptor}" in manners:
            os.close(descriptor)
    ended.get()
    server.stop(1).wait()


if __name__ == "__main__":
    import sys

    main(int(sys.argv[1]), set(sys.argv[2:]))
