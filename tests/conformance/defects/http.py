"""Defects in HTTP."""

from __future__ import annotations

import json
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import grpc
from google.protobuf.empty_pb2 import Empty

from tests.conformance.goodvm import GoodVM
from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk._pb.vm import vm_pb2 as pb


class NoHandlers(GoodVM):
    """CreateHandlers is an error, because it has none."""

    found_by = "http.handlers-are-created"

    def CreateHandlers(self, request: Empty) -> pb.CreateHandlersResponse:
        raise ValueError("there are no handlers")


class RelativePrefix(GoodVM):
    """The prefix does not begin with a slash."""

    found_by = "http.prefixes-are-routes"

    def CreateHandlers(self, request: Empty) -> pb.CreateHandlersResponse:
        return pb.CreateHandlersResponse(handlers=[pb.Handler(prefix="rpc", server_addr=self.address)])


class PrefixWithQuery(GoodVM):
    """The prefix has a query, which is not part of the path that a node compares."""

    found_by = "http.prefixes-are-routes"
    prefix: ClassVar[str] = "/rpc?version=1"

    def CreateHandlers(self, request: Empty) -> pb.CreateHandlersResponse:
        return pb.CreateHandlersResponse(handlers=[pb.Handler(prefix=self.prefix, server_addr=self.address)])


class PrefixWithFragment(PrefixWithQuery):
    """The prefix has a fragment, which a client never sends."""

    found_by = "http.prefixes-are-routes"
    prefix = "/rpc#v1"


class PrefixWithTwoSlashes(PrefixWithQuery):
    """The prefix has an empty segment; a node redirects requests for it to the path without."""

    found_by = "http.prefixes-are-routes"
    prefix = "//rpc"


class PrefixWithEscape(PrefixWithQuery):
    """The prefix is escaped, but a node unescapes paths before it compares them."""

    found_by = "http.prefixes-are-routes"
    prefix = "/my%20rpc"


class PrefixWithHost(PrefixWithQuery):
    """The prefix is a whole URL."""

    found_by = "http.prefixes-are-routes"
    prefix = "http://127.0.0.1/rpc"


class SamePrefixTwice(GoodVM):
    """Two handlers have the same prefix: the node serves one of them."""

    found_by = "http.prefixes-are-unique"

    def CreateHandlers(self, request: Empty) -> pb.CreateHandlersResponse:
        response = super().CreateHandlers(request)
        response.handlers.add(prefix="", server_addr=self.address)
        return response


class DeadPrefix(GoodVM):
    """Nothing listens at the address of one of its handlers."""

    found_by = "http.handlers-are-served"

    def CreateHandlers(self, request: Empty) -> pb.CreateHandlersResponse:
        response = super().CreateHandlers(request)
        self.unused = socket.socket()
        self.unused.bind(("127.0.0.1", 0))  # So that no other process gets the port.
        address = f"127.0.0.1:{self.unused.getsockname()[1]}"
        response.handlers.add(prefix="/admin", server_addr=address)
        return response


class PrefixNotServed(GoodVM):
    """The address of a handler has a server, but no http.HTTP service."""

    found_by = "http.handlers-are-served"

    def CreateHandlers(self, request: Empty) -> pb.CreateHandlersResponse:
        server = grpc.server(ThreadPoolExecutor(1))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.empty = server
        return pb.CreateHandlersResponse(handlers=[pb.Handler(server_addr=f"127.0.0.1:{port}")])


class NoStatus(GoodVM):
    """It sets no status."""

    found_by = "http.handlers-are-served"

    def HandleSimple(self, request: http_pb2.HandleSimpleHTTPRequest) -> http_pb2.HandleSimpleHTTPResponse:
        response = super().HandleSimple(request)
        response.ClearField("code")
        return response


class DropsHeaders(GoodVM):
    """It returns its own headers only."""

    found_by = "http.the-nodes-headers-are-kept"

    def HandleSimple(self, request: http_pb2.HandleSimpleHTTPRequest) -> http_pb2.HandleSimpleHTTPResponse:
        response = super().HandleSimple(request)
        del response.headers[:]
        response.headers.add(key="Content-Type", values=["text/plain"])
        return response


class EndsOnUnknownMethod(GoodVM):
    """A method that it does not know ends the process."""

    found_by = "http.odd-requests-get-a-response"

    def HandleSimple(self, request: http_pb2.HandleSimpleHTTPRequest) -> http_pb2.HandleSimpleHTTPResponse:
        if request.method not in ("GET", "POST", "OPTIONS"):
            os._exit(1)
        return super().HandleSimple(request)


class HangsOnManyHeaders(GoodVM):
    """It waits forever when there are more than 100 headers."""

    found_by = "http.odd-requests-get-a-response"

    def HandleSimple(self, request: http_pb2.HandleSimpleHTTPRequest) -> http_pb2.HandleSimpleHTTPResponse:
        if len(request.request_headers) > 100:
            threading.Event().wait()
        return super().HandleSimple(request)


class Streams(GoodVM):
    """No defect: the response to each request is endless."""

    def respond(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        if name == "HandleSimple":
            ended = threading.Event()
            context.add_callback(ended.set)
            ended.wait()
        return super().respond(name, request, context)


class OwnServer(GoodVM):
    """It serves HTTP on a server of its own, which has *limits*."""

    limits: ClassVar[dict[str, Any]] = {}

    def CreateHandlers(self, request: Empty) -> pb.CreateHandlersResponse:
        self.server = grpc.server(ThreadPoolExecutor(4), **self.limits)
        handler = grpc.unary_unary_rpc_method_handler(
            lambda request, context: self.respond("HandleSimple", request, context),
            request_deserializer=HTTP.HandleSimple.request.FromString,
            response_serializer=HTTP.HandleSimple.response.SerializeToString,
        )
        self.server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(HTTP.full_name, {"HandleSimple": handler})]
        )
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        return pb.CreateHandlersResponse(handlers=[pb.Handler(server_addr=f"127.0.0.1:{port}")])


class SmallBodies(OwnServer):
    """Its HTTP server has gRPC's default limit for messages."""

    found_by = "http.bodies-may-be-large"


class FewRequests(OwnServer):
    """Its HTTP server refuses a request while four others run."""

    found_by = "http.requests-at-once"
    limits: ClassVar[dict[str, Any]] = {"maximum_concurrent_rpcs": 4}

    def HandleSimple(self, request: http_pb2.HandleSimpleHTTPRequest) -> http_pb2.HandleSimpleHTTPResponse:
        threading.Event().wait(0.1)
        return super().HandleSimple(request)


class LosesItsLock(GoodVM):
    """If a client goes away, its request keeps the VM's lock."""

    found_by = "http.clients-that-go-away"

    def respond(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        if name == "HandleSimple" and request.method == "POST":
            with self.lock:
                threading.Event().wait(0.02)
                if not context.is_active():
                    threading.Event().wait()
        return super().respond(name, request, context)


class UpgradeHangs(GoodVM):
    """It never responds to an upgrade."""

    found_by = "http.upgrades-get-a-response"

    def respond(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        if name == "Handle":
            threading.Event().wait()
        return super().respond(name, request, context)


class HTTP2Hangs(UpgradeHangs):
    """It never responds to HTTP/2."""

    found_by = "http.http2-gets-a-response"

    def NewHTTPHandler(self, request: Empty) -> pb.NewHTTPHandlerResponse:
        return pb.NewHTTPHandlerResponse(server_addr=self.address)


class EndsWithItsClient(GoodVM):
    """The end of a WebSocket's client ends the process."""

    found_by = "http.streams-that-are-cut"

    def respond(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        if name == "Handle":
            context.add_callback(lambda: os._exit(1))
            threading.Event().wait(2)
        return super().respond(name, request, context)


class WrongLength(GoodVM):
    """Its Content-Length counts characters, not bytes."""

    found_by = "http.handlers-are-served"

    def HandleSimple(self, request: http_pb2.HandleSimpleHTTPRequest) -> http_pb2.HandleSimpleHTTPResponse:
        response = super().HandleSimple(request)
        text = "the height\N{RIGHT SINGLE QUOTATION MARK}s value"
        response.body = text.encode()
        response.headers.add(key="Content-Length", values=[str(len(text))])
        return response


class EndsOnALargeHeader(GoodVM):
    """A header of more than 64 KiB ends the process."""

    found_by = "http.odd-requests-get-a-response"

    def HandleSimple(self, request: http_pb2.HandleSimpleHTTPRequest) -> http_pb2.HandleSimpleHTTPResponse:
        if any(len(value) > 65_536 for header in request.request_headers for value in header.values):
            os._exit(1)
        return super().HandleSimple(request)


class HandlerOnAllInterfaces(GoodVM):
    """The server of its handlers can be reached from everywhere."""

    found_by = "http.handlers-listen-on-loopback-only"

    def CreateHandlers(self, request: Empty) -> pb.CreateHandlersResponse:
        self.open = grpc.server(ThreadPoolExecutor(1))
        port = self.open.add_insecure_port("0.0.0.0:0")
        self.open.start()
        return pb.CreateHandlersResponse(handlers=[pb.Handler(server_addr=f"127.0.0.1:{port}")])


class EndsOnAnUnknownCharset(GoodVM):
    """A charset that it does not know ends the process."""

    found_by = "http.odd-requests-get-a-response"

    def HandleSimple(self, request: http_pb2.HandleSimpleHTTPRequest) -> http_pb2.HandleSimpleHTTPResponse:
        for header in request.request_headers:
            _, _, charset = "".join(header.values).partition("charset=")
            try:
                request.body.decode(charset or "latin-1")
            except LookupError:
                os._exit(1)
        return super().HandleSimple(request)


class SharesItsResponse(GoodVM):
    """Requests that run at once share the place where the ID of the last one is kept."""

    found_by = "http.responses-belong-to-their-requests"
    last_id: object = None

    def respond(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        if name != "HandleSimple" or not request.body.startswith(b"{"):
            return super().respond(name, request, context)
        self.last_id = json.loads(request.body).get("id")
        threading.Event().wait(0.05)
        error = {"code": -32601, "message": "method not found"}
        body = json.dumps({"jsonrpc": "2.0", "id": self.last_id, "error": error}).encode()
        return http_pb2.HandleSimpleHTTPResponse(code=200, body=body)


class OpenStreamsTakeTheThreads(GoodVM):
    """Each WebSocket takes a thread of the engine for as long as it is open."""

    found_by = "http.open-streams-do-no-harm"
    workers = 8  # Few enough to be used up by the WebSockets that even a busy machine has opened by then.

    def respond(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        if name == "Handle":
            ended = threading.Event()
            context.add_callback(ended.set)
            ended.wait()
        return super().respond(name, request, context)


class OpenStreamHoldsTheLock(GoodVM):
    """While a WebSocket is open, the engine's calls wait."""

    found_by = "http.open-streams-do-no-harm"

    def respond(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        if name != "Handle":
            return super().respond(name, request, context)
        ended = threading.Event()
        context.add_callback(ended.set)
        with self.lock:
            ended.wait()
        raise ValueError("closed")
