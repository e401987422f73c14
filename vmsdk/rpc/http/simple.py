"""HandleSimple: a request that comes as a whole, and a response that goes as a whole."""

from __future__ import annotations

import asyncio

from vmsdk._pb.http import http_pb2
from vmsdk.http.asgi import Message, Scope
from vmsdk.rpc.http.exchange import ClientDisconnected, Exchange
from vmsdk.rpc.http.headers import HeaderMap, merge, to_wire, trailer_keys
from vmsdk.rpc.http.response import InvalidResponse, Phase, Response

_EVENT_STREAM = "text/event-stream"

MAX_RESPONSE_BYTES = 256 * 1024 * 1024
"""The node takes a response as one message, so all of it is held in memory, here and there."""

# A browser's EventSource reads an endless response, which would never come. It reconnects by itself when one
# ends: so it gets what happens within a moment of the first event, or nothing before proxies lose patience.
EVENTS_LINGER_S = 0.1
EVENTS_WAIT_S = 25.0


class SimpleExchange(Exchange):
    """One HandleSimple call."""

    is_stream = False

    def __init__(self, scope: Scope, body: bytes, node_headers: HeaderMap) -> None:
        super().__init__(scope)
        self.response = Response(scope["method"])
        self._body: bytes | None = body
        self._node_headers = node_headers
        self._chunks: list[bytes] = []
        self._size = 0
        self._cut: asyncio.TimerHandle | None = None
        """When a stream of events is to end."""

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._until_left()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.gone:
            raise ClientDisconnected
        body = self.response.take(message)
        if body:
            self._size += len(body)
            if self._size > MAX_RESPONSE_BYTES:
                raise InvalidResponse(
                    f"the response has more than {MAX_RESPONSE_BYTES} bytes, and HTTP/1 gets it as a whole: "
                    "ask by HTTP/2, or for less at once"
                )
            self._chunks.append(body)
        if self.response.phase is Phase.COMPLETE:
            self.finish()
        elif self._is_event_source():
            self._cut_soon()

    async def ended(self) -> None:
        if not self.gone:
            self.response.check_complete()

    async def fail(self, status: int, text: str) -> None:
        if self.done.done():
            return
        # Nothing has reached the client yet, even if the app has begun.
        self.response = Response(self.scope["method"])
        self._chunks.clear()
        self._size = 0
        body = f"{text}\n".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    def answer(self) -> http_pb2.HandleSimpleHTTPResponse:
        """What the node is told, once the exchange is done.

        Always an OK of gRPC: a Go VM sends a 500 as an error, but the node takes it either way.
        """
        if self.response.phase is Phase.NOTHING:
            return http_pb2.HandleSimpleHTTPResponse(code=503, body=b"the chain is shutting down\n")
        headers = dict(self.response.headers)
        if self.response.has_body:
            headers.pop("Content-Length", None)  # The node counts for itself.
        headers.update(trailer_keys(self.response.trailers))
        return http_pb2.HandleSimpleHTTPResponse(
            code=self.response.status,
            headers=to_wire(merge(self._node_headers, headers), http_pb2.Element),
            body=b"".join(self._chunks),
        )

    def finish(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
        super().finish()

    def _is_event_source(self) -> bool:
        """Whether a browser's EventSource listens to a stream of events."""
        kind = self.response.headers.get("Content-Type", [""])[0]
        if not kind.startswith(_EVENT_STREAM) or self.scope["method"] != "GET":
            return False
        return any(
            name == b"accept" and value == _EVENT_STREAM.encode() for name, value in self.scope["headers"]
        )

    def _cut_soon(self) -> None:
        """End the stream in a while: soon after its first event, and late if there is none."""
        loop = asyncio.get_running_loop()
        at = loop.time() + (EVENTS_LINGER_S if self._chunks else EVENTS_WAIT_S)
        if self._cut is None or at < self._cut.when():
            if self._cut is not None:
                self._cut.cancel()
            self._cut = loop.call_at(at, self.disconnect)
