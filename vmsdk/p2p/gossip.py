"""Gossip: spreads the items of a set, such as a mempool's transactions, to all nodes of a chain.

New items are pushed to validators at once, and every 30 seconds while they stay in the set. Once a
second, the node pulls missing items from a validator; the request contains a Bloom filter of the
items that the node has. The messages are those of AvalancheGo's `network/p2p/gossip`.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import chain
from typing import Protocol

from google.protobuf.message import DecodeError

from vmsdk._pb.sdk.sdk_pb2 import PullGossipRequest, PullGossipResponse, PushGossip
from vmsdk.errors import AppError, InvalidInput, VMError
from vmsdk.ids import ID, NodeID
from vmsdk.p2p.bloom import Filter, hash_of
from vmsdk.p2p.handler import TX_GOSSIP, Handler
from vmsdk.p2p.network import Network
from vmsdk.p2p.throttler import SlidingWindow, throttled
from vmsdk.timestamp import Timestamp

TARGET_MESSAGE_BYTES = 64 * 1024
"""The maximum size of a message with several items."""
STOP_TIMEOUT_S = 5.0
PUSH_DELAY_S = 0.025
"""How long a new item waits for others that can share its message."""
REFILL_PERIOD_S = 30.0
"""How often the filter is rebuilt, so that false positives are pulled, too."""
MAX_QUEUED_ITEMS = 16_384
MAX_QUEUED_BYTES = 16 * 1024 * 1024
"""Limits of the items to push, and of those to push again. Beyond them, the oldest are dropped."""

# A peer that sends more than this in a period is ignored for the rest of it.
REFUSALS_PERIOD_S = 10.0
MAX_REFUSALS = 2000
"""Messages of a peer, plus its refused items."""
STRANGERS_PERIOD_S = 60.0
MAX_STRANGERS_PULLS = 120
"""Pull requests of all non-validators together. Each costs a pass over the items."""

# Source: network/p2p/gossip/system.go and set.go.
PULL_PERIOD_S = 1.0
PULL_THROTTLING_PERIOD_S = 3600.0
REGOSSIP_PERIOD_S = 30.0
PUSH_STAKE_PERCENT = 90
PUSH_NODES = 100
REGOSSIP_NODES = 10
MIN_FILTER_ITEMS = 1000
FALSE_POSITIVES = 0.01
MAX_FALSE_POSITIVES = 0.05


class Items(Protocol):
    """The set whose items are gossiped. It must be thread-safe."""

    def add(self, raw: bytes) -> bool:
        """Add a peer's item, which may be any bytes. Return False if it is refused."""
        ...

    def has(self, item_id: ID) -> bool:
        """Whether the set contains the item with this ID."""
        ...

    def raws(self) -> Sequence[bytes]:
        """A snapshot of all items."""
        ...


class Gossip(Handler):
    """Gossips *items* with the peers of *network*, from `start` to `stop`, in its own thread.

    *id_of* returns the ID of an item, which may be any bytes. An item is pushed repeatedly while
    `is_wanted(item_id)`, by default `Items.has`, is true.
    """

    def __init__(
        self,
        network: Network,
        items: Items,
        *,
        handler_id: int = TX_GOSSIP,
        id_of: Callable[[bytes], ID] = ID.of,
        is_wanted: Callable[[ID], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._network = network
        self._items = items
        self._id_of = id_of
        self._is_wanted = is_wanted or items.has
        self._clock = clock
        self._log = network.ctx.log
        self._handler_id = handler_id
        self._client = network.client(handler_id)
        # Not held during calls of *items*, which may call `added` while holding its own lock.
        self._lock = threading.Lock()
        self._new = _Queue()
        self._pushed = _Queue()
        self._filter = Filter.sized(MIN_FILTER_ITEMS, FALSE_POSITIVES)
        self._salt = os.urandom(ID.LENGTH)
        self._unfiltered: deque[ID] = deque(maxlen=MAX_QUEUED_ITEMS)  # added since the last pull
        self._is_filled = False  # set by the first step: a node without peers needs no filter
        self._next_refill = self._next_pull = clock()
        self._pulls = SlidingWindow(PULL_THROTTLING_PERIOD_S, self._pull_limit, clock=clock)
        self._strangers = SlidingWindow(STRANGERS_PERIOD_S, MAX_STRANGERS_PULLS, clock=clock)
        self._refusals = SlidingWindow(REFUSALS_PERIOD_S, MAX_REFUSALS, clock=clock)
        self.counts: Counter[str] = Counter()
        """How many items were `received`, `refused` and `pushed`, and how many `pulls` sent."""
        self._started = False
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start to handle and send messages. Call it once the chain is in normal operation."""
        with self._lock:
            if self._started:
                return
            self._started = True
        self._network.add_handler(self._handler_id, self)
        self._network.on_connected.append(self._connected)
        self._connected()

    def stop(self) -> None:
        """Stop permanently, and wait for the thread to end, up to 5 seconds."""
        with self._lock:
            self._stopped.set()
            self._wake.set()
        if self._thread is not None:
            # A call to the node may take longer, but uses nothing that is closed now.
            self._thread.join(STOP_TIMEOUT_S)

    def _connected(self) -> None:
        """Start the thread once there is a peer."""
        with self._lock:
            if self._thread is None and not self._stopped.is_set() and not self._is_alone():
                self._thread = threading.Thread(target=self._run, name="gossip", daemon=True)
                self._thread.start()

    def added(self, item_id: ID, raw: bytes, *, push: bool) -> None:
        """Report a new item of the set. Thread-safe; returns at once.

        With *push*, the item is sent to peers, which an item from a peer does not need.
        """
        if self._is_filled:
            self._unfiltered.append(item_id)
        with self._lock:
            if push and item_id not in self._pushed:
                self._new.put(item_id, raw, self._clock())
        if push and not self._wake.is_set():
            self._wake.set()

    # From peers -----------------------------------------------------------------------------------

    def app_request(self, node_id: NodeID, deadline: Timestamp, request: bytes) -> bytes:
        """Return the items that the peer's filter does not contain, as many as fit in a message."""
        is_validator = node_id in self._network.validators
        if not (self._pulls.allow(node_id) if is_validator else self._strangers.allow(NodeID.EMPTY)):
            raise throttled()
        try:
            pull = PullGossipRequest.FromString(request)
            salt = ID(pull.salt)
            known = Filter.from_bytes(pull.filter)
        except (DecodeError, InvalidInput) as error:
            self._log.debug("%s sent an invalid pull request: %s", node_id, error)
            raise AppError(AppError.UNEXPECTED, "unexpected error") from None
        raws = self._items.raws()
        # Items that depend on each other should arrive in order. But a peer may always refuse the
        # first ones, so half of the responses start elsewhere.
        start = random.choice((0, random.randrange(max(len(raws), 1))))
        found: list[int] = []
        size = 0
        for index in chain(range(start, len(raws)), range(start)):
            raw = raws[index]
            if hash_of(self._id_of(raw), salt) in known:
                continue
            size += len(raw)
            if found and size > TARGET_MESSAGE_BYTES:
                break
            found.append(index)
        return PullGossipResponse(gossip=[raws[index] for index in sorted(found)]).SerializeToString()

    def app_gossip(self, node_id: NodeID, message: bytes) -> None:
        """Add the items that a peer pushes."""
        if not self._refusals.allow(node_id):
            self._log.debug("%s sends too much gossip: dropped a message", node_id)
            return
        try:
            items = PushGossip.FromString(message).gossip
        except DecodeError as error:
            self._log.debug("%s pushed an invalid message: %s", node_id, error)
            return
        self._add(node_id, items)

    def _pulled(self, node_id: NodeID, response: Future[bytes]) -> None:
        """Add the items of the response to a pull request."""
        try:
            items = PullGossipResponse.FromString(response.result()).gossip
        except (AppError, DecodeError) as error:
            self._log.debug("can't pull gossip from %s: %s", node_id, error)
            return
        self._add(node_id, items)

    def _add(self, node_id: NodeID, items: Iterable[bytes]) -> None:
        for raw in items:
            if self._stopped.is_set():
                return
            item_id = self._id_of(raw)
            if self._items.has(item_id):
                continue
            is_taken = self._items.add(raw)
            self.counts["received" if is_taken else "refused"] += 1
            # Also if it is refused, or pulls would return it until the filter is rebuilt.
            self.added(item_id, raw, push=False)
            if not is_taken and not self._refusals.allow(node_id):
                self._log.debug("%s sends too many invalid items: dropped the rest", node_id)
                return

    def _pull_limit(self) -> float:
        """The pulls of a validator in a period: the expected number plus 4 standard deviations."""
        validators = len(self._network.validators)
        pulls = PULL_THROTTLING_PERIOD_S / PULL_PERIOD_S
        if validators == 0:
            return 0
        variance = pulls * (validators - 1) / (validators * validators)
        return float(pulls / validators + 4 * variance**0.5)

    # To peers -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                wait_s = self.step()
            except Exception:  # noqa: BLE001 - a bug in the set must not stop gossip
                self._log.exception("gossip failed; it continues in a second")
                wait_s = PULL_PERIOD_S
            if self._wake.wait(wait_s):
                self._wake.clear()
                self._stopped.wait(PUSH_DELAY_S)

    def step(self) -> float:
        """Send the items that are due. Return the seconds until `step` should be called again."""
        now = self._clock()
        while batch := self._batch(self._new, self._items.has, float("inf"), now):
            self._push(batch, PUSH_NODES, PUSH_STAKE_PERCENT)
        if now >= self._next_pull:
            self._next_pull = now + PULL_PERIOD_S
            if batch := self._batch(self._pushed, self._is_wanted, now - REGOSSIP_PERIOD_S, now):
                self._push(batch, REGOSSIP_NODES, 0)
            self._refill(now)
            self._pull()
        return self._next_pull - now

    def _batch(
        self, queue: _Queue, is_wanted: Callable[[ID], bool], before: float, now: float
    ) -> list[bytes]:
        """Take the items of one message, queued at *before* or earlier, and queue them again."""
        batch: list[bytes] = []
        size = 0
        while True:
            with self._lock:
                room = TARGET_MESSAGE_BYTES - size if batch else MAX_QUEUED_BYTES
                item = queue.take(before, room)
            if item is None:
                return batch
            item_id, raw = item
            if is_wanted(item_id):
                batch.append(raw)
                size += len(raw)
                with self._lock:
                    self._pushed.put(item_id, raw, now)

    def _push(self, batch: list[bytes], nodes: int, stake_percent: int) -> None:
        """Push to *nodes* validators and to those with the most stake; without validators, to
        *nodes* peers.
        """
        if self._is_alone():
            return
        own_id = self._network.ctx.node_id
        validators = self._network.validators
        message = PushGossip(gossip=batch).SerializeToString()
        try:
            if len(validators) > (own_id in validators):
                top = [node_id for node_id in validators.top(stake_percent) if node_id != own_id]
                self._client.gossip(message, node_ids=top, validators=nodes)
            else:
                self._client.gossip(message, peers=nodes)
            self.counts["pushed"] += len(batch)
        except VMError as error:
            self._log.debug("can't push gossip: %s", error)

    def _pull(self) -> None:
        """Request missing items from a validator, or from a peer if there are no validators."""
        if self._is_alone():
            return
        own_id = self._network.ctx.node_id
        sample = self._network.validators.sample(1)
        if not sample:
            sample = [node_id for node_id in self._network.peers.sample(2) if node_id != own_id]
        # Go's library may sample itself, too, so peers expect no more pulls than that leaves.
        if not sample or sample[0] == own_id:
            return
        request = PullGossipRequest(salt=self._salt, filter=bytes(self._filter))
        try:
            response = self._client.request(sample[0], request.SerializeToString())
        except VMError as error:
            self._log.debug("can't pull gossip from %s: %s", sample[0], error)
            return
        self.counts["pulls"] += 1
        response.add_done_callback(partial(self._pulled, sample[0]))

    def _is_alone(self) -> bool:
        peers = self._network.peers
        return len(peers) <= (self._network.ctx.node_id in peers)

    def _refill(self, now: float) -> None:
        """Add new items to the filter. If it is too full or too old, rebuild it with a new salt."""
        while self._unfiltered:
            item_id = self._unfiltered.popleft()
            # Peers don't send an item that is known but not wanted: an accepted transaction.
            if self._is_wanted(item_id) or not self._items.has(item_id):
                self._filter.add(hash_of(item_id, self._salt))
        if now < self._next_refill and self._filter.count <= self._filter.capacity(MAX_FALSE_POSITIVES):
            return
        self._is_filled = True
        raws = self._items.raws()
        self._salt = os.urandom(ID.LENGTH)
        # With room for the items that are added until it is rebuilt.
        self._filter = Filter.sized(max(2 * len(raws), MIN_FILTER_ITEMS), FALSE_POSITIVES)
        for raw in raws:
            self._filter.add(hash_of(self._id_of(raw), self._salt))
        self._next_refill = now + REFILL_PERIOD_S


class _Queue:
    """Items by ID with the time at which they were added, oldest first."""

    def __init__(self) -> None:
        self._items: OrderedDict[ID, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0

    def __contains__(self, item_id: ID) -> bool:
        return item_id in self._items

    def put(self, item_id: ID, raw: bytes, time_s: float) -> None:
        if item_id in self._items:
            return
        self._items[item_id] = raw, time_s
        self._bytes += len(raw)
        while len(self._items) > MAX_QUEUED_ITEMS or self._bytes > MAX_QUEUED_BYTES:
            self.take(float("inf"), self._bytes)

    def take(self, before: float, room: int) -> tuple[ID, bytes] | None:
        """Remove the oldest item if it was added at *before* or earlier and has *room*."""
        if not self._items:
            return None
        item_id, (raw, time_s) = next(iter(self._items.items()))
        if time_s > before or len(raw) > room:
            return None
        del self._items[item_id]
        self._bytes -= len(raw)
        return item_id, raw
