"""HandleSimple: a request that comes as a whole, and a response that goes as a whole."""

from __future__ import annotations

from vmsdk._pb.http import http_pb2
from vmsdk.http.asgi import Message, Scope
from vmsdk.rpc.http.exchange import ClientDisconnected, Exchange
from vmsdk.rpc.http.headers import HeaderMap, merge, to_wire, trailer_keys
from vmsdk.rpc.http.response import Phase, Response


class SimpleExchange(Exchange):
    """One HandleSimple call."""

    is_stream = False

    def __init__(self, scope: Scope, body: bytes, node_headers: HeaderMap) -> None:
        super().__init__(scope)
        self.response = Response(scope["method"])
        self._body: bytes | None = body
        self._node_headers = node_headers
        self._chunks: list[bytes] = []

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
            self._chunks.append(body)
        if self.response.phase is Phase.COMPLETE:
            self.finish()

    async def ended(self) -> None:
        if not self.gone:
            self.response.check_complete()

    async def fail(self, status: int, text: str) -> None:
        if self.done.done():
            return
        # Nothing has reached the client yet, even if the app has begun.
        self.response = Response(self.scope["method"])
        self._chunks.clear()
        body = f"{text}\n".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    def answer(self) -> http_pb2.HandleSimpleHTTPResponse:
        """What the node is told, once the exchange is done.

        Always an OK of gRPC: a Go VM sends a 500 as an error, but the node takes it either way.
        """
        headers = dict(self.response.headers)
        if self.response.has_body:
            headers.pop("Content-Length", None)  # The node counts for itself.
        headers.update(trailer_keys(self.response.trailers))
        return http_pb2.HandleSimpleHTTPResponse(
            code=self.response.status,
            headers=to_wire(merge(self._node_headers, headers), http_pb2.Element),
            body=b"".join(self._chunks),
        )
