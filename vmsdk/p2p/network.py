"""Routes messages to handlers, and responses to requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import cached_property

from vmsdk.context import Context
from vmsdk.errors import AppError
from vmsdk.ids import NodeID
from vmsdk.p2p.handler import Handler, unregistered
from vmsdk.p2p.peers import Peers, Validators
from vmsdk.timestamp import Timestamp
from vmsdk.vm import ChainVM, NodeVersion

# Source: encoding/binary (MaxVarintLen64).
MAX_PREFIX_BYTES = 10
REQUEST_IDS = 1 << 32


class Network:
    """The handlers and pending requests of a chain. Thread-safe.

    The VM must call its methods `connected` to `app_request_failed`, as `Networked` does.
    """

    def __init__(self, ctx: Context, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.ctx = ctx
        self.peers = Peers()
        """The connected nodes, including this one."""
        self.validators = Validators(ctx, self.peers, clock=clock)
        """The chain's validators."""
        self.on_connected: list[Callable[[], None]] = []
        """Functions called when a peer connects, with `Context.lock` held. They must be quick."""
        self._lock = threading.Lock()
        self._handlers: dict[int, Handler] = {}
        self._pending: dict[int, Future[bytes]] = {}
        # Go's library uses odd IDs, so that VMs can use even ones for requests of their own.
        self._next_request_id = 1
        self._closed = False

    def add_handler(self, handler_id: int, handler: Handler) -> None:
        """Handle the messages for *handler_id* (64 bits). Raises `ValueError` if it is taken."""
        given: object = handler
        if not isinstance(given, Handler):
            raise TypeError(
                f"add_handler({handler_id!r}, {given!r}): pass the ID and an object of a class derived from "
                "vmsdk.p2p.Handler"
            )
        prefix(handler_id)
        with self._lock:
            if handler_id in self._handlers:
                first, second = type(self._handlers[handler_id]), type(handler)
                if second.__module__.startswith("vmsdk."):  # its IDs are fixed by Go's library
                    first, second = second, first
                raise ValueError(
                    f"handler ID {handler_id} is in use by {first.__name__}: give {second.__name__} another"
                )
            self._handlers[handler_id] = handler

    def client(self, handler_id: int) -> Client:
        """The client for messages to the peers' handlers with this ID."""
        return Client(self, handler_id)

    def close(self) -> None:
        """Fail all pending and later requests. Call it when the chain shuts down."""
        with self._lock:
            self._closed = True
            pending, self._pending = self._pending, {}
        for future in pending.values():
            future.set_exception(_closed())

    # Called by the VM -----------------------------------------------------------------------------

    def connected(self, node_id: NodeID, version: NodeVersion) -> None:
        self.peers.connected(node_id, version)
        for listener in self.on_connected:
            listener()

    def disconnected(self, node_id: NodeID) -> None:
        self.peers.disconnected(node_id)

    def app_request(self, node_id: NodeID, request_id: int, deadline: Timestamp, request: bytes) -> bytes:
        """Return the handler's response. Raises `AppError` if there is no handler."""
        handler, payload = self._route(request)
        if handler is None:
            raise unregistered()
        response: object = handler.app_request(node_id, deadline, payload)
        if not isinstance(response, bytes):
            raise TypeError(
                f"{type(handler).__name__}.app_request returned {type(response).__name__}: return bytes, "
                "or raise AppError"
            )
        return response

    def app_gossip(self, node_id: NodeID, message: bytes) -> None:
        """Pass gossip to its handler. Gossip without a handler is dropped."""
        handler, payload = self._route(message)
        if handler is not None:
            handler.app_gossip(node_id, payload)

    def app_response(self, node_id: NodeID, request_id: int, response: bytes) -> None:
        """Complete a request."""
        if (future := self._settled(request_id)) is not None:
            future.set_result(response)

    def app_request_failed(self, node_id: NodeID, request_id: int, error: AppError) -> None:
        """Fail a request."""
        if (future := self._settled(request_id)) is not None:
            future.set_exception(error)

    # Internal -------------------------------------------------------------------------------------

    def _route(self, message: bytes) -> tuple[Handler | None, bytes]:
        """The handler of a message, if there is one, and the payload."""
        handler_id, start = read_prefix(message)
        handler = None if start == 0 else self._handlers.get(handler_id)
        if handler is None:
            self.ctx.log.debug("dropped a message of %d bytes: this VM has no handler for it", len(message))
        return handler, message[start:]

    def _settled(self, request_id: int) -> Future[bytes] | None:
        with self._lock:
            future = self._pending.pop(request_id, None)
        if future is None:
            self.ctx.log.debug("dropped a response: request %d is not pending", request_id)
        return future

    def _request(self, node_id: NodeID, request: bytes) -> Future[bytes]:
        future: Future[bytes] = Future()
        future.set_running_or_notify_cancel()  # a request that was sent can't be cancelled
        with self._lock:
            if self._closed:
                future.set_exception(_closed())
                return future
            while self._next_request_id in self._pending:
                self._next_request_id = (self._next_request_id + 2) % REQUEST_IDS
            request_id = self._next_request_id
            self._next_request_id = (request_id + 2) % REQUEST_IDS
            # The response may arrive before `send_app_request` returns.
            self._pending[request_id] = future
        try:
            self.ctx.sender.send_app_request([node_id], request_id, request)
        except BaseException:
            with self._lock:
                self._pending.pop(request_id, None)
            raise
        return future


class Client:
    """Sends requests and gossip to the peers' handlers with one ID. Thread-safe."""

    def __init__(self, network: Network, handler_id: int) -> None:
        self._network = network
        self._prefix = prefix(handler_id)

    def request(self, node_id: NodeID, request: bytes) -> Future[bytes]:
        """Send a request to a peer. The future returns the response, or raises `AppError`.

        The node ends each request within about 10 seconds. The future's callbacks run in the thread
        that receives the response, and must be quick. Don't wait for the future in a handler: the
        node delivers only two messages at a time, so the response might never arrive. In async
        code, use `asyncio.wrap_future`. Raises `NodeError` if the node does not accept the request.
        """
        return self._network._request(node_id, self._framed(request))

    def gossip(
        self,
        message: bytes,
        *,
        node_ids: Iterable[NodeID] = (),
        validators: int = 0,
        non_validators: int = 0,
        peers: int = 0,
    ) -> None:
        """Gossip a message to the recipients, as in `AppSender.send_app_gossip`."""
        self._network.ctx.sender.send_app_gossip(
            self._framed(message),
            node_ids=node_ids,
            validators=validators,
            non_validators=non_validators,
            peers=peers,
        )

    def _framed(self, message: object) -> bytes:
        if not isinstance(message, (bytes, bytearray, memoryview)):
            raise TypeError(f"a message is bytes, not {message!r:.100}: encode it")
        return self._prefix + bytes(message)


class Networked(ChainVM):
    """A mixin for a `ChainVM` that communicates with peers through `self.network`.

    Put it first: `class MyVM(Networked, ChainVM)`. An override of one of its methods must call
    `super()`.
    """

    @cached_property
    def network(self) -> Network:
        """Created from `self.ctx` on first use."""
        return Network(self.ctx)

    def connected(self, node_id: NodeID, version: NodeVersion) -> None:
        self.network.connected(node_id, version)

    def disconnected(self, node_id: NodeID) -> None:
        self.network.disconnected(node_id)

    def app_request(self, node_id: NodeID, request_id: int, deadline: Timestamp, request: bytes) -> bytes:
        return self.network.app_request(node_id, request_id, deadline, request)

    def app_request_failed(self, node_id: NodeID, request_id: int, error: AppError) -> None:
        self.network.app_request_failed(node_id, request_id, error)

    def app_response(self, node_id: NodeID, request_id: int, response: bytes) -> None:
        self.network.app_response(node_id, request_id, response)

    def app_gossip(self, node_id: NodeID, message: bytes) -> None:
        self.network.app_gossip(node_id, message)

    def shutdown(self) -> None:
        self.network.close()
        super().shutdown()


def prefix(handler_id: int) -> bytes:
    """The handler ID as an unsigned varint, the lowest seven bits first."""
    if not isinstance(handler_id, int):
        raise TypeError(f"handler ID {handler_id!r} is not a number")
    if not 0 <= handler_id < 1 << 64:
        raise ValueError(f"handler ID {handler_id} is not within 0 to 2**64 - 1")
    encoded = bytearray()
    while handler_id >= 0x80:
        encoded.append(handler_id & 0x7F | 0x80)
        handler_id >>= 7
    encoded.append(handler_id)
    return bytes(encoded)


def read_prefix(message: bytes) -> tuple[int, int]:
    """The handler ID at the beginning of *message* and its length; (0, 0) if it is malformed."""
    handler_id = 0
    for index, byte in enumerate(message[:MAX_PREFIX_BYTES]):
        handler_id |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return (handler_id, index + 1) if handler_id < 1 << 64 else (0, 0)
    return 0, 0


def _closed() -> AppError:
    return AppError(AppError.UNDEFINED, "the chain is shutting down")
