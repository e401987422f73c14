"""Application messages between the VM and simulated peers."""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.errors import AppError
from vmsdk.host.engine import Engine
from vmsdk.host.errors import ChainFatal
from vmsdk.ids import ID, NodeID
from vmsdk.timestamp import now_ns

_log = logging.getLogger("vmsdk.host")

# Source: utils/constants/networking.go (consensus-app-concurrency).
APP_CONCURRENCY = 2
# Source: config/flags.go (network-initial-timeout).
REQUEST_TIMEOUT_S = 5.0
# Nodes never send a larger message. Source: utils/constants/networking.go.
MAX_MESSAGE_BYTES = 2 * 1024 * 1024

Party: TypeAlias = "NodeID | ID"
"""The other end of a message: a node, or (up to protocol 36) another chain of this node."""
Reply: TypeAlias = "bytes | AppError"
"""A response, or the error in its place."""


@dataclass(frozen=True)
class PeerRequest:
    """A request that the VM sent to a peer. Reply once, from any thread, or let it time out."""

    node_id: NodeID
    """The peer that the request is sent to."""
    request_id: int
    data: bytes
    _reply: Callable[[Reply], None] = field(repr=False)

    def respond(self, response: bytes) -> None:
        """Send the response. A late or second one is dropped, as in a node."""
        self._reply(response)

    def fail(self, code: int, message: str) -> None:
        """Send an application error instead of a response."""
        self._reply(AppError(code, message))


@dataclass
class Peer:
    """Another node. It stays silent unless you override the methods or pass functions for them."""

    node_id: NodeID
    is_validator: bool = True
    """Whether gossip to validators can reach it."""
    connected: bool = True
    """Whether messages reach it. If not, requests to it fail at once."""
    name: str = "metalgo"
    """The client name that `Connected` reports to the VM, followed by the version."""
    version: tuple[int, int, int] = (1, 13, 5)
    on_request: Callable[[PeerRequest], None] | None = None
    on_gossip: Callable[[bytes], None] | None = None

    def app_request(self, request: PeerRequest) -> None:
        """Handle a request from the VM."""
        if self.on_request is not None:
            self.on_request(request)

    def app_gossip(self, message: bytes) -> None:
        """Handle gossip from the VM."""
        if self.on_gossip is not None:
            self.on_gossip(message)


class Relay(Peer):
    """A node that also runs a VM, which gets the messages as messages from *sender*.

    *network* returns the network of that node, or None while its VM is stopped.
    """

    def __init__(self, node_id: NodeID, sender: NodeID, network: Callable[[], AppNetwork | None]) -> None:
        super().__init__(node_id)
        self._sender = sender
        self._network = network

    def app_request(self, request: PeerRequest) -> None:
        """Forward the request, and the reply. While the VM is stopped, the request times out."""

        def reply(done: Future[bytes]) -> None:
            error = done.exception()
            if isinstance(error, AppError):
                request.fail(error.code, error.message)
            elif error is None:
                request.respond(done.result())

        network = self._network()
        if network is not None:
            network.request(self._sender, request.data).add_done_callback(reply)

    def app_gossip(self, message: bytes) -> None:
        """Forward the message."""
        network = self._network()
        if network is not None:
            network.gossip(self._sender, message)


class AppMessages:
    """Delivers messages to the VM, without the chain's lock. Any error raises `ChainFatal`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def app_request(self, sender: Party, request_id: int, deadline_ns: int, request: bytes) -> None:
        """*sender* asks the VM for a response before *deadline_ns*, in Unix nanoseconds."""
        deadline = Timestamp()
        deadline.FromNanoseconds(deadline_ns)
        self._send("AppRequest", sender, request_id=request_id, deadline=deadline, request=request)

    def app_response(self, sender: Party, request_id: int, response: bytes) -> None:
        """*sender* responds to a request of the VM."""
        self._send("AppResponse", sender, request_id=request_id, response=response)

    def app_request_failed(self, sender: Party, request_id: int, error: AppError) -> None:
        """A request of the VM failed."""
        self._send(
            "AppRequestFailed",
            sender,
            request_id=request_id,
            error_code=error.code,
            error_message=error.message,
        )

    def app_gossip(self, sender: NodeID, message: bytes) -> None:
        """*sender* gossips to the VM."""
        self._send("AppGossip", sender, msg=message)

    def _send(self, name: str, sender: Party, **fields: Any) -> None:
        """Call the method *name*, or the one for messages of other chains."""
        if isinstance(sender, ID):
            name, fields["chain_id"] = f"CrossChain{name}", sender
        else:
            fields["node_id"] = sender
        request = VM.methods[name].request(**fields)
        self._engine.call(getattr(self._engine.client, name), request, fatal=True, locked=False)


class AppNetwork:
    """Delivers messages both ways; each request gets exactly one response or error.

    Deliveries wait for `open`, then run on two threads, as in a node.
    """

    def __init__(self, node_id: NodeID, *, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        self._own_id = node_id
        self._timeout_s = timeout_s
        self._lock = threading.Condition()
        self._peers: dict[NodeID, Peer] = {}
        self._outstanding: dict[tuple[Party, int], float] = {}
        """Requests of the VM, with the monotonic time at which each times out."""
        self._asked: dict[tuple[Party, int], Callable[[Reply], None]] = {}
        """Requests to the VM, with the function that gets its reply."""
        self._next_request_id = 0
        self._deadlines: list[tuple[float, int, Callable[[], None]]] = []
        self._deadline_number = 0
        self._receiver: AppMessages | None = None
        self._waiting: list[Callable[[AppMessages], None]] = []
        self._closed = False
        self._pool = ThreadPoolExecutor(APP_CONCURRENCY, thread_name_prefix="app-message")
        self._clock: threading.Thread | None = None

    # Peers ----------------------------------------------------------------------------------------

    def add(self, peer: Peer) -> None:
        """Add *peer*. `Chain.connect` also reports it to the VM."""
        with self._lock:
            self._peers[peer.node_id] = peer

    def peer(self, node_id: NodeID) -> Peer | None:
        """Return the peer with this ID, connected or not."""
        with self._lock:
            return self._peers.get(node_id)

    def connected(self) -> list[Peer]:
        """Return the peers that messages reach."""
        with self._lock:
            return [peer for peer in self._peers.values() if peer.connected]

    def request(self, sender: Party, request: bytes, *, timeout_s: float | None = None) -> Future[bytes]:
        """Send a request to the VM. The future gets the response or raises `AppError`."""
        future: Future[bytes] = Future()
        with self._lock:
            request_id = self._next_request_id
            self._next_request_id += 1
        self._ask_vm(sender, request_id, request, lambda reply: _settle(future, reply), timeout_s)
        return future

    def respond(self, sender: Party, request_id: int, reply: Reply) -> None:
        """Send a reply to the VM. It is dropped unless the VM waits for one from *sender*."""
        with self._lock:
            if self._outstanding.pop((sender, request_id), None) is None:
                return
        if isinstance(reply, AppError):
            self._deliver(lambda receiver: receiver.app_request_failed(sender, request_id, reply))
        else:
            self._deliver(lambda receiver: receiver.app_response(sender, request_id, reply))

    def gossip(self, sender: NodeID, message: bytes) -> None:
        """Gossip *message* to the VM."""
        self._deliver(lambda receiver: receiver.app_gossip(sender, message))

    # From the VM, by the service appsender.AppSender ----------------------------------------------

    def send_request(self, parties: Iterable[Party], request_id: int, request: bytes) -> None:
        """Send a request of the VM to each distinct party. Each leads to one response or error."""
        for party in dict.fromkeys(parties):
            with self._lock:
                self._outstanding[party, request_id] = time.monotonic() + self._timeout_s
            reply = partial(self.respond, party, request_id)
            if party == self._own_id:
                self._ask_vm(party, request_id, request, reply, None)
                continue
            peer = self._reachable(party)
            if peer is None or len(request) > MAX_MESSAGE_BYTES:
                reply(_timed_out())
                continue
            self._at_timeout(partial(self._time_out, party, request_id), self._timeout_s)
            self._run(partial(peer.app_request, PeerRequest(peer.node_id, request_id, request, reply)))

    def send_reply(self, party: Party, request_id: int, reply: Reply) -> None:
        """Forward the VM's reply to *party*. It is dropped unless *party* waits for it."""
        with self._lock:
            settle = self._asked.pop((party, request_id), None)
        if settle is not None:
            settle(reply)

    def send_gossip(
        self, node_ids: Iterable[NodeID], message: bytes, *, validators: int, non_validators: int, peers: int
    ) -> None:
        """Gossip to all of *node_ids* and to samples of the connected nodes, once to each node."""
        connected = self.connected()
        reached = {node_id: self._reachable(node_id) for node_id in node_ids}
        for count, population in (
            (validators, [peer for peer in connected if peer.is_validator]),
            (non_validators, [peer for peer in connected if not peer.is_validator]),
            (peers, connected),
        ):
            sample = random.sample(population, min(count, len(population)))
            reached.update((peer.node_id, peer) for peer in sample)
        for peer in reached.values():
            if peer is not None:
                self._run(partial(peer.app_gossip, message))

    # Life -----------------------------------------------------------------------------------------

    def open(self, receiver: AppMessages) -> None:
        """Start delivering to the VM, beginning with what has waited."""
        with self._lock:
            self._receiver = receiver
            waiting, self._waiting = self._waiting, []
        for delivery in waiting:
            self._deliver(delivery)

    def close(self) -> None:
        """Stop delivering. Idempotent."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            asked, self._asked = self._asked, {}
            self._lock.notify_all()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for settle in asked.values():
            settle(_timed_out())

    def join(self) -> None:
        """Wait until no delivery is running. Call `close` first."""
        self._pool.shutdown(wait=True)
        if self._clock is not None:
            self._clock.join()

    # Inside ---------------------------------------------------------------------------------------

    def _reachable(self, party: Party) -> Peer | None:
        with self._lock:
            peer = self._peers.get(party) if isinstance(party, NodeID) else None
        return peer if peer is not None and peer.connected else None

    def _ask_vm(
        self,
        sender: Party,
        request_id: int,
        request: bytes,
        settle: Callable[[Reply], None],
        timeout_s: float | None,
    ) -> None:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        with self._lock:
            is_closed = self._closed
            if not is_closed:
                self._asked[sender, request_id] = settle
        if is_closed:
            settle(_timed_out())
            return
        self._at_timeout(lambda: self.send_reply(sender, request_id, _timed_out()), timeout_s)
        deadline_ns = now_ns() + int(timeout_s * 1e9)
        self._deliver(lambda receiver: receiver.app_request(sender, request_id, deadline_ns, request))

    def _time_out(self, party: Party, request_id: int) -> None:
        with self._lock:
            deadline = self._outstanding.get((party, request_id))
        # The same ID may have been used again after a reply.
        if deadline is not None and deadline <= time.monotonic():
            self.respond(party, request_id, _timed_out())

    def _deliver(self, delivery: Callable[[AppMessages], None]) -> None:
        with self._lock:
            receiver = self._receiver
            if receiver is None:
                self._waiting.append(delivery)
                return
        self._run(lambda: delivery(receiver))

    def _run(self, work: Callable[[], None]) -> None:
        with self._lock:
            if not self._closed:
                self._pool.submit(self._guarded, work)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except ChainFatal:
            pass  # the chain has stopped and reported why
        except Exception:  # noqa: BLE001 - a failing peer must not end the delivering thread
            if not self._closed:
                _log.exception("an application message was not delivered")

    def _at_timeout(self, action: Callable[[], None], timeout_s: float) -> None:
        with self._lock:
            if self._closed:
                return
            self._deadline_number += 1
            heapq.heappush(self._deadlines, (time.monotonic() + timeout_s, self._deadline_number, action))
            if self._clock is None:
                self._clock = threading.Thread(target=self._keep_time, name="app-timeouts", daemon=True)
                self._clock.start()
            self._lock.notify_all()

    def _keep_time(self) -> None:
        while True:
            with self._lock:
                if self._closed:
                    return
                rest = self._deadlines[0][0] - time.monotonic() if self._deadlines else None
                if rest is None or rest > 0:
                    self._lock.wait(rest)
                    continue
                _, _, action = heapq.heappop(self._deadlines)
            action()


def _timed_out() -> AppError:
    return AppError(AppError.TIMED_OUT, "timed out")


def _settle(future: Future[bytes], reply: Reply) -> None:
    if isinstance(reply, AppError):
        future.set_exception(reply)
    else:
        future.set_result(reply)
