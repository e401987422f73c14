"""The TCP server: tells each client's HTTP version, and serves it."""

from __future__ import annotations

import asyncio
import logging

from vmsdk.host.http.failures import IOFailed
from vmsdk.host.http.http1 import Handler, HTTP1Connection
from vmsdk.host.http.http2 import PREFACE, HTTP2Connection
from vmsdk.host.http.rawconnection import READ_BYTES, ClientProtocol, RawConnection
from vmsdk.host.http.timeouts import Timeouts

log = logging.getLogger(__name__)

_BACKLOG = 1024

_NO_HTTP2 = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Connection: close\r\n\r\nnodes speak HTTP/2 without TLS from protocol 41 on: use HTTP/1.1\n"
)


class Server:
    """Accepts clients while it runs. All methods belong to the event loop's thread."""

    def __init__(self, handler: Handler, timeouts: Timeouts, *, speaks_http2: bool) -> None:
        self._handler = handler
        self._timeouts = timeouts
        self._speaks_http2 = speaks_http2
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], RawConnection] = {}

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns the address bound. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, host, port, backlog=_BACKLOG)
        bound = self._server.sockets[0].getsockname()
        return bound[0], bound[1]

    async def stop(self) -> None:
        """Hang up on all clients; connections that were handed on are not ours any more."""
        if self._server is not None:
            self._server.close()
        clients = dict(self._clients)
        for task, raw in clients.items():
            task.cancel()
            raw.abort()
        if clients:
            await asyncio.wait(clients)

    def _protocol(self) -> asyncio.BaseProtocol:
        return ClientProtocol(asyncio.StreamReader(limit=READ_BYTES), self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = RawConnection(reader, writer)
        task = asyncio.ensure_future(self._serve(raw))
        self._clients[task] = raw
        task.add_done_callback(self._clients.pop)

    async def _serve(self, raw: RawConnection) -> None:
        try:
            await self._serve_version(raw)
        except IOFailed as error:
            log.debug("%s: %s", raw.remote, error)
            raw.abort()
        except asyncio.CancelledError:
            raw.abort()
        except Exception:
            log.exception("serving %s failed: a bug in the development host", raw.remote)
            raw.abort()

    async def _serve_version(self, raw: RawConnection) -> None:
        raw.read_deadline.set_after(self._timeouts.read_s)
        beginning = await self._beginning(raw)
        if beginning.startswith(PREFACE):
            if self._speaks_http2:
                await HTTP2Connection(raw, self._handler, self._timeouts).serve(beginning)
            else:
                await raw.write(_NO_HTTP2)
                raw.close()
            return
        http1 = HTTP1Connection(raw, self._handler, self._timeouts, upgrades_to_http2=self._speaks_http2)
        upgrade = await http1.serve(beginning)
        if upgrade is not None:
            await HTTP2Connection(raw, self._handler, self._timeouts).serve(upgrade.trailing, upgrade)

    @staticmethod
    async def _beginning(raw: RawConnection) -> bytes:
        """What the client sends first, until that tells HTTP/2 from HTTP/1."""
        data = b""
        while len(data) < len(PREFACE) and PREFACE.startswith(data):
            chunk = await raw.read(READ_BYTES)
            if not chunk:
                break
            data += chunk
        return data
