"""The timestamp chain on bare grpcio: the least that Python can do, as the floor for vmsdk.
Protocol 42 and newer.

It keeps the wire and the one batch for each accepted block, and nothing else: no checks, no
restart, no logging.
"""

from __future__ import annotations

import hashlib
import os
import signal
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from vmsdk._pb._service import Method, Service
from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk._pb.rpcdb import rpcdb_pb2
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.runtime import runtime_pb2
from vmsdk._pb.vm.runtime.runtime_grpc import Runtime
from vmsdk._pb.vm.vm_grpc import VM

HANDSHAKE_TIMEOUT_S = 5
BLOCK = struct.Struct(">32sQq32s")
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
DATA = b'"data":"0x'
ANSWER = b'{"jsonrpc":"2.0","result":{"success":true},"id":1}'

Handler = Callable[[Any, grpc.ServicerContext], Message]


class BareVM:
    """One chain in memory, its accepted blocks in the node's database."""

    def __init__(self) -> None:
        self.servers: list[grpc.Server] = []
        self.mempool: deque[bytes] = deque()
        self.arrived = threading.Condition()
        self.verified: dict[bytes, tuple[bytes, int, int]] = {}

    def run(self, protocol: int) -> None:
        """Serves until SIGTERM."""
        # Blocked and waited for: a handler could interrupt itself, since a host that dies sends
        # several.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        served = [name for name in VM.methods if hasattr(self, name)]
        address = self.serve(VM, {name: getattr(self, name) for name in served})
        with grpc.insecure_channel(os.environ["AVALANCHE_VM_RUNTIME_ENGINE_ADDR"]) as runtime:
            hello = runtime_pb2.InitializeRequest(protocol_version=protocol, addr=address)
            stub(runtime, Runtime.Initialize)(hello, wait_for_ready=True, timeout=HANDSHAKE_TIMEOUT_S)
        signal.sigwait({signal.SIGTERM})
        for server in self.servers:
            server.stop(0)

    def serve(self, service: type[Service], handlers: Mapping[str, Handler]) -> str:
        server = grpc.server(ThreadPoolExecutor(8), options=OPTIONS)
        methods = {name: service.methods[name].handler(handler) for name, handler in handlers.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.servers.append(server)
        return f"127.0.0.1:{port}"

    def Initialize(self, request: vm_pb2.InitializeRequest, _: object) -> vm_pb2.InitializeResponse:
        self.database = grpc.insecure_channel(request.db_server_addr, options=OPTIONS)
        self.write_batch = stub(self.database, Database.WriteBatch)
        self.genesis = BLOCK.pack(bytes(32), 0, 0, request.genesis_bytes[:32].ljust(32, b"\0"))
        self.last = self.preferred = hashlib.sha256(self.genesis).digest()
        self.store(self.last, self.genesis, 0)
        self.verified[self.last] = (self.genesis, 0, 0)
        return vm_pb2.InitializeResponse(
            last_accepted_id=self.last,
            last_accepted_parent_id=bytes(32),
            bytes=self.genesis,
            timestamp=Timestamp(),
        )

    def SetState(self, request: vm_pb2.SetStateRequest, _: object) -> vm_pb2.SetStateResponse:
        return vm_pb2.SetStateResponse(
            last_accepted_id=self.last,
            last_accepted_parent_id=bytes(32),
            bytes=self.genesis,
            timestamp=Timestamp(),
        )

    def Shutdown(self, request: Empty, _: object) -> Empty:
        self.database.close()
        return Empty()

    def CreateHandlers(self, request: Empty, _: object) -> vm_pb2.CreateHandlersResponse:
        address = self.serve(HTTP, {"HandleSimple": self.handle_simple})
        return vm_pb2.CreateHandlersResponse(handlers=[vm_pb2.Handler(prefix="", server_addr=address)])

    def NewHTTPHandler(self, request: Empty, _: object) -> vm_pb2.NewHTTPHandlerResponse:
        return vm_pb2.NewHTTPHandlerResponse()

    def StateSyncEnabled(self, request: Empty, _: object) -> vm_pb2.StateSyncEnabledResponse:
        return vm_pb2.StateSyncEnabledResponse()

    def Connected(self, request: vm_pb2.ConnectedRequest, _: object) -> Empty:
        return Empty()

    def WaitForEvent(self, request: Empty, context: grpc.ServicerContext) -> vm_pb2.WaitForEventResponse:
        context.add_callback(self.wake)
        with self.arrived:
            self.arrived.wait_for(lambda: self.mempool or not context.is_active())
        return vm_pb2.WaitForEventResponse(message=vm_pb2.MESSAGE_BUILD_BLOCK)

    def wake(self) -> None:
        with self.arrived:
            self.arrived.notify_all()

    def BuildBlock(self, request: vm_pb2.BuildBlockRequest, _: object) -> vm_pb2.BuildBlockResponse:
        _, height, _ = self.verified[self.preferred]
        seconds = int(time.time())
        block = BLOCK.pack(self.preferred, height + 1, seconds, self.mempool.popleft())
        return vm_pb2.BuildBlockResponse(
            id=hashlib.sha256(block).digest(),
            parent_id=self.preferred,
            bytes=block,
            height=height + 1,
            timestamp=Timestamp(seconds=seconds),
        )

    def ParseBlock(self, request: vm_pb2.ParseBlockRequest, _: object) -> vm_pb2.ParseBlockResponse:
        parent_id, height, seconds, _ = BLOCK.unpack(request.bytes)
        return vm_pb2.ParseBlockResponse(
            id=hashlib.sha256(request.bytes).digest(),
            parent_id=parent_id,
            height=height,
            timestamp=Timestamp(seconds=seconds),
        )

    def BlockVerify(self, request: vm_pb2.BlockVerifyRequest, _: object) -> vm_pb2.BlockVerifyResponse:
        _, height, seconds, _ = BLOCK.unpack(request.bytes)
        self.verified[hashlib.sha256(request.bytes).digest()] = (request.bytes, height, seconds)
        return vm_pb2.BlockVerifyResponse(timestamp=Timestamp(seconds=seconds))

    def SetPreference(self, request: vm_pb2.SetPreferenceRequest, _: object) -> Empty:
        self.preferred = request.id
        return Empty()

    def BlockAccept(self, request: vm_pb2.BlockAcceptRequest, _: object) -> Empty:
        block, height, _ = self.verified[request.id]
        self.store(request.id, block, height)
        del self.verified[self.last]
        self.last = request.id
        return Empty()

    def store(self, block_id: bytes, block: bytes, height: int) -> None:
        self.write_batch(
            rpcdb_pb2.WriteBatchRequest(
                puts=[
                    rpcdb_pb2.PutRequest(key=block_id, value=block),
                    rpcdb_pb2.PutRequest(key=b"height/" + height.to_bytes(8, "big"), value=block_id),
                    rpcdb_pb2.PutRequest(key=b"last", value=block_id),
                ]
            ),
            wait_for_ready=True,
        )

    def handle_simple(
        self, request: http_pb2.HandleSimpleHTTPRequest, _: object
    ) -> http_pb2.HandleSimpleHTTPResponse:
        begin = request.body.index(DATA) + len(DATA)
        data = bytes.fromhex(request.body[begin : request.body.index(b'"', begin)].decode())
        with self.arrived:
            self.mempool.append(data.ljust(32, b"\0"))
            self.arrived.notify_all()
        headers = [http_pb2.Element(key="Content-Type", values=["application/json"])]
        return http_pb2.HandleSimpleHTTPResponse(code=200, headers=headers, body=ANSWER)


def main(protocol: str) -> None:
    BareVM().run(int(protocol))


def stub(channel: grpc.Channel, method: Method[Any, Any]) -> Callable[..., Any]:
    """The method as a function."""
    return method.on(channel)
