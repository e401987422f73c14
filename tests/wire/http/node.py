"""A node reduced to its gRPC: it calls `http.HTTP` and serves what a Handle call needs, recording
all of it.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk._pb.http.responsewriter import responsewriter_pb2
from vmsdk._pb.http.responsewriter.responsewriter_grpc import Writer
from vmsdk._pb.io.reader import reader_pb2
from vmsdk._pb.io.reader.reader_grpc import Reader
from vmsdk._pb.net.conn import conn_pb2
from vmsdk._pb.net.conn.conn_grpc import Conn
from vmsdk.rpc.publicserver import SERVER_OPTIONS
from vmsdk.services.channel import CHANNEL_OPTIONS, target

DEADLINE_S = 60.0
PATH = "/ext/bc/2Z/x"


def elements(headers: dict[str, list[str]]) -> list[http_pb2.Element]:
    return [http_pb2.Element(key=key, values=values) for key, values in headers.items()]


def as_dict(headers: Any) -> dict[str, list[str]]:
    return {header.key: list(header.values) for header in headers}


def _server(services: dict[Any, dict[str, Any]]) -> tuple[grpc.Server, str]:
    server = grpc.server(ThreadPoolExecutor(8), options=SERVER_OPTIONS)
    for service, behaviours in services.items():
        handlers = {name: service.methods[name].handler(behaviour) for name, behaviour in behaviours.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


class Request:
    """One Handle call: the servers behind it, and what they were asked."""

    def __init__(self, reads: list[reader_pb2.ReadResponse] | None = None) -> None:
        self.calls: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        """The calls of the writer in their order: name and message."""
        self.read_lengths: list[int] = []
        self._reads = list(reads or [])
        self.client = HijackedClient()
        self.write_error: str | None = None
        self._server, self.address = _server(
            {
                Writer: {
                    "WriteHeader": self._note("WriteHeader", Empty()),
                    "Write": self._write,
                    "Flush": self._note("Flush", Empty()),
                    "Hijack": self._hijack,
                },
                Reader: {"Read": self._read},
            }
        )

    def next_call(self) -> tuple[str, Any]:
        return self.calls.get(timeout=DEADLINE_S)

    def all_calls(self) -> list[tuple[str, Any]]:
        """All calls so far, once the Handle call is over."""
        found = []
        while not self.calls.empty():
            found.append(self.calls.get())
        return found

    def close(self) -> None:
        self._server.stop(0).wait()
        self.client.close()

    def _note(self, name: str, answer: Any) -> Any:
        def behaviour(request: Any, context: Any) -> Any:
            self.calls.put((name, request))
            return answer

        return behaviour

    def _write(self, request: Any, context: grpc.ServicerContext) -> Any:
        if self.write_error is not None:
            context.abort(grpc.StatusCode.UNKNOWN, self.write_error)
        self.calls.put(("Write", request))
        return responsewriter_pb2.WriteResponse(written=len(request.payload))

    def _read(self, request: Any, context: Any) -> Any:
        self.read_lengths.append(request.length)
        # The end repeats, as a node's does.
        return self._reads.pop(0) if len(self._reads) > 1 else self._reads[0]

    def _hijack(self, request: Any, context: Any) -> Any:
        self.calls.put(("Hijack", request))
        return responsewriter_pb2.HijackResponse(server_addr=self.client.address)


class HijackedClient:
    """The client's end of a hijacked connection."""

    def __init__(self) -> None:
        self.received: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._sent: queue.SimpleQueue[reader_pb2.ReadResponse] = queue.SimpleQueue()
        self.closed = threading.Event()
        self.loses_close_reply = False
        self._server, self.address = _server(
            {Reader: {"Read": self._read}, Conn: {"Write": self._write, "Close": self._close}}
        )

    def send(self, data: bytes) -> None:
        self._sent.put(reader_pb2.ReadResponse(read=data))

    def receive(self) -> bytes:
        return self.received.get(timeout=DEADLINE_S)

    def hang_up(self, error: bytes = b"EOF") -> None:
        self._sent.put(reader_pb2.ReadResponse(error=error))

    def close(self) -> None:
        self.hang_up()
        self._server.stop(0).wait()

    def _read(self, request: Any, context: Any) -> Any:
        return self._sent.get(timeout=DEADLINE_S)

    def _write(self, request: Any, context: Any) -> Any:
        self.received.put(request.payload)
        return conn_pb2.WriteResponse(length=len(request.payload))

    def _close(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.closed.set()
        self.hang_up()
        if self.loses_close_reply:
            context.abort(grpc.StatusCode.UNAVAILABLE, "transport is closing")
        return Empty()


class Caller:
    """The node's client of one `http.HTTP` server."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(target(address), options=CHANNEL_OPTIONS)
        self._simple = self._method(HTTP.HandleSimple)
        self._handle = self._method(HTTP.Handle)

    def simple(self, method: str = "GET", url: str = PATH, body: bytes = b"", **headers: Any) -> Any:
        """One HandleSimple call; *headers* are `request_headers` and `response_headers`."""
        return self.begin_simple(method, url, body, **headers).result()

    def begin_simple(self, method: str = "GET", url: str = PATH, body: bytes = b"", **headers: Any) -> Any:
        """Such a call, begun: a future."""
        request = http_pb2.HandleSimpleHTTPRequest(
            method=method,
            url=url,
            body=body,
            request_headers=elements(headers.get("request_headers", {})),
            response_headers=elements(headers.get("response_headers", {})),
        )
        return self._simple.future(request, timeout=DEADLINE_S)

    def handle(
        self, request: Request, node_headers: dict[str, list[str]] | None = None, **fields: Any
    ) -> Any:
        """One Handle call, begun: a future."""
        header = elements(fields.pop("header", {}))
        about: dict[str, Any] = {
            "method": "GET",
            "request_uri": PATH,
            "proto_major": 1,
            "proto_minor": 1,
            "host": "node:9650",
            "remote_addr": "10.0.0.1:4242",
            **fields,
        }
        call = http_pb2.HTTPRequest(
            response_writer=http_pb2.ResponseWriter(
                header=elements(node_headers or {}), server_addr=request.address
            ),
            request=http_pb2.Request(header=header, **about),
        )
        return self._handle.future(call, timeout=DEADLINE_S)

    def close(self) -> None:
        self.channel.close()

    def _method(self, method: Any) -> Any:
        return method.on(self.channel)
