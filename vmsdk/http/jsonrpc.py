"""JSON-RPC 2.0, by POST and on WebSockets: the public methods of an object as `service.method`."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple, overload

from vmsdk.errors import InvalidBlock, NotFound, Refused
from vmsdk.http.asgi import (
    FAILURES,
    REPORT,
    RUN_IN_THREAD,
    Receive,
    Report,
    Scope,
    Send,
    internal_error,
    refuse_websocket,
    report_to_log,
    respond,
)
from vmsdk.http.connection import Connection, Subscription
from vmsdk.http.rpcmessage import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    RESPONSE_TOO_LARGE,
    SERVER_ERROR,
    JSONRPCError,
    encode,
    failure,
)
from vmsdk.http.rpcmethod import Arguments, RPCMethod, methods_of, wire_names
from vmsdk.http.rpctypes import quoted
from vmsdk.jsontext import decode, depth
from vmsdk.vm import ChainVM

MAX_BATCH = 1_000
"""The most calls in one batch. Source: the default of go-ethereum."""
MAX_BATCH_RESPONSE_BYTES = 25_000_000
"""When the responses of a batch exceed this in total, the remaining calls are refused. Source: the
default of go-ethereum.
"""
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 128
"""How deeply arrays and objects may be nested."""

RunInThread = Callable[..., Awaitable[Any]]

_log = logging.getLogger(__name__)
# The parameters of larger requests are converted in a thread: the slowest types take up to 5 µs per
# byte, so 20 ms for this many.
_MAX_ON_LOOP_BYTES = 4 * 1024
_MAX_TYPE = 100
_MAX_ORIGIN = 200
_JSON_TYPES = (b"application/json", b"application/json-rpc", b"application/jsonrequest")


class JSONRPC:
    """Serves the public methods of objects, by POST and on WebSockets. Return it from
    `create_handlers`.

    `JSONRPC("chain", service)` and `JSONRPC({"chain": service, "admin": other})` serve each public
    method as `chain.proposeBlock`, callable by that name, by its Python name and by its Go name. A
    function in place of an object is one method with exactly the name given. *separator* joins the
    two parts of a name: Ethereum's clients expect `_`, as in `eth_blockNumber`.

    Plain methods run in a thread, so they may use the node's database and `Context.lock`; `async`
    methods run on the event loop and must not block it. Raise `JSONRPCError` to respond with your
    own error. `NotFound`, `InvalidBlock` and `Refused` (such as `chain.Invalid`) become -32000 with
    their text. Any other exception is a bug: the client gets -32603, and the log a traceback.

    Parameters are an array, an object (names match regardless of case and underscores), or an array
    of one object. Annotations of JSON types (`str`, `int`, `float`, `bool`, `list`, `dict`, `None`
    and unions of them) are checked, and so are the items of lists and dicts; `Literal` and enums
    admit their values. An array becomes a `tuple`, text an `ID` or `NodeID`, hexadecimal digits
    `bytes`; subclasses of `str`, `int`, `float` and `bytes` are called with the value. A type that
    JSON can't represent raises `TypeError`, unless the parameter has a default: then clients can't
    set it. A result is any JSON value, in which IDs become text.

    A method with a parameter annotated `Connection` receives the client's WebSocket, to send
    notifications and open subscriptions. It can't be called by POST, unless the annotation is
    `Connection | None`.

    A browser sends the origin of the page that opens a WebSocket. Pages from the node's own host
    are admitted, and those in *origins*, such as `["https://example.org"]`; `["*"]` admits all.
    """

    @overload
    def __init__(self, services: str, service: object, *, separator: str = ..., origins: Collection[str] = ..., max_batch: int = ..., max_body_bytes: int = ..., max_depth: int = ...) -> None: ...  # fmt: skip  # noqa: E501
    @overload
    def __init__(self, services: Mapping[str, object], *, separator: str = ..., origins: Collection[str] = ..., max_batch: int = ..., max_body_bytes: int = ..., max_depth: int = ...) -> None: ...  # fmt: skip  # noqa: E501
    def __init__(
        self,
        services: str | Mapping[str, object],
        service: object = None,
        *,
        separator: str = ".",
        origins: Collection[str] = (),
        max_batch: int = MAX_BATCH,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_depth: int = MAX_DEPTH,
    ) -> None:
        if not isinstance(services, (str, Mapping)):
            raise TypeError(f'JSONRPC({services!r}): give its methods a name first: JSONRPC("name", service)')
        if isinstance(origins, str):
            raise TypeError(f"JSONRPC(origins={origins!r}): pass a list, such as [{origins!r}]")
        self.separator = separator
        self.origins = {origin.lower() for origin in origins}
        self.max_batch = max_batch
        self.max_body_bytes = max_body_bytes
        self.max_depth = max_depth
        self._methods: dict[str, RPCMethod] = {}
        for name, item in ({services: service} if isinstance(services, str) else services).items():
            self._add(name, item)

    def _add(self, name: str, service: object) -> None:
        if inspect.isroutine(service) or isinstance(service, partial):
            self._add_method(name, _checked(name, service))
            return
        if isinstance(service, type):
            raise TypeError(f"JSONRPC({name!r}, {service.__name__}): that is the class; pass an instance")
        if isinstance(service, ChainVM):
            raise TypeError(
                f"JSONRPC({name!r}, {type(service).__name__}): that is the VM, and every client could "
                "call its shutdown and its other methods; pass an object with just the methods to serve"
            )
        methods = [] if type(service).__module__ == "builtins" else [*methods_of(service)]
        if not methods:
            raise TypeError(
                f"JSONRPC({name!r}, {service!r}): no public methods; pass an object or a function"
            )
        for python_name, function in methods:
            try:
                method = _checked(f"{name}{self.separator}{python_name}", function)
            except TypeError as error:
                raise TypeError(
                    f"{error}; or start its name with an underscore to hide it from clients"
                ) from None
            for wire_name in wire_names(python_name):
                self._add_method(f"{name}{self.separator}{wire_name}", method)

    def _add_method(self, name: str, method: RPCMethod) -> None:
        other = self._methods.setdefault(name, method)
        if other is not method:
            raise TypeError(
                f"JSONRPC: {other.name} and {method.name} both have the name {name!r}; rename one"
            )

    @property
    def is_plain(self) -> bool:
        """Whether all methods are plain, so that no event loop is needed."""
        return not any(method.is_async for method in self._methods.values())

    # HTTP ----------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)
        if scope["type"] != "http":
            return
        content_type = next((value for name, value in scope["headers"] if name == b"content-type"), None)
        refused = _refusal(scope["method"], content_type) is not None
        body = b"" if refused else await _read(receive, self.max_body_bytes)
        if body is None:
            return  # The client has disconnected.
        run, report = scope.get(RUN_IN_THREAD, asyncio.to_thread), scope.get(REPORT, report_to_log)
        reply = await self.respond(scope["method"], content_type, body, run, report)
        length = (b"content-length", b"%d" % len(reply.body))
        headers = [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
        await respond(send, reply.status, headers if reply.status == 204 else [*headers, length], reply.body)

    async def respond(
        self,
        method: str,
        content_type: bytes | None,
        body: bytes,
        run_in_thread: RunInThread = asyncio.to_thread,
        report: Report = report_to_log,
    ) -> Reply:
        """Return the HTTP response to a whole HTTP request, without the events of ASGI."""
        refusal = _refusal(method, content_type)
        if refusal is not None:
            return refusal
        if len(body) > self.max_body_bytes:
            return _text(413, f"a request has at most {self.max_body_bytes} bytes")
        result = await self.handle(body, run_in_thread, report)
        return Reply(204, {}, b"") if result is None else Reply(200, _JSON, result)

    # WebSockets -----------------------------------------------------------------------------------

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        origin, host = (headers.get(name, b"").decode("latin-1").lower() for name in (b"origin", b"host"))
        # Browsers let any page open a WebSocket to any site.
        if origin and not self.origins & {origin, "*"} and origin.partition("://")[2] != host:
            reason = (
                f"pages of {origin[:_MAX_ORIGIN]} may not call this service: "
                "JSONRPC(origins=...) can admit them"
            )
            await refuse_websocket(scope, receive, send, reason, 403)
            return
        run, report = scope.get(RUN_IN_THREAD, asyncio.to_thread), scope.get(REPORT, report_to_log)
        await receive()
        await send({"type": "websocket.accept"})
        handle = partial(self.handle, run_in_thread=run, report=report)
        await Connection(send, report).serve(receive, handle)

    # JSON-RPC -------------------------------------------------------------------------------------

    async def handle(
        self,
        body: bytes,
        run_in_thread: RunInThread = asyncio.to_thread,
        report: Report = report_to_log,
        connection: Connection | None = None,
        opened: list[Subscription] | None = None,
    ) -> bytes | None:
        """Return the response to a call or a batch; None if it consists of notifications only.

        On a WebSocket, *connection* is the client's. The calls' subscriptions are added to
        *opened*: begin them when the response has been sent.
        """
        caller = _Caller(report, connection, opened, is_large=len(body) > _MAX_ON_LOOP_BYTES)
        if len(body) > self.max_body_bytes:
            return _invalid(f"a request has at most {self.max_body_bytes} bytes, not {len(body)}")
        try:
            request = decode(body)
        except (ValueError, RecursionError) as error:
            return failure(None, JSONRPCError(PARSE_ERROR, f"parse error: {error}"))
        # Counting brackets is enough for nearly every request.
        if body.count(b"[") + body.count(b"{") > self.max_depth and depth(request) > self.max_depth:
            return _invalid(f"nested more than {self.max_depth} deep")
        if not isinstance(request, list):
            return await _run_one(self._prepare(request, caller), run_in_thread) or None
        if not request or len(request) > self.max_batch:
            return _invalid(f"a batch has 1 to {self.max_batch} calls, not {len(request)}")
        calls = [self._prepare(each, caller) for each in request]
        results = [result for result in await _run_batch(calls, run_in_thread) if result]
        return b"[" + b",".join(results) + b"]" if results else None

    def _prepare(self, request: Any, caller: _Caller) -> _Call | bytes:
        """Return the call in *request*, or the response that refuses it."""
        if not isinstance(request, dict):
            return _invalid("not an object")
        call_id = request.get("id")
        if isinstance(call_id, bool) or not isinstance(call_id, (str, int, float, type(None))):
            return _invalid("the id is not a string, a number or null")
        if request.get("jsonrpc") != "2.0":
            return _invalid('"jsonrpc" is not "2.0"', call_id)
        name, params = request.get("method"), request.get("params")
        if not isinstance(name, str):
            return _invalid('"method" is not a string', call_id)
        if not isinstance(params, (list, dict, type(None))):
            return _invalid('"params" is neither an array nor an object', call_id)
        is_notification = "id" not in request
        method = self._methods.get(name)
        if method is None:
            error = JSONRPCError(METHOD_NOT_FOUND, f"method not found: {quoted(name)}")
            return b"" if is_notification else failure(call_id, error)
        return _Call(method, params, call_id, is_notification, caller)


def _checked(name: str, function: Callable[..., Any]) -> RPCMethod:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} contains `yield`, so calling it runs nothing: return a list")
    return RPCMethod(name, function)


class _Caller(NamedTuple):
    """The source of a request."""

    report: Report
    connection: Connection | None
    """None for a POST."""
    opened: list[Subscription] | None
    is_large: bool
    """Whether converting its parameters would block the event loop for too long."""


class _Call(NamedTuple):
    """A call of a method that exists."""

    method: RPCMethod
    params: Any
    id: Any
    is_notification: bool
    caller: _Caller

    def run(self) -> bytes:
        """Call a plain method and return the response, which is empty for a notification."""
        try:
            args, named = self.method.bind(self.params, self.caller.connection)
            return self._success(self.method.function(*args, **named))
        except FAILURES as error:
            return self.fail(error)

    async def run_async(self, run_in_thread: RunInThread) -> bytes:
        """Await an `async` method and return the response, which is empty for a notification."""
        arguments = await run_in_thread(self._bind) if self.caller.is_large else self._bind()
        if isinstance(arguments, bytes):
            return arguments
        args, named = arguments
        try:
            return self._success(await self.method.function(*args, **named))
        except FAILURES as error:
            return self.fail(error)

    def _bind(self) -> Arguments | bytes:
        """Return the arguments, or the response that refuses the parameters."""
        try:
            return self.method.bind(self.params, self.caller.connection)
        except FAILURES as error:  # a class of the author's may raise anything
            return self.fail(error)

    def _success(self, result: Any) -> bytes:
        if isinstance(result, Subscription):
            if self.is_notification:
                result.end()  # The client would never learn its ID.
            elif self.caller.opened is not None:
                self.caller.opened.append(result)
            result = result.id
        if self.is_notification:
            return b""
        return f'{{"jsonrpc":"2.0","result":{encode(result)},"id":{encode(self.id)}}}'.encode()

    def fail(self, error: BaseException) -> bytes:
        """Return the response for an error, which is empty for a notification."""
        if isinstance(error, (NotFound, InvalidBlock, Refused)):
            _log.debug("JSON-RPC method %s: %s", self.method.name, error)
            error = JSONRPCError(SERVER_ERROR, str(error))
        elif not isinstance(error, JSONRPCError):
            consequence = f"the client gets error {INTERNAL_ERROR}"
            fault = self.caller.report(f"JSON-RPC method {self.method.name}", error, consequence)
            error = JSONRPCError(INTERNAL_ERROR, internal_error(fault))
        return b"" if self.is_notification else failure(self.id, error)


async def _run_one(call: _Call | bytes, run_in_thread: RunInThread) -> bytes:
    if isinstance(call, bytes):
        return call
    if call.method.is_async:
        return await call.run_async(run_in_thread)
    result: bytes = await run_in_thread(call.run)
    return result


async def _run_batch(calls: list[_Call | bytes], run_in_thread: RunInThread) -> list[bytes]:
    if any(isinstance(call, _Call) and call.method.is_async for call in calls):
        responses: list[bytes] = []
        size = 0
        for call in calls:
            responses.append(await _run_one(_unless_full(call, size), run_in_thread))
            size += len(responses[-1])
        return responses
    results: list[bytes] = await run_in_thread(_run_all, calls)
    return results


def _run_all(calls: list[_Call | bytes]) -> list[bytes]:
    responses: list[bytes] = []
    size = 0
    for each in calls:
        call = _unless_full(each, size)
        responses.append(call if isinstance(call, bytes) else call.run())
        size += len(responses[-1])
    return responses


def _unless_full(call: _Call | bytes, size: int) -> _Call | bytes:
    """Return *call*, or the response that refuses it if the batch has *size* bytes already."""
    if isinstance(call, bytes) or call.is_notification or size <= MAX_BATCH_RESPONSE_BYTES:
        return call
    text = f"the responses of this batch have more than {MAX_BATCH_RESPONSE_BYTES} bytes: send smaller ones"
    return failure(call.id, JSONRPCError(RESPONSE_TOO_LARGE, text))


def _invalid(reason: str, call_id: Any = None) -> bytes:
    """Return the response to an invalid request."""
    return failure(call_id, JSONRPCError(INVALID_REQUEST, f"invalid request: {reason}"))


# HTTP --------------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    """All but `Content-Length`."""
    body: bytes


_JSON = {"Content-Type": "application/json; charset=utf-8"}


def _text(status: int, text: str, **headers: str) -> Reply:
    return Reply(status, {"Content-Type": "text/plain; charset=utf-8", **headers}, f"{text}\n".encode())


def _refusal(method: str, content_type: bytes | None) -> Reply | None:
    """Return the response that refuses the request; None if it may hold JSON-RPC."""
    if method != "POST":
        return _text(405, "send JSON-RPC requests by POST, or on a WebSocket", Allow="POST")
    # Without a preflight, browsers let any page send other types, or none, to any site.
    if content_type is None or content_type[:_MAX_TYPE].split(b";")[0].strip().lower() not in _JSON_TYPES:
        given = "there is none" if content_type is None else repr(content_type[:_MAX_TYPE].decode("latin-1"))
        return _text(415, f'send "Content-Type: application/json"; the request says {given}')
    return None


async def _read(receive: Receive, limit: int) -> bytes | None:
    """Read the body until it ends or exceeds *limit*; None if the client has disconnected."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        return body
    chunks, size = [], 0
    while message["type"] == "http.request":
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit or not message.get("more_body", False):
            return b"".join(chunks)
        message = await receive()
    return None
