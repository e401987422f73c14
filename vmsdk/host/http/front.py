"""The node's HTTP front: an API server with the chains' handlers behind it, on an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from vmsdk.host.errors import HostError
from vmsdk.host.http import endpoint
from vmsdk.host.http.api import ALLOWED_HOSTS, API, OnAccess
from vmsdk.host.http.chain import Chain, Handlers
from vmsdk.host.http.endpoint import Endpoint, Gather, Health
from vmsdk.host.http.route import RouteRefused
from vmsdk.host.http.router import Router
from vmsdk.host.http.server import Server
from vmsdk.host.http.timeouts import Timeouts
from vmsdk.ids import ID, NodeID
from vmsdk.protocol import Protocol

T = TypeVar("T")

DEFAULT_PORT = 9650
"""Where a node serves HTTP. Source: config/flags.go, http-port."""

_ENDPOINT_WORKERS = 2


class AddressUnavailable(HostError):
    """The front can't listen where it should. *reason* is the operating system's text."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        self.host = host
        self.port = port
        self.reason = reason
        super().__init__(
            f"can't serve HTTP on {host}:{port}: {reason}; stop the node or `vmsdk dev` that uses it, "
            "or choose another port (0: any that is free)"
        )


class HTTPFront:
    """Serves `/ext/bc/<chain ID or alias><prefix>` and the header routes as a node of *protocol* does.

    It speaks HTTP/1.1 and, from protocol 41 on, HTTP/2 without TLS. All methods may be called from any
    thread but the front's own; callbacks run on the front's (*on_access*) or on a worker's.

    *port* 0 takes a free one. *health* and *gather* stand behind `/ext/health` and `/ext/metrics`.
    """

    def __init__(
        self,
        protocol: Protocol,
        node_id: NodeID,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        on_access: OnAccess | None = None,
        health: Health | None = None,
        gather: Gather | None = None,
        timeouts: Timeouts | None = None,
        allowed_hosts: Collection[str] = ALLOWED_HOSTS,
    ) -> None:
        self._protocol = protocol
        self._host = host
        self._port = port
        self._bound: tuple[str, int] | None = None
        self._router = Router(protocol, _endpoints(health, gather))
        self._executor = ThreadPoolExecutor(_ENDPOINT_WORKERS, thread_name_prefix="vmsdk-http-endpoint")
        api = API(protocol, node_id, self._router, self._executor, on_access, allowed_hosts)
        self._server = Server(api, timeouts or Timeouts(), speaks_http2=protocol.handles_http2)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopped: asyncio.Event | None = None
        self._lifecycle = threading.Lock()

    @property
    def address(self) -> str:
        """host:port. Raises `RuntimeError` before `start`."""
        if self._bound is None:
            raise RuntimeError("the HTTP front has no address before start()")
        host, port = self._bound
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Listen and serve. Raises `AddressUnavailable`, or `RuntimeError` the second time."""
        if self._thread is not None:
            raise RuntimeError("the HTTP front was started already: make another one")
        started: Future[tuple[str, int]] = Future()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._run(started),), name="vmsdk-http-front", daemon=True
        )
        self._thread.start()
        try:
            self._bound = started.result()
        except OSError as error:
            self._thread.join()
            raise AddressUnavailable(self._host, self._port, error.strerror or str(error)) from None

    def stop(self) -> None:
        """Hang up on all clients, cancel all calls, stop every server. Harmless when repeated."""
        with self._lifecycle:
            if self._loop is not None and self._stopped is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._stopped.set)
            if self._thread is not None:
                self._thread.join()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def add_chain(
        self, chain_id: ID, aliases: Iterable[str], handlers: Handlers, http_handler: str = ""
    ) -> list[RouteRefused]:
        """Register what `CreateHandlers` answered, prefix → host:port (or pairs: of equal prefixes the last
        counts), and the host:port of `CreateHTTP2Handler` or `NewHTTPHandler` (empty: none).

        Returns the prefixes that a node would not serve, each with the node's reason; the others are
        served. Until `set_normal_op` every request is answered with 503. Raises `ChainAlreadyServed`.
        """
        chain = Chain(self._protocol, chain_id, tuple(aliases), handlers, http_handler)
        self._router.add(chain)
        return chain.refused

    def remove_chain(self, chain_id: ID) -> None:
        """Forget a chain, cancel its calls and close the connections that its VM has taken over.

        Raises `KeyError` if there is none.
        """
        chain = self._router.chain(chain_id)
        self._router.remove(chain)
        self._in_loop(chain.close())

    def set_normal_op(self, chain_id: ID, is_normal_op: bool) -> None:
        """Whether the chain is done bootstrapping, and its handlers are reached. Raises `KeyError`."""
        self._router.chain(chain_id).is_normal_op = is_normal_op

    def taken_over(self, chain_id: ID) -> int:
        """How many connections of clients the chain's VM has taken over and not closed. Raises `KeyError`."""
        return len(self._router.chain(chain_id).taken_over)

    def __enter__(self) -> HTTPFront:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _run(self, started: Future[tuple[str, int]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        try:
            bound = await self._server.start(self._host, self._port)
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result(bound)
        await self._stopped.wait()
        await self._server.stop()
        await asyncio.gather(*(chain.close() for chain in self._router.clear()))

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of *work* on the front's loop; without one there is nothing to do."""
        with self._lifecycle:
            if self._loop is None or self._loop.is_closed():
                work.close()
                return None
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _endpoints(health: Health | None, gather: Gather | None) -> dict[str, Endpoint]:
    endpoints: dict[str, Endpoint] = {}
    if health is not None:
        endpoints["/ext/health"] = endpoint.health(health)
    if gather is not None:
        endpoints["/ext/metrics"] = endpoint.metrics(gather)
    return endpoints
