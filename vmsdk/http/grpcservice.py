"""gRPC services of the author's own, as an ASGI app: what a node carries to a VM over HTTP/2.

grpcio's own server would listen on a port that a node's clients never reach. What grpcio generates, though,
only registers methods; here they are called by the events of ASGI. This module needs nothing of grpcio.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from vmsdk.http.asgi import FAILURES, RUN_IN_THREAD, WAITING, Receive, Scope, Send, refuse_websocket, respond
from vmsdk.http.grpccontext import UNKNOWN, Aborted, AsyncContext, Context, metadata_of, to_headers
from vmsdk.http.grpcmessages import ENCODINGS, UNIMPLEMENTED, MessageReader, MessageRefused, frame

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Source: grpcio's own limit for a message that is received."""

DEADLINE_EXCEEDED = 4

# Requests of a stream that have arrived and not been taken; then the client has to wait.
_MAX_UNREAD = 16
_UNIT_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])\Z")

_log = logging.getLogger(__name__)


class _Details(NamedTuple):
    """`grpc.HandlerCallDetails`: what a generic handler decides by."""

    method: str
    invocation_metadata: Any


class GRPC:
    """Services registered by grpcio's generated code, in place of a `grpc.Server`:

        app = GRPC()
        add_GreeterServicer_to_server(Greeter(), app)

    Return it from `new_http_handler`. Methods may be `async`, as for `grpc.aio`, or plain; a plain one runs in a
    thread, and a stream of it for as long as it lasts: long streams belong into `async` methods.
    Calls of every kind are served, with metadata, deadlines, cancellation and compressed requests.
    """

    def __init__(self, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.max_message_bytes = max_message_bytes
        self._methods: dict[str, Any] = {}
        self._generic: list[Any] = []

    # What generated code calls --------------------------------------------------------------------

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[Any]) -> None:
        """Register services, as with `grpc.Server`."""
        self._generic.extend(generic_rpc_handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        """Register one service's methods, as with `grpc.Server`."""
        for name, handler in method_handlers.items():
            self._methods[f"/{service_name}/{name}"] = handler

    # ASGI -------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await refuse_websocket(scope, receive, send, "this path speaks gRPC")
        if scope["type"] != "http":
            return
        content_type = dict(scope["headers"]).get(b"content-type", b"")
        if scope["method"] != "POST" or not content_type.startswith(b"application/grpc"):
            await respond(send, 415, [(b"content-type", b"text/plain")], b"this path speaks gRPC\n")
        elif "http.response.trailers" not in scope.get("extensions", {}) or scope["http_version"] != "2":
            await respond(send, 505, [(b"content-type", b"text/plain")], b"gRPC needs HTTP/2\n")
        else:
            await _Call(self, scope, receive, send, content_type).run()

    def find(self, path: str, metadata: Any) -> Any:
        """The handler of the method at *path*; None if there is none."""
        handler = self._methods.get(path)
        if handler is not None:
            return handler
        found = (generic.service(_Details(path, metadata)) for generic in self._generic)
        return next((handler for handler in found if handler is not None), None)


class _Call:
    """One call of a method."""

    def __init__(self, app: GRPC, scope: Scope, receive: Receive, send: Send, content_type: bytes) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._content_type = content_type
        self._timeout_s = _timeout_s(headers.get(b"grpc-timeout", ""))
        self._reader = MessageReader(headers.get(b"grpc-encoding", "identity"), app.max_message_bytes)
        self._requests: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(_MAX_UNREAD)
        self._started = False
        self._loop = asyncio.get_running_loop()
        self._handler: Any = None
        self._context = Context(scope, None)

    async def run(self) -> None:
        path = self._scope["path"].removeprefix(self._scope.get("root_path", ""))
        self._handler = self._app.find(path, metadata_of(self._scope["headers"]))
        if self._handler is None:
            self._context.fail(UNIMPLEMENTED, f"there is no method {path}")
            await self._finish()
            return
        work = asyncio.ensure_future(self._work(path))
        arriving = asyncio.ensure_future(self._arrive(work))
        try:
            await asyncio.wait([work], timeout=self._timeout_s)
            if not work.done():
                work.cancel()
                self._context.fail(DEADLINE_EXCEEDED, "Deadline Exceeded")
            elif work.cancelled():
                return  # The client has left.
            await self._finish()
        finally:
            self._context.end()
            arriving.cancel()
            work.cancel()
            await asyncio.wait([work, arriving])
            self._release()

    def _release(self) -> None:
        """A thread that still waits for a request gets the end."""
        while not self._requests.empty():
            self._requests.get_nowait()
        self._requests.put_nowait(None)

    async def _finish(self) -> None:
        await self._start()
        await self._send({"type": "http.response.body", "body": b""})
        await self._send({"type": "http.response.trailers", "headers": self._context.trailers()})

    async def _start(self) -> None:
        if not self._started:
            self._started = True
            headers = [
                (b"content-type", self._content_type),
                (b"grpc-accept-encoding", ",".join(ENCODINGS).encode()),
            ]
            headers += to_headers(self._context.initial)
            await self._send(
                {"type": "http.response.start", "status": 200, "headers": headers, "trailers": True}
            )

    # Requests --------------------------------------------------------------------------------------

    async def _arrive(self, work: asyncio.Future[None]) -> None:
        """Take what the client sends; when it leaves, the method is cancelled."""
        await self._take_requests()
        while True:
            if (await self._receive())["type"] == "http.disconnect":
                work.cancel()
                return

    async def _take_requests(self) -> None:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return  # It is told again.
            more = message.get("more_body", False)
            try:
                for request in self._reader.feed(message.get("body", b"")):
                    await self._requests.put(request)
                if not more:
                    self._reader.end()
                    await self._requests.put(None)
            except MessageRefused as error:
                await self._requests.put(error)
                return

    async def _next(self) -> Any:
        """The next request. Raises `StopAsyncIteration` at the end, and `MessageRefused`."""
        request = await self._requests.get()
        if request is None or isinstance(request, Exception):
            self._requests.put_nowait(request)  # It stays the last.
            if request is None:
                raise StopAsyncIteration
            raise request
        deserialize = self._handler.request_deserializer
        return deserialize(request) if deserialize else request

    async def _read(self) -> Any:
        """What `grpc.aio` calls `context.read()`."""
        try:
            return await self._next()
        except StopAsyncIteration:
            # Who asks for it has imported it.
            return getattr(sys.modules.get("grpc.aio"), "EOF", None)

    async def _only(self) -> Any:
        try:
            return await self._next()
        except StopAsyncIteration:
            raise MessageRefused(UNIMPLEMENTED, "the request has no message") from None

    # Responses -------------------------------------------------------------------------------------

    async def _write(self, response: Any) -> None:
        serialize = self._handler.response_serializer
        await self._start()
        body = frame(serialize(response) if serialize else response)
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    # The method ------------------------------------------------------------------------------------

    async def _work(self, path: str) -> None:
        handler = self._handler
        kind = f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if handler.response_streaming else 'unary'}"
        method = getattr(handler, kind)
        deadline = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        is_async = inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
        try:
            if is_async:
                self._context = AsyncContext(self._scope, deadline, self._read, self._write)
                await self._call_async(method)
            else:
                self._context = Context(self._scope, deadline)
                run = self._scope.get(RUN_IN_THREAD, asyncio.to_thread)
                request = None if handler.request_streaming else await self._only()
                await run(self._call_plain, method, request)
        except Aborted:
            pass  # The context holds the status.
        except MessageRefused as error:
            self._context.fail(error.code, str(error))
        except ConnectionError:
            raise asyncio.CancelledError from None  # The client has left.
        except FAILURES as error:
            _log.error("gRPC method %s failed", path, exc_info=error)
            self._context.fail(UNKNOWN, "Exception calling application: the log of the chain says more")

    async def _call_async(self, method: Callable[..., Any]) -> None:
        streams = self._handler.request_streaming
        request: Any = self._stream() if streams else await self._only()
        if inspect.isasyncgenfunction(method):
            async for response in method(request, self._context):
                await self._write(response)
            return
        response = await method(request, self._context)
        if not self._handler.response_streaming and not self._context.code():
            await self._write(response)

    async def _stream(self) -> AsyncIterator[Any]:
        while True:
            try:
                yield await self._next()
            except StopAsyncIteration:
                return

    def _call_plain(self, method: Callable[..., Any], request: Any) -> None:
        """In a thread."""
        result = method(self._plain_stream() if self._handler.request_streaming else request, self._context)
        if not self._handler.response_streaming:
            if not self._context.code():
                self._in_loop(self._write(result))
            return
        for response in result:
            if self._context.is_over:
                return
            self._in_loop(self._write(response))

    def _plain_stream(self) -> Iterator[Any]:
        while True:
            request, is_end = self._in_loop(self._next_or_end())
            if is_end:
                return
            yield request

    async def _next_or_end(self) -> tuple[Any, bool]:
        try:
            return await self._next(), False
        except StopAsyncIteration:
            return None, True

    def _in_loop(self, work: Any) -> Any:
        with self._scope.get(WAITING, nullcontext)():
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _timeout_s(text: str) -> float | None:
    found = _TIMEOUT.match(text)
    return int(found.group(1)) * _UNIT_S[found.group(2)] if found else None
