"""The node's API server, with the chains' handlers, on an event loop in its own thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from vmsdk.host.errors import HostError
from vmsdk.host.http.api import API, OnAccess
from vmsdk.host.http.connection import READ_BYTES, ClientProtocol, Connection, IOFailed, address_text
from vmsdk.host.http.endpoint import Endpoint
from vmsdk.host.http.http1 import HTTP1Connection
from vmsdk.host.http.http2 import PREFACE, HTTP2Connection
from vmsdk.host.http.router import Router
from vmsdk.host.http.routes import ChainRoutes, Handlers, RouteRefused
from vmsdk.ids import ID, NodeID
from vmsdk.protocol import Protocol

log = logging.getLogger(__name__)

DEFAULT_PORT = 9650
"""Where a node serves HTTP. Source: config/flags.go, http-port."""

WRITE_TIMEOUT_S = 30.0
"""How long a response may take. Source: config/flags.go, http-write-timeout."""

_HOST = "127.0.0.1"
_ENDPOINT_WORKERS = 4
_BACKLOG = 1024


class HTTPFront:
    """Serves `/ext/bc/<chain ID or alias><prefix>` and the header routes of *protocol*'s nodes.

    It speaks HTTP/1.1 and, from protocol 41 on, HTTP/2 without TLS. *on_access* is called on the
    front's own thread; call methods from any other. *endpoints* are the node's own, by path, and
    run on worker threads. Port 0 picks a free port. A response must be complete within
    *write_timeout_s*, unless the VM takes over the connection.
    """

    def __init__(
        self,
        protocol: Protocol,
        node_id: NodeID,
        *,
        port: int = 0,
        on_access: OnAccess | None = None,
        endpoints: Mapping[str, Endpoint] | None = None,
        write_timeout_s: float = WRITE_TIMEOUT_S,
    ) -> None:
        self._protocol = protocol
        self._port = port
        self._bound: tuple[str, int] | None = None
        self._router = Router(protocol, endpoints or {})
        self._executor = ThreadPoolExecutor(_ENDPOINT_WORKERS, thread_name_prefix="vmsdk-http-endpoint")
        self._api = API(protocol, node_id, self._router, self._executor, on_access)
        self._write_timeout_s = write_timeout_s
        self._clients: dict[asyncio.Task[None], Connection] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopped: asyncio.Event | None = None
        self._lifecycle = threading.Lock()

    @property
    def address(self) -> str:
        """host:port. Raises `RuntimeError` before `start`."""
        if self._bound is None:
            raise RuntimeError("the HTTP front has no address before start()")
        return address_text(self._bound)

    def start(self) -> None:
        """Listen and serve. Raises `HostError` if the port is in use. Call once."""
        if self._thread is not None:
            raise RuntimeError("the HTTP front was started already: create another one")
        started: Future[tuple[str, int]] = Future()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._run(started),), name="vmsdk-http-front", daemon=True
        )
        self._thread.start()
        try:
            self._bound = started.result()
        except OSError as error:
            self._thread.join()
            reason = (error.strerror or str(error)).rpartition(": ")[2]
            raise HostError(
                f"can't serve HTTP on {_HOST}:{self._port}: {reason}; stop what listens there (a node "
                "or another vmsdk dev), or choose another port (vmsdk dev --port; 0 for any free one)"
            ) from None

    def stop(self) -> None:
        """Disconnect all clients, cancel all calls, stop every server. Idempotent."""
        with self._lifecycle:
            if self._loop is not None and self._stopped is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._stopped.set)
            if self._thread is not None:
                self._thread.join()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def add_chain(
        self, chain_id: ID, aliases: Iterable[str], handlers: Handlers, http_handler: str = ""
    ) -> list[RouteRefused]:
        """Register a chain's *handlers* and its *http_handler*.

        *handlers* is the result of `CreateHandlers`, host:port by prefix (or pairs, of which the
        last with a prefix counts); *http_handler* is the host:port from `CreateHTTP2Handler` or
        `NewHTTPHandler`, or empty. Returns the prefixes that a node refuses, with the node's
        reasons; the others are served. Until `set_normal_op`, every request gets status 503.
        Raises `ValueError` if a name is in use.
        """
        chain = ChainRoutes(self._protocol, chain_id, tuple(aliases), handlers, http_handler)
        self._router.add(chain)
        return chain.refused

    def remove_chain(self, chain_id: ID) -> None:
        """Remove a chain, cancel its calls and close the connections that its VM has taken over.

        Raises `KeyError` if there is no such chain.
        """
        chain = self._router.chain(chain_id)
        self._router.remove(chain)
        with self._lifecycle:
            if self._loop is not None and not self._loop.is_closed():
                asyncio.run_coroutine_threadsafe(chain.close(), self._loop).result()

    def set_normal_op(self, chain_id: ID, is_normal_op: bool) -> None:
        """Open the chain's handlers after bootstrapping, or close them. Raises `KeyError`."""
        self._router.chain(chain_id).is_normal_op = is_normal_op

    def hijacked(self, chain_id: ID) -> int:
        """Count the open connections that the chain's VM has taken over. Raises `KeyError`."""
        return len(self._router.chain(chain_id).hijacked)

    def __enter__(self) -> HTTPFront:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _run(self, started: Future[tuple[str, int]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        try:
            server = await self._loop.create_server(self._new_client, _HOST, self._port, backlog=_BACKLOG)
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result(server.sockets[0].getsockname())
        await self._stopped.wait()
        server.close()
        # Connections that a VM has taken over are closed with their chains.
        clients = dict(self._clients)
        for task, raw in clients.items():
            task.cancel()
            raw.abort()
        if clients:
            await asyncio.wait(clients)
        await asyncio.gather(*(chain.close() for chain in self._router.clear()))

    def _new_client(self) -> asyncio.BaseProtocol:
        return ClientProtocol(asyncio.StreamReader(limit=READ_BYTES), self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = Connection(reader, writer)
        task = asyncio.ensure_future(self._serve(raw))
        self._clients[task] = raw
        task.add_done_callback(self._clients.pop)

    async def _serve(self, raw: Connection) -> None:
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

    async def _serve_version(self, raw: Connection) -> None:
        beginning = b""
        while len(beginning) < len(PREFACE) and PREFACE.startswith(beginning):
            chunk = await raw.read(READ_BYTES)
            if not chunk:
                break
            beginning += chunk
        if self._protocol.handles_http2 and beginning.startswith(PREFACE):
            await HTTP2Connection(raw, self._api, self._write_timeout_s).serve(beginning)
        else:
            await HTTP1Connection(raw, self._api, self._write_timeout_s).serve(beginning)
