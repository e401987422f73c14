"""An app's response: checks its events, and sends it to the node."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import grpc

from vmsdk.http.asgi import Message
from vmsdk.rpc.http.headers import HeaderMap, RawHeaders, from_asgi, merge, trailer_keys
from vmsdk.rpc.http.nodeservers import ClientDisconnected, ResponseChannel

# RFC 9110, section 6.4.1: these have no body.
_NO_BODY = frozenset((204, 205, 304))


class Phase(enum.Enum):
    """The progress of a response."""

    NOTHING = enum.auto()
    STARTED = enum.auto()
    TRAILERS = enum.auto()
    COMPLETE = enum.auto()


class Refusal(Exception):
    """A request that is not passed to an app: it gets *status*, *text* and the headers *extra*."""

    def __init__(self, status: int, text: str, extra: RawHeaders) -> None:
        self.status = status
        self.text = text
        self.extra = extra
        super().__init__(text)


class InvalidResponse(RuntimeError):
    """An app's response broke a rule of ASGI or HTTP; the text says which."""


class Response:
    """One response, event by event. Raises `InvalidResponse`."""

    def __init__(self, method: str) -> None:
        self._is_head = method == "HEAD"
        self.phase = Phase.NOTHING
        self.status = 0
        self.headers: HeaderMap = {}
        """The app's own headers."""
        self.length: int | None = None
        """The app's `Content-Length`."""
        self.trailers: HeaderMap = {}
        self._written = 0
        self._has_trailers = False

    @property
    def has_body(self) -> bool:
        """Whether HTTP allows this response a body: not for HEAD, 204, 205 and 304."""
        return not self._is_head and self.status not in _NO_BODY

    def take(self, message: Message) -> bytes:
        """Handle one event. Returns the part of the body to send."""
        kind = message["type"]
        if kind == "http.response.start":
            self._start(message)
        elif kind == "http.response.body":
            return self._body(message)
        elif kind == "http.response.trailers":
            self._trailers(message)
        else:
            raise InvalidResponse(f"an app can't send {kind!r} for an HTTP request")
        return b""

    def check_complete(self) -> None:
        """Raise unless the app has sent the whole response."""
        if self.phase is not Phase.COMPLETE:
            missing = "sending a response" if self.phase is Phase.NOTHING else "finishing its response"
            raise InvalidResponse(f"the app returned without {missing}")

    def _start(self, message: Message) -> None:
        if self.phase is not Phase.NOTHING:
            raise InvalidResponse("the app sent http.response.start twice")
        status = message["status"]
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise InvalidResponse(f"the app sent the status {status!r}, which is not from 200 to 599")
        self.headers = from_asgi(message.get("headers", ()))
        self.length = _content_length(self.headers.get("Content-Length"))
        self.status = int(status)
        self._has_trailers = bool(message.get("trailers", False))
        self.phase = Phase.STARTED
        if self.status == 204:
            self.headers.pop("Content-Length", None)  # RFC 9110, section 8.6.

    def _body(self, message: Message) -> bytes:
        if self.phase is not Phase.STARTED:
            when = "before http.response.start" if self.phase is Phase.NOTHING else "after the last one"
            raise InvalidResponse(f"the app sent http.response.body {when}")
        body = message.get("body", b"")
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise InvalidResponse(f"the app sent a body of type {type(body).__name__}; send bytes")
        ended = not message.get("more_body", False)
        if self.has_body:
            self._count(len(body), ended)
        if ended:
            self.phase = Phase.TRAILERS if self._has_trailers else Phase.COMPLETE
        return bytes(body) if self.has_body else b""

    def _count(self, size: int, ended: bool) -> None:
        self._written += size
        if self.length is None or self._written == self.length or (self._written < self.length and not ended):
            return
        raise InvalidResponse(
            f"the app's Content-Length is {self.length}, but its body has {self._written} bytes"
        )

    def _trailers(self, message: Message) -> None:
        if self.phase is not Phase.TRAILERS:
            raise InvalidResponse(
                "the app sent http.response.trailers, which its http.response.start did not announce"
            )
        for key, values in from_asgi(message.get("headers", ())).items():
            self.trailers.setdefault(key, []).extend(values)
        if not message.get("more_trailers", False):
            self.phase = Phase.COMPLETE


def _content_length(values: Iterable[str] | None) -> int | None:
    if values is None:
        return None
    given = set(values)
    text = given.pop()
    if given or not (text.isascii() and text.isdigit()):
        raise InvalidResponse(f"the app's Content-Length is {text!r}, which is not one number")
    return int(text)


class ResponseStream:
    """Sends an app's response to the node, event by event. Raises `ClientDisconnected` and
    `InvalidResponse`.
    """

    def __init__(self, method: str, node: ResponseChannel, node_headers: HeaderMap) -> None:
        self.response = Response(method)
        self._method = method
        self._node = node
        self._node_headers = node_headers
        self._headers: HeaderMap = node_headers
        self._status_sent = False

    @property
    def is_complete(self) -> bool:
        """Whether the app has sent the whole response."""
        return self.response.phase is Phase.COMPLETE

    @property
    def final_headers(self) -> HeaderMap:
        """The headers for the end of the call, which carry the trailers."""
        return {**self._headers, **trailer_keys(self.response.trailers)}

    async def take(self, message: Message) -> None:
        """Send one event of the app. Returns when the node has received it."""
        before = self.response.phase
        body = self.response.take(message)
        try:
            if before is Phase.NOTHING:
                self._headers = merge(self._node_headers, self.response.headers)
                if self._is_open_ended:
                    # Let the client see that the response has begun: its first part may take long.
                    await self._send_status()
                    await self._node.flush()
            elif before is Phase.STARTED:
                await self._send_body(body)
        except grpc.aio.AioRpcError:
            raise ClientDisconnected from None

    async def fail(self, status: int, text: str, extra: RawHeaders | None = None) -> None:
        """Send plain text with *extra* headers instead, unless the status has been sent."""
        if self._status_sent:
            return
        self.response = Response(self._method)
        body = f"{text}\n".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        headers += extra or []
        try:
            await self.take({"type": "http.response.start", "status": status, "headers": headers})
            await self.take({"type": "http.response.body", "body": body})
        except ClientDisconnected:
            pass

    @property
    def _is_open_ended(self) -> bool:
        """Whether to flush each part: if the length is unknown, as Go's proxy does."""
        return self.response.length is None and self.response.has_body

    async def _send_body(self, body: bytes) -> None:
        is_last = self.response.phase is not Phase.STARTED
        if body:
            if self.response.status != 200:
                await self._send_status()
            self._status_sent = True
            await self._node.write(self._headers, body)
            if not is_last and self._is_open_ended:
                await self._node.flush()
        elif is_last:
            await self._send_status()

    async def _send_status(self) -> None:
        if not self._status_sent:
            self._status_sent = True
            await self._node.write_header(self.response.status, self._headers)
