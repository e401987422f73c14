"""The servers of a chain's HTTP handlers, as the rest of the SDK starts and stops them."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from vmsdk.address import Addresses
from vmsdk.errors import Closed
from vmsdk.protocol import Protocol
from vmsdk.rpc.priority import EnginePriority

if TYPE_CHECKING:
    from vmsdk.rpc.http.front import HTTPFront
    from vmsdk.rpc.http.loopthread import LoopThread

# A little more than the time that an app's lifespan has to start.
START_TIMEOUT_S = 65.0
# A node gives a plugin 5 s from SIGTERM to its end. In these, all that ends in order has ended (`vmsdk.rpc.http.front`).
CLOSE_TIMEOUT_S = 3.5


class HTTPServers:
    """One server a mounted app, all on one event loop in one thread, which starts with the first app.

    Any thread may call its methods, but not one that runs that loop.
    """

    def __init__(
        self,
        protocol: Protocol,
        log: logging.Logger,
        priority: EnginePriority | None = None,
        addresses: Addresses | None = None,
    ) -> None:
        """*priority* is what engine calls enter, so that HTTP gives way to them.

        The servers listen at *addresses*, by default at TCP ports.
        """
        self._addresses = addresses or Addresses("tcp")
        self._priority = priority or EnginePriority()
        self._protocol = protocol
        self._log = log
        self._lock = threading.Lock()
        self._loop: LoopThread | None = None
        self._front: HTTPFront | None = None
        self._closed = False

    def serve(self, app: object, *, prefix: str | None) -> str:
        """Serve *app*; returns the server's address for the node, when the app's lifespan has begun.

        *prefix* is its key in `create_handlers`, None for the header-routed handler. Raises `NotAnApp`,
        `InvalidPrefix`, `StartupFailed`, and `Closed` after `close`.
        """
        from vmsdk.http import as_asgi
        from vmsdk.http.mount import Mount

        asgi = as_asgi(app, prefix=prefix)
        mount = None if prefix is None else Mount(prefix)
        with self._lock:
            if self._closed:
                raise Closed("the HTTP servers are closed")
            loop, front = self._start()
            with self._priority.lent():
                return loop.run(front.serve(asgi, mount), START_TIMEOUT_S)

    def close(self) -> None:
        """End every request, run every lifespan's shutdown, and stop the servers. Repeats are harmless.

        Takes a few seconds at most, however stuck an app is.
        """
        with self._lock:
            self._closed = True
            loop, front = self._loop, self._front
            self._loop = self._front = None
        if loop is not None and front is not None:
            with self._priority.lent():
                self._close(loop, front)

    def _close(self, loop: LoopThread, front: HTTPFront) -> None:
        from vmsdk.rpc.http.loopthread import LoopBlocked

        try:
            front.stop_plain_servers()
            loop.finish(front.close(), CLOSE_TIMEOUT_S)
        except LoopBlocked as error:
            self._log.warning("HTTP was not ended in order: %s", error)
        finally:
            front.pool.shutdown()

    def _start(self) -> tuple[LoopThread, HTTPFront]:
        # Most of a chain's start happens before there is any HTTP: these are imported when there is.
        from vmsdk.rpc.http.front import HTTPFront
        from vmsdk.rpc.http.loopthread import LoopThread

        if self._loop is None or self._front is None:
<<<<<<< HEAD
            self._loop = LoopThread("vmsdk-http", self._priority.give_way_between_steps, self._log)
            self._front = HTTPFront(
                self._loop.loop, self._protocol, self._log, self._priority, self._addresses
            )
=======
            self._loop = LoopThread("vmsdk-http", self._log)
            self._front = HTTPFront(self._loop.loop, self._protocol, self._log, self._priority)
>>>>>>> 786d94e (Replace the scheduler of HTTP by an ordinary pool of two threads that grows when its jobs wait)
        return self._loop, self._front
