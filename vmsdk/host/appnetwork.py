"""The way of application messages between the VM and its peers."""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

from vmsdk.errors import AppError
from vmsdk.host.peers import Peer, PeerRequest
from vmsdk.ids import ID, NodeID

_log = logging.getLogger("vmsdk.host")

# Source: utils/constants/networking.go (consensus-app-concurrency).
APP_CONCURRENCY = 2
# Source: config/flags.go (network-initial-timeout).
REQUEST_TIMEOUT_S = 5.0
# Source: utils/constants/networking.go: a larger message is never sent.
MAX_MESSAGE_BYTES = 2 * 1024 * 1024

Party: TypeAlias = "NodeID | ID"
"""Whom the VM exchanges messages with: a node, or (until protocol 36) another chain of this node."""
Answer: TypeAlias = "bytes | AppError"


class AppReceiver(ABC):
    """The VM's end: `Chain` implements it. An exception has already stopped the chain."""

    @abstractmethod
    def app_request(self, sender: Party, request_id: int, deadline_ns: int, request: bytes) -> None: ...
    @abstractmethod
    def app_response(self, sender: Party, request_id: int, response: bytes) -> None: ...
    @abstractmethod
    def app_request_failed(self, sender: Party, request_id: int, error: AppError) -> None: ...
    @abstractmethod
    def app_gossip(self, sender: NodeID, message: bytes) -> None: ...


class AppNetwork:
    """Delivers messages both ways, and answers every request exactly once.

    Deliveries wait until `open`, then run on two threads of their own, as in a node.
    """

    def __init__(self, node_id: NodeID, *, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        self._own_id = node_id
        self._timeout_s = timeout_s
        self._lock = threading.Condition()
        self._peers: dict[NodeID, Peer] = {}
        self._outstanding: dict[tuple[Party, int], float] = {}
        """Requests of the VM, with the time at which each fails."""
        self._asked: dict[tuple[Party, int], Callable[[Answer], None]] = {}
        """Requests to the VM, with what to do with its answer."""
        self._next_request_id = 0
        self._deadlines: list[tuple[float, int, Callable[[], None]]] = []
        self._deadline_number = 0
        self._receiver: AppReceiver | None = None
        self._waiting: list[Callable[[AppReceiver], None]] = []
        self._closed = False
        self._pool = ThreadPoolExecutor(APP_CONCURRENCY, thread_name_prefix="app-message")
        self._clock: threading.Thread | None = None

    # Peers ---------------------------------------------------------------------------------------------

    def add(self, peer: Peer) -> None:
        """Let *peer* exist. (`Chain.connect` also tells the VM.)"""
        with self._lock:
            self._peers[peer.node_id] = peer

    def peer(self, node_id: NodeID) -> Peer | None:
        """The peer with this ID, connected or not."""
        with self._lock:
            return self._peers.get(node_id)

    def request(self, sender: Party, request: bytes, *, timeout_s: float | None = None) -> Future[bytes]:
        """Let *sender* ask the VM. The future holds the response, or the `AppError` that came instead."""
        future: Future[bytes] = Future()
        with self._lock:
            request_id = self._next_request_id
            self._next_request_id += 1
        self._ask_vm(sender, request_id, request, lambda answer: _settle(future, answer), timeout_s)
        return future

    def respond(self, sender: Party, request_id: int, answer: Answer) -> None:
        """Let *sender* answer a request of the VM. Dropped if none is outstanding."""
        self._answer_vm(sender, request_id, answer)

    def gossip(self, sender: NodeID, message: bytes) -> None:
        """Let *sender* gossip *message* to the VM."""
        self._deliver(lambda receiver: receiver.app_gossip(sender, message))

    # The VM's side: called by the service appsender.AppSender --------------------------------------------

    def send_request(self, parties: Iterable[Party], request_id: int, request: bytes) -> None:
        """Ask each distinct party; each yields exactly one response or failure for the VM."""
        for party in dict.fromkeys(parties):
            with self._lock:
                self._outstanding[party, request_id] = time.monotonic() + self._timeout_s
            if party == self._own_id:
                self._ask_vm(party, request_id, request, self._answerer(party, request_id), None)
                continue
            peer = self._reachable(party)
            if peer is None or len(request) > MAX_MESSAGE_BYTES:
                self._answer_vm(party, request_id, AppError(AppError.TIMED_OUT, "timed out"))
                continue
            self._at_timeout(partial(self._time_out, party, request_id), self._timeout_s)
            asked = PeerRequest(peer.node_id, request_id, request, self._answerer(party, request_id))
            self._run(partial(peer.app_request, asked))

    def send_answer(self, party: Party, request_id: int, answer: Answer) -> None:
        """The VM answers a request; dropped unless *party* has asked it."""
        with self._lock:
            settle = self._asked.pop((party, request_id), None)
        if settle is not None:
            settle(answer)

    def send_gossip(
        self, node_ids: Iterable[NodeID], message: bytes, *, validators: int, non_validators: int, peers: int
    ) -> None:
        """Reach all of *node_ids*, and samples of the connected nodes; each node once."""
        with self._lock:
            connected = [peer for peer in self._peers.values() if peer.connected]
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

    # Life ------------------------------------------------------------------------------------------------

    def open(self, receiver: AppReceiver) -> None:
        """Begin to deliver to the VM, first what has waited."""
        with self._lock:
            self._receiver = receiver
            waiting, self._waiting = self._waiting, []
        for delivery in waiting:
            self._deliver(delivery)

    def close(self) -> None:
        """Deliver nothing more. Harmless when repeated."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            asked, self._asked = self._asked, {}
            self._lock.notify_all()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for settle in asked.values():
            settle(AppError(AppError.TIMED_OUT, "timed out"))

    def join(self) -> None:
        """Wait, after `close`, until no delivery runs."""
        self._pool.shutdown(wait=True)
        if self._clock is not None:
            self._clock.join()

    # Inside ------------------------------------------------------------------------------------------------

    def _reachable(self, party: Party) -> Peer | None:
        with self._lock:
            peer = self._peers.get(party) if isinstance(party, NodeID) else None
        return peer if peer is not None and peer.connected else None

    def _ask_vm(
        self,
        sender: Party,
        request_id: int,
        request: bytes,
        settle: Callable[[Answer], None],
        timeout_s: float | None,
    ) -> None:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        with self._lock:
            self._asked[sender, request_id] = settle
        timed_out = AppError(AppError.TIMED_OUT, "timed out")
        self._at_timeout(lambda: self.send_answer(sender, request_id, timed_out), timeout_s)
        deadline_ns = time.time_ns() + int(timeout_s * 1e9)
        self._deliver(lambda receiver: receiver.app_request(sender, request_id, deadline_ns, request))

    def _answerer(self, party: Party, request_id: int) -> Callable[[Answer], None]:
        return lambda answer: self._answer_vm(party, request_id, answer)

    def _answer_vm(self, party: Party, request_id: int, answer: Answer) -> None:
        with self._lock:
            if self._outstanding.pop((party, request_id), None) is None:
                return
        if isinstance(answer, AppError):
            self._deliver(lambda receiver: receiver.app_request_failed(party, request_id, answer))
        else:
            self._deliver(lambda receiver: receiver.app_response(party, request_id, answer))

    def _time_out(self, party: Party, request_id: int) -> None:
        with self._lock:
            deadline = self._outstanding.get((party, request_id))
        # The same ID may have been used again after an answer.
        if deadline is not None and deadline <= time.monotonic():
            self._answer_vm(party, request_id, AppError(AppError.TIMED_OUT, "timed out"))

    def _deliver(self, delivery: Callable[[AppReceiver], None]) -> None:
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

    @staticmethod
    def _guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:  # noqa: BLE001 - a failing peer must not take the delivering thread along
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


def _settle(future: Future[bytes], answer: Answer) -> None:
    if isinstance(answer, AppError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
