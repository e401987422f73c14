"""A plugin on bare grpcio that does what no good plugin does, to see what the node makes of it."""

from __future__ import annotations

import os
import signal
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
from vmsdk._pb.http.responsewriter import responsewriter_pb2
from vmsdk._pb.http.responsewriter.responsewriter_grpc import Writer as ResponseWriter
from vmsdk._pb.io.reader import reader_pb2
from vmsdk._pb.io.reader.reader_grpc import Reader
from vmsdk._pb.io.writer import writer_pb2
from vmsdk._pb.io.writer.writer_grpc import Writer
from vmsdk._pb.net.conn import conn_pb2
from vmsdk._pb.net.conn.conn_grpc import Conn
from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.runtime import runtime_pb2
from vmsdk._pb.vm.runtime.runtime_grpc import Runtime
from vmsdk._pb.vm.vm_grpc import VM

GENESIS_ID = b"G" * 32
ODD_ID = b"O" * 32
HANDSHAKE_TIMEOUT_S = 5
UNKNOWN_ERROR = 99

Behaviour = Callable[[Any], Message]


class RawPlugin:
    """A VM with a genesis block and nothing else, but for what the experiment is about."""

    def __init__(self, protocol: int, experiment: str) -> None:
        self._protocol = protocol
        self._experiment = experiment
        self._servers: list[grpc.Server] = []
        self._ip = "[::1]" if experiment == "ipv6" else "127.0.0.1"

    def run(self) -> None:
        """Serves until SIGTERM."""
        # Waited for, not handled: when a node dies, Linux sends several at once, and a handler that
        # sets an event hangs when the next interrupts it. Blocked before there are threads, which
        # block it then as well.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        server, address = self._server(VM, self._behaviours())
        if self._experiment == "serve first":
            server.start()
        with grpc.insecure_channel(os.environ["AVALANCHE_VM_RUNTIME_ENGINE_ADDR"]) as runtime:
            hello = runtime_pb2.InitializeRequest(protocol_version=self._protocol, addr=address)
            call(runtime, Runtime.Initialize, hello)
        if self._experiment != "serve first":
            server.start()
        signal.sigwait({signal.SIGTERM})
        server.stop(0)

    def _server(self, service: type[Service], behaviours: Mapping[str, Behaviour]) -> tuple[grpc.Server, str]:
        server = grpc.server(ThreadPoolExecutor(8))
        handlers = {}
        for name, behaviour in behaviours.items():
            method = service.methods[name]
            handlers[name] = grpc.unary_unary_rpc_method_handler(
                lambda request, _, behaviour=behaviour: behaviour(request),
                method.request.FromString,
                method.response.SerializeToString,
            )
        self._servers.append(server)  # a server that nobody holds stops
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
        port = server.add_insecure_port(f"{self._ip}:0")
        return server, f"{self._ip}:{port}"

    def _behaviours(self) -> dict[str, Behaviour]:
        genesis: dict[str, Any] = {
            "last_accepted_id": GENESIS_ID,
            "last_accepted_parent_id": bytes(32),
            "bytes": b"genesis",
            "timestamp": Timestamp(),
        }
        return {
            "Initialize": lambda _: vm_pb2.InitializeResponse(**genesis),
            "SetState": lambda _: vm_pb2.SetStateResponse(**genesis),
            "Shutdown": lambda _: Empty(),
            "Version": lambda _: vm_pb2.VersionResponse(version="raw"),
            "Gather": lambda _: self._metrics(),
            "GetBlock": self._get_block,
            "GetLastStateSummary": lambda _: vm_pb2.GetLastStateSummaryResponse(err=UNKNOWN_ERROR),  # type: ignore[arg-type]
            "CreateHandlers": lambda _: self._create_handlers(),
            "CreateHTTP2Handler": lambda _: vm_pb2.CreateHTTP2HandlerResponse(),
            "NewHTTPHandler": lambda _: vm_pb2.NewHTTPHandlerResponse(),
        }

    def _get_block(self, request: vm_pb2.GetBlockRequest) -> vm_pb2.GetBlockResponse:
        return vm_pb2.GetBlockResponse(err=UNKNOWN_ERROR)  # type: ignore[arg-type]

    def _metrics(self) -> vm_pb2.GatherResponse:
        """A counter and a family with fields that nodes learnt of at protocol 43."""
        answer = vm_pb2.GatherResponse()
        family = answer.metric_families.add(name="raw_total", help="a counter", type=0, unit="seconds")
        counter = family.metric.add().counter
        counter.value = 4
        counter.created_timestamp.seconds = 1_700_000_000
        return answer

    # HTTP

    def _create_handlers(self) -> vm_pb2.CreateHandlersResponse:
        behaviours: dict[str, Behaviour] = {
            "Handle": self._handle,
            "HandleSimple": lambda request: http_pb2.HandleSimpleHTTPResponse(
                code=200, body=request.url.encode()
            ),
        }
        server, address = self._server(HTTP, behaviours)
        server.start()
        return vm_pb2.CreateHandlersResponse(
            handlers=[vm_pb2.Handler(prefix=prefix, server_addr=address) for prefix in ("/one", "/two")]
        )

    def _handle(self, request: http_pb2.HTTPRequest) -> http_pb2.HTTPResponse:
        with grpc.insecure_channel(request.response_writer.server_addr) as node:
            query = request.request.url.raw_query
            {
                "informational": self._informational,
                "negative": self._negative_read,
                "unflushed": self._unflushed,
            }[query](node)
        return http_pb2.HTTPResponse()

    @staticmethod
    def _informational(node: grpc.Channel) -> None:
        call(node, ResponseWriter.WriteHeader, responsewriter_pb2.WriteHeaderRequest(status_code=103))
        call(node, ResponseWriter.WriteHeader, responsewriter_pb2.WriteHeaderRequest(status_code=418))
        call(node, ResponseWriter.Write, responsewriter_pb2.WriteRequest(payload=b"body"))

    @staticmethod
    def _negative_read(node: grpc.Channel) -> None:
        call(node, Reader.Read, reader_pb2.ReadRequest(length=-1))

    @staticmethod
    def _unflushed(node: grpc.Channel) -> None:
        hijacked = call(node, ResponseWriter.Hijack, Empty())
        with grpc.insecure_channel(hijacked.server_addr) as connection:
            call(connection, Writer.Write, writer_pb2.WriteRequest(payload=b"through the writer"))
            call(connection, Conn.Write, conn_pb2.WriteRequest(payload=b"through the connection"))
            try:
                call(connection, Conn.Close, Empty())
            except grpc.RpcError:
                pass  # the node stops this very server, so the answer may be lost


def call(channel: grpc.Channel, method: Method[Any, Any], request: Message) -> Any:
    """One call, waiting for the server as all calls of the protocol do."""
    stub = method.on(channel)
    return stub(request, wait_for_ready=True, timeout=HANDSHAKE_TIMEOUT_S)
