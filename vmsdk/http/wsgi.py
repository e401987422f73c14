"""WSGI apps (Flask, Django) as ASGI apps: each request runs in a thread of a bounded pool."""

from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, TypeAlias, cast

from vmsdk.http.asgi import (
    NOT_WAITING,
    RUN_IN_THREAD,
    WAITING,
    Message,
    Receive,
    Scope,
    Send,
    Waiting,
    refuse_websocket,
)

ExcInfo: TypeAlias = "tuple[type[BaseException], BaseException, TracebackType | None]"
Environ: TypeAlias = "dict[str, Any]"
WSGIApp: TypeAlias = Callable[[Environ, Callable[..., Callable[[bytes], None]]], Iterable[bytes]]

_STATUS = re.compile(r"[1-9]\d\d( .*)?\Z")
# PEP 3333: these belong to the server.
_HOP_BY_HOP = frozenset(
    (
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade",
    )
)  # fmt: skip


class WSGI:
    """A WSGI app, served as ASGI.

    a2wsgi is not used: when a client disconnects during a long response, its thread waits forever,
    and a request that breaks off looks like a complete, shorter one.
    """

    def __init__(self, app: WSGIApp) -> None:
        if not callable(app):
            raise TypeError(
                f"WSGI({app!r}): not callable. A WSGI app is called with (environ, start_response)"
            )
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await refuse_websocket(scope, receive, send, "this app is WSGI, which has no WebSockets")
        if scope["type"] != "http":
            return
        client = _Client(receive, send, scope.get(WAITING, NOT_WAITING))
        environ = environ_of(scope, await _body(client))
        request = _Request(self.app, environ, client)
        run = scope.get(RUN_IN_THREAD, asyncio.to_thread)
        try:
            await run(request.run)
        except asyncio.CancelledError:
            request.abandoned = True
            raise
        if not request.ended:
            await request.send_rest()


class _Client:
    """The client of one request, as seen from the loop and from the thread."""

    def __init__(self, receive: Receive, send: Send, waiting: Waiting) -> None:
        self.receive = receive
        self.send = send
        self._waiting = waiting
        self._loop = asyncio.get_running_loop()

    def wait(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """In the thread: run a coroutine function on the loop, and wait for its result."""

        async def run() -> Any:
            return await function(*arguments)

        with self._waiting():
            return asyncio.run_coroutine_threadsafe(run(), self._loop).result()


class _Request:
    """One call of a WSGI app. `run` runs in a thread; `send_rest` then sends the rest."""

    def __init__(self, app: WSGIApp, environ: Environ, client: _Client) -> None:
        self._app = app
        self._environ = environ
        self._client = client
        self._start: Message | None = None
        self._start_sent = False
        self._length: int | None = None
        self._written = 0
        self._unsent: list[bytes] = []
        self.ended = False
        self.abandoned = False
        """Whether the client has disconnected: the thread then ends at its next chunk."""

    def run(self) -> None:
        chunks = self._app(self._environ, self._start_response)
        try:
            for chunk in chunks:
                if chunk:
                    self._write(chunk)
        except ConnectionError:
            self.ended = True  # The client has disconnected.
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        if self._start is None:
            raise RuntimeError("the WSGI app returned without calling start_response")

    async def send_rest(self) -> None:
        await self._send_start()
        await self._client.send({"type": "http.response.body", "body": b"".join(self._unsent)})

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None:
            try:
                if self._start_sent or self._unsent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # PEP 3333: a reference would keep a cycle alive.
        elif self._start is not None:
            raise RuntimeError("start_response was called twice, which is allowed with exc_info only")
        if not isinstance(status, str) or not _STATUS.match(status):
            raise ValueError(f'start_response: the status {status!r} is not like "200 OK"')
        pairs = [_header(name, value) for name, value in headers]
        lengths = [int(value) for name, value in pairs if name == b"content-length"]
        self._length = lengths[0] if lengths else None
        self._start = {"type": "http.response.start", "status": int(status[:3]), "headers": pairs}
        return self._write

    def _write(self, chunk: bytes) -> None:
        if self._start is None:
            raise RuntimeError("the WSGI app wrote a body before calling start_response")
        if not isinstance(chunk, bytes):
            raise TypeError(f"a WSGI app yields bytes, not {type(chunk).__name__}")
        if self.abandoned:
            raise ConnectionResetError("the client has disconnected")
        self._written += len(chunk)
        if self._length is not None and self._written >= self._length:
            # The last chunk: the event loop sends it later, which saves switching threads.
            self._unsent.append(chunk)
            return
        # PEP 3333: a chunk is passed on before the next one is requested.
        self._client.wait(self._send_chunk, chunk)

    async def _send_chunk(self, chunk: bytes) -> None:
        await self._send_start()
        await self._client.send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _send_start(self) -> None:
        if not self._start_sent:
            self._start_sent = True
            await self._client.send(cast("Message", self._start))


class _StreamedBody(io.RawIOBase):
    """A request body that is still arriving, read in a thread."""

    def __init__(self, first: bytes, client: _Client) -> None:
        self._unread = memoryview(first)
        self._ended = False
        self._client = client

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._unread and not self._ended:
            message = self._client.wait(self._client.receive)
            if message["type"] == "http.disconnect":
                raise ConnectionResetError("the client disconnected before the end of its request")
            self._unread = memoryview(message.get("body", b""))
            self._ended = not message.get("more_body", False)
        count = min(len(buffer), len(self._unread))
        buffer[:count] = self._unread[:count]
        self._unread = self._unread[count:]
        return count


async def _body(client: _Client) -> io.BufferedIOBase:
    message = await client.receive()
    first = message.get("body", b"")
    if message["type"] == "http.disconnect" or not message.get("more_body", False):
        return io.BytesIO(first)
    return io.BufferedReader(_StreamedBody(first, client), 64 * 1024)


def _header(name: str, value: str) -> tuple[bytes, bytes]:
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"a WSGI header is a pair of str, not ({name!r}, {value!r})")
    if name.lower() in _HOP_BY_HOP:
        raise ValueError(f"a WSGI app may not set the header {name!r}, which is the server's (PEP 3333)")
    try:
        return name.lower().encode("latin-1"), value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"the header {name!r}: {value!r} has characters outside latin-1") from None


def environ_of(scope: Scope, body: io.BufferedIOBase) -> Environ:
    """The WSGI environment of an ASGI `http` scope."""
    root: str = scope.get("root_path", "")
    server = scope.get("server") or ("localhost", 80)
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": _wsgi_text(root),
        "PATH_INFO": _wsgi_text(scope["path"].removeprefix(root)),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if scope.get("client"):
        environ["REMOTE_ADDR"] = scope["client"][0]
        environ["REMOTE_PORT"] = str(scope["client"][1])
    for key, values in _by_key(scope["headers"]).items():
        environ[key] = ("; " if key == "HTTP_COOKIE" else ",").join(values)
    if isinstance(body, io.BytesIO):
        environ["CONTENT_LENGTH"] = str(len(body.getbuffer()))
    return environ


def _wsgi_text(text: str) -> str:
    return text if text.isascii() else text.encode().decode("latin-1")


def _by_key(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if b"_" in name:
            continue  # It would look like the name with a dash: clients could forge headers.
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        found.setdefault(key, []).append(value.decode("latin-1"))
    return found
