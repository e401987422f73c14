"""The VM's end of `http.HTTP`, played by a test: bare grpcio, the wire's own messages, nothing of
vmsdk's VM side.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import grpc.aio
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from vmsdk._pb._service import Method, RequestT, ResponseT
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

UNLIMITED: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 16 << 20),
    ("grpc.absolute_max_metadata_size", 16 << 20),
    ("grpc.use_local_subchannel_pool", 1),
]

Headers: TypeAlias = Mapping[str, list[str]]
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Peer:
    """Calls methods of one of the node's servers."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=UNLIMITED)

    async def call(self, method: Method[RequestT, ResponseT], request: RequestT) -> ResponseT:
        stub = method.on(self._channel)
        response: ResponseT = await stub(request)
        return response

    async def close(self) -> None:
        await self._channel.close()


class Connection(Peer):
    """A connection that the VM has taken over."""

    def __init__(self, taken: responsewriter_pb2.HijackResponse) -> None:
        super().__init__(taken.server_addr)
        self.taken = taken

    async def read(self, length: int = 4096) -> conn_pb2.ReadResponse:
        return await self.call(Conn.Read, conn_pb2.ReadRequest(length=length))

    async def write(self, payload: bytes) -> conn_pb2.WriteResponse:
        return await self.call(Conn.Write, conn_pb2.WriteRequest(payload=payload))

    async def read_buffered(self, length: int = 4096) -> reader_pb2.ReadResponse:
        return await self.call(Reader.Read, reader_pb2.ReadRequest(length=length))

    async def write_buffered(self, payload: bytes) -> writer_pb2.WriteResponse:
        return await self.call(Writer.Write, writer_pb2.WriteRequest(payload=payload))

    async def set_read_deadline(self, time: bytes) -> None:
        await self.call(Conn.SetReadDeadline, conn_pb2.SetDeadlineRequest(time=time))

    async def set_deadline(self, time: bytes) -> None:
        await self.call(Conn.SetDeadline, conn_pb2.SetDeadlineRequest(time=time))

    async def hang_up(self) -> None:
        """Close the client's connection; the response may be lost."""
        try:
            await self.call(Conn.Close, Empty())
        except grpc.aio.AioRpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                raise


class Exchange(Peer):
    """One request that came by `Handle`, with the node's writer and reader for it."""

    def __init__(self, message: http_pb2.HTTPRequest) -> None:
        super().__init__(message.response_writer.server_addr)
        self.request = message.request
        self.node_headers = as_dict(message.response_writer.header)

    async def write_header(self, status: int, headers: Headers | None = None) -> None:
        request = responsewriter_pb2.WriteHeaderRequest(status_code=status, headers=_headers(headers))
        await self.call(ResponseWriter.WriteHeader, request)

    async def write(self, payload: bytes, headers: Headers | None = None) -> int:
        request = responsewriter_pb2.WriteRequest(payload=payload, headers=_headers(headers))
        return (await self.call(ResponseWriter.Write, request)).written

    async def flush(self) -> None:
        await self.call(ResponseWriter.Flush, Empty())

    async def read(self, length: int) -> reader_pb2.ReadResponse:
        return await self.call(Reader.Read, reader_pb2.ReadRequest(length=length))

    async def hijack(self) -> Connection:
        return Connection(await self.call(ResponseWriter.Hijack, Empty()))


Simple: TypeAlias = Callable[[http_pb2.HandleSimpleHTTPRequest, Context], Awaitable[Any]]
Handle: TypeAlias = Callable[[Exchange], Awaitable[Headers | None]]


class FakeVM:
    """An `http.HTTP` server, whose methods call what the test assigns to `simple` and `handle`."""

    def __init__(self, *, empty_handle_response: bool = False) -> None:
        self.simple: Simple = self._unexpected
        self.handle: Handle = self._unexpected
        self.address = ""
        self.requests: list[http_pb2.HandleSimpleHTTPRequest] = []
        self.cancelled = threading.Event()
        """A call of `Handle` or `HandleSimple` was cancelled."""
        self._empty_handle_response = empty_handle_response
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-vm")
        self._thread.start()
        self._server: Any = None
        self.run(self._start())

    def run(self, work: Any) -> Any:
        """The result of the coroutine *work* on the VM's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    def stop(self) -> None:
        self.run(self._server.stop(None))
        self.run(self._settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _settle(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _start(self) -> None:
        server = grpc.aio.server(options=UNLIMITED)
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "HandleSimple": grpc.unary_unary_rpc_method_handler(
                self._on_simple,
                request_deserializer=http_pb2.HandleSimpleHTTPRequest.FromString,
                response_serializer=_serialize,
            ),
            "Handle": grpc.unary_unary_rpc_method_handler(
                self._on_handle,
                request_deserializer=http_pb2.HTTPRequest.FromString,
                response_serializer=_serialize,
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(HTTP.full_name, handlers),))
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        self._server = server

    async def _on_simple(self, request: http_pb2.HandleSimpleHTTPRequest, context: Context) -> Any:
        self.requests.append(request)
        try:
            return await self.simple(request, context)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _on_handle(self, request: http_pb2.HTTPRequest, context: Context) -> Any:
        exchange = Exchange(request)
        try:
            final = await self.handle(exchange)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        except RefuseCall as refusal:
            await context.abort(grpc.StatusCode.UNKNOWN, str(refusal))
        finally:
            await exchange.close()
        if self._empty_handle_response:
            return Empty()
        return http_pb2.HTTPResponse(header=elements(final or {}))

    async def _unexpected(self, *_: Any) -> Any:
        raise AssertionError("the node called the other method than the test expects")


class RefuseCall(Exception):
    """Raised by a test's `handle`: the call fails with UNKNOWN and this text."""


def elements(headers: Headers) -> list[http_pb2.Element]:
    return [http_pb2.Element(key=key, values=values) for key, values in headers.items()]


def as_dict(received: Any) -> dict[str, list[str]]:
    return {element.key: list(element.values) for element in received}


def respond(
    code: int, body: bytes = b"", headers: Headers | None = None
) -> Callable[[http_pb2.HandleSimpleHTTPRequest, Context], Awaitable[http_pb2.HandleSimpleHTTPResponse]]:
    """A `simple` that always responds the same; without *headers* it returns the node's."""

    async def simple(
        request: http_pb2.HandleSimpleHTTPRequest, context: Context
    ) -> http_pb2.HandleSimpleHTTPResponse:
        own = request.response_headers if headers is None else elements(headers)
        return http_pb2.HandleSimpleHTTPResponse(code=code, headers=own, body=body)

    return simple


def _headers(headers: Headers | None) -> list[responsewriter_pb2.Header]:
    return [responsewriter_pb2.Header(key=key, values=values) for key, values in (headers or {}).items()]


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
