"""A response that goes to the node as the app makes it."""

from __future__ import annotations

import grpc

from vmsdk.http.asgi import Message
from vmsdk.rpc.http.exchange import ClientDisconnected
from vmsdk.rpc.http.headers import HeaderMap, RawHeaders, merge, trailer_keys
from vmsdk.rpc.http.response import Phase, Response
from vmsdk.rpc.http.responsewriter import ResponseWriter


class ResponseStream:
    """Takes an app's events and sends them on. Raises `ClientDisconnected`, and what `Response` raises."""

    def __init__(self, method: str, writer: ResponseWriter, node_headers: HeaderMap) -> None:
        self.response = Response(method)
        self._method = method
        self._writer = writer
        self._node_headers = node_headers
        self._headers: HeaderMap = node_headers
        self._status_sent = False

    @property
    def is_complete(self) -> bool:
        """Whether the app has sent all of it."""
        return self.response.phase is Phase.COMPLETE

    @property
    def final_headers(self) -> HeaderMap:
        """What the node needs to know in the end, for the trailers' sake."""
        return {**self._headers, **trailer_keys(self.response.trailers)}

    async def take(self, message: Message) -> None:
        """Send what one event of the app asks for; returns when the node has taken it."""
        before = self.response.phase
        body = self.response.take(message)
        try:
            if before is Phase.NOTHING:
                self._headers = merge(self._node_headers, self.response.headers)
                if self._is_open_ended:
                    # The client learns that it has begun, also if the first part is long in coming.
                    await self._send_status()
                    await self._writer.flush()
            elif before is Phase.STARTED:
                await self._send_body(body)
        except grpc.aio.AioRpcError:
            raise ClientDisconnected from None

    async def fail(self, status: int, text: str, extra: RawHeaders | None = None) -> None:
        """Answer with a text (and *extra* headers) instead, if the client has been told nothing yet."""
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
            pass  # Nobody is left to be told.

    @property
    def _is_open_ended(self) -> bool:
        """Whether the parts should reach the client one by one: as Go's proxy does, if no length is known."""
        return self.response.length is None and self.response.has_body

    async def _send_body(self, body: bytes) -> None:
        is_last = self.response.phase is not Phase.STARTED
        if body:
            if self.response.status != 200:
                await self._send_status()
            self._status_sent = True
            await self._writer.write(self._headers, body)
            if not is_last and self._is_open_ended:
                await self._writer.flush()
        elif is_last:
            await self._send_status()

    async def _send_status(self) -> None:
        if not self._status_sent:
            self._status_sent = True
            await self._writer.write_header(self.response.status, self._headers)
