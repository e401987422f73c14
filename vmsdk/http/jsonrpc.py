"""JSON-RPC 2.0 over HTTP POST: the public methods of an object as `service.method`."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, NoReturn, overload

from vmsdk.errors import InvalidBlock, NotFound
from vmsdk.http.asgi import FAILURES, RUN_IN_THREAD, Receive, Scope, Send, refuse_websocket, respond
from vmsdk.http.jsonrpcerror import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    SERVER_ERROR,
    JSONRPCError,
)
from vmsdk.http.rpcmethod import Arguments, RPCMethod, methods_of, wire_names
from vmsdk.ids import ID, NodeID

MAX_BATCH = 1_000
"""Calls in one batch. Source: the default of the field's largest JSON-RPC server, go-ethereum."""
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 128
"""How deep arrays and objects may be nested."""

RunInThread = Callable[..., Awaitable[Any]]

_log = logging.getLogger(__name__)
_JSON_TYPES = (b"application/json", b"application/json-rpc", b"application/jsonrequest")


class JSONRPC:
    """One or more services, mounted as they are in `create_handlers`.

    `JSONRPC("timestampvm", service)` or `JSONRPC({"timestampvm": service, "admin": other})` serves each
    public method of a service as `timestampvm.proposeBlock`, called by that name, by its Python name or
    by Go's. A function instead of a service is one method under exactly the name given.

    Plain methods run in a thread, so they may use the node's database and `Context.lock`; `async`
    methods run on the event loop, and may not. Raise `JSONRPCError` to answer with an error of your
    own; `NotFound` and `InvalidBlock` answer -32000 with their text. Any other exception is a bug: it
    answers -32603, and the log gets the traceback.

    Parameters may be an array, an object (names match without regard to case and underscores), or an
    array of one object. Annotations of JSON types (`str`, `int`, `float`, `bool`, `list`, `dict`, `None`
    and unions of them) are checked, and `ID` and `NodeID` made of their text. A result is any JSON
    value, in which IDs become their text.
    """

    @overload
    def __init__(self, services: str, service: object, *, max_batch: int = ..., max_body_bytes: int = ..., max_depth: int = ...) -> None: ...  # fmt: skip
    @overload
    def __init__(self, services: Mapping[str, object], *, max_batch: int = ..., max_body_bytes: int = ..., max_depth: int = ...) -> None: ...  # fmt: skip
    def __init__(
        self,
        services: str | Mapping[str, object],
        service: object = None,
        *,
        max_batch: int = MAX_BATCH,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_depth: int = MAX_DEPTH,
    ) -> None:
        self.max_batch = max_batch
        self.max_body_bytes = max_body_bytes
        self.max_depth = max_depth
        self._methods: dict[str, RPCMethod] = {}
        for name, item in ({services: service} if isinstance(services, str) else services).items():
            self._add(name, item)

    def _add(self, name: str, service: object) -> None:
        if inspect.isroutine(service):
            self._add_method(name, RPCMethod(name, service))
            return
        if isinstance(service, type):
            raise TypeError(
                f"JSONRPC({name!r}, {service.__name__}) is given the class: give an instance of it"
            )
        before = len(self._methods)
        for python_name, function in methods_of(service):
            names = [f"{name}.{wire_name}" for wire_name in wire_names(python_name)]
            method = RPCMethod(f"{name}.{python_name}", function)
            for each in names:
                self._add_method(each, method)
        if len(self._methods) == before:
            raise TypeError(f"JSONRPC({name!r}, {service!r}): the object has no public methods to serve")

    def _add_method(self, name: str, method: RPCMethod) -> None:
        other = self._methods.setdefault(name, method)
        if other is not method:
            raise TypeError(f"JSONRPC: {other.name} and {method.name} are both called {name!r}; rename one")

    @property
    def is_plain(self) -> bool:
        """Whether no method is `async`: then answering takes a thread, and no event loop."""
        return not any(method.is_async for method in self._methods.values())

    # HTTP ------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await refuse_websocket(scope, receive, send, "this path speaks JSON-RPC, by POST")
        if scope["type"] != "http":
            return
        content_type = next((value for name, value in scope["headers"] if name == b"content-type"), None)
        run = scope.get(RUN_IN_THREAD, asyncio.to_thread)
        refusal = _refusal(scope["method"], content_type)
        body = b"" if refusal else await _read(receive, self.max_body_bytes)
        if body is None:
            return
        reply = refusal or await self.reply(body, run)
        length = (b"content-length", b"%d" % len(reply.body))
        headers = [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
        await respond(send, reply.status, headers if reply.status == 204 else [*headers, length], reply.body)

    async def respond(
        self,
        method: str,
        content_type: str | None,
        body: bytes,
        run_in_thread: RunInThread = asyncio.to_thread,
    ) -> Reply:
        """The whole HTTP response to a whole HTTP request: what an app does, without the events of ASGI."""
        given = None if content_type is None else content_type.encode()
        return _refusal(method, given) or await self.reply(body, run_in_thread)

    async def reply(self, body: bytes, run_in_thread: RunInThread) -> Reply:
        """The HTTP response to a POST of *body*."""
        if len(body) > self.max_body_bytes:
            return _text(413, f"a request has at most {self.max_body_bytes} bytes")
        answer = await self.answer(body, run_in_thread)
        return Reply(204, {}, b"") if answer is None else Reply(200, _JSON, answer)

    # JSON-RPC --------------------------------------------------------------------------------------

    async def answer(self, body: bytes, run_in_thread: RunInThread = asyncio.to_thread) -> bytes | None:
        """The response to the request or batch in *body*; None if it holds notifications only."""
        try:
            request = _decode(body)
        except (ValueError, RecursionError) as error:
            return _failure(None, JSONRPCError(PARSE_ERROR, f"parse error: {error}"))
        # Counting brackets is a cheap answer for nearly every request.
        if body.count(b"[") + body.count(b"{") > self.max_depth and _depth(request) > self.max_depth:
            reason = f"nested more than {self.max_depth} deep"
            return _failure(None, JSONRPCError(INVALID_REQUEST, f"invalid request: {reason}"))
        if not isinstance(request, list):
            return await _run_one(self._prepare(request), run_in_thread) or None
        if not request or len(request) > self.max_batch:
            reason = f"a batch has 1 to {self.max_batch} calls, not {len(request)}"
            return _failure(None, JSONRPCError(INVALID_REQUEST, f"invalid request: {reason}"))
        answer = await self._answer_calls([self._prepare(each) for each in request], run_in_thread)
        return None if answer is None else b"[" + answer + b"]"

    async def _answer_calls(self, calls: list[_Call | bytes], run_in_thread: RunInThread) -> bytes | None:
        if any(isinstance(call, _Call) and call.method.is_async for call in calls):
            answers = [await _run_one(call, run_in_thread) for call in calls]
        elif all(isinstance(call, bytes) for call in calls):
            answers = calls  # type: ignore[assignment] # nothing to run: all are refused already
        else:
            answers = await run_in_thread(_run_all, calls)
        answers = [answer for answer in answers if answer]
        return b",".join(answers) if answers else None

    def _prepare(self, request: Any) -> _Call | bytes:
        """What *request* asks for, or the response that refuses it."""
        if not isinstance(request, dict):
            return _failure(None, JSONRPCError(INVALID_REQUEST, "invalid request: not an object"))
        call_id = request.get("id")
        try:
            if isinstance(call_id, bool) or not isinstance(call_id, (str, int, float, type(None))):
                call_id = None
                _invalid("the id is not a string, a number or null")
            if request.get("jsonrpc") != "2.0":
                _invalid('"jsonrpc" is not "2.0"')
            name = request.get("method")
            if not isinstance(name, str):
                _invalid('"method" is not a string')
            params = request.get("params")
            if not isinstance(params, (list, dict, type(None))):
                _invalid('"params" is neither an array nor an object')
        except JSONRPCError as error:
            return _failure(call_id, error)
        is_notification = "id" not in request
        try:
            method = self._methods.get(name)
            if method is None:
                raise JSONRPCError(METHOD_NOT_FOUND, f"method not found: {name}")
            return _Call(method, method.bind(params), call_id, is_notification)
        except JSONRPCError as error:
            return b"" if is_notification else _failure(call_id, error)


class _Call:
    """A call that is ready to run."""

    __slots__ = ("arguments", "id", "is_notification", "method")

    def __init__(self, method: RPCMethod, arguments: Arguments, call_id: Any, is_notification: bool) -> None:
        self.method = method
        self.arguments = arguments
        self.id = call_id
        self.is_notification = is_notification

    def run(self) -> bytes:
        """Call a plain method; the response, empty for a notification."""
        args, named = self.arguments
        try:
            return self._success(self.method.function(*args, **named))
        except FAILURES as error:
            return self._failure(error)

    async def run_async(self) -> bytes:
        """Await an `async` method; the response, empty for a notification."""
        args, named = self.arguments
        try:
            return self._success(await self.method.function(*args, **named))
        except FAILURES as error:
            return self._failure(error)

    def _success(self, result: Any) -> bytes:
        if self.is_notification:
            return b""
        return f'{{"jsonrpc":"2.0","result":{_encode(result)},"id":{_encode(self.id)}}}'.encode()

    def _failure(self, error: BaseException) -> bytes:
        if isinstance(error, (NotFound, InvalidBlock)):
            _log.debug("JSON-RPC method %s: %s", self.method.name, error)
            error = JSONRPCError(SERVER_ERROR, str(error))
        elif not isinstance(error, JSONRPCError):
            _log.error("JSON-RPC method %s failed", self.method.name, exc_info=error)
            error = JSONRPCError(INTERNAL_ERROR, "internal error: the log of the chain says more")
        return b"" if self.is_notification else _failure(self.id, error)


def _run_all(calls: list[_Call | bytes]) -> list[bytes]:
    return [call if isinstance(call, bytes) else call.run() for call in calls]


async def _run_one(call: _Call | bytes, run_in_thread: RunInThread) -> bytes:
    if isinstance(call, bytes):
        return call
    if call.method.is_async:
        return await call.run_async()
    answer: bytes = await run_in_thread(call.run)
    return answer


def _invalid(reason: str) -> NoReturn:
    raise JSONRPCError(INVALID_REQUEST, f"invalid request: {reason}")


def _failure(call_id: Any, error: JSONRPCError) -> bytes:
    try:
        text = _encode(error.as_json())
    except (TypeError, ValueError, RecursionError) as reason:
        _log.error("the data of %r is no JSON: %s", error, reason)
        text = _encode(JSONRPCError(error.code, error.message).as_json())
    return f'{{"jsonrpc":"2.0","error":{text},"id":{_encode(call_id)}}}'.encode()


# JSON ----------------------------------------------------------------------------------------------


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _decode(body: bytes) -> Any:
    return _DECODER.decode(body.decode("utf-8-sig"))


def _plain(value: Any) -> Any:
    if isinstance(value, (ID, NodeID)):
        return str(value)
    cure = ": give its hex() or another text" if isinstance(value, (bytes, bytearray, memoryview)) else ""
    raise TypeError(f"a result of type {type(value).__name__} is not JSON{cure}")


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain).encode


def _depth(value: Any) -> int:
    """How many arrays and objects lie within each other, *value* included."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, (dict, list))]:
        depth += 1
        level = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
    return depth


# HTTP ----------------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    """Without its length."""
    body: bytes


_JSON = {"Content-Type": "application/json; charset=utf-8"}


def _text(status: int, text: str, **headers: str) -> Reply:
    return Reply(status, {"Content-Type": "text/plain; charset=utf-8", **headers}, f"{text}\n".encode())


def _refusal(method: str, content_type: bytes | None) -> Reply | None:
    """The response to what cannot be JSON-RPC."""
    if method != "POST":
        return _text(405, "JSON-RPC goes by POST", Allow="POST")
    if content_type is not None and content_type.split(b";")[0].strip().lower() not in _JSON_TYPES:
        # Browsers let any page send the other types to any site without asking.
        given = content_type.decode("latin-1")
        return _text(415, f'the content type is {given!r}: send "Content-Type: application/json"')
    return None


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The request's body, cut once it is over *limit*; None if the client went away."""
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
