"""One chain's life, driven as a node drives it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.io.prometheus.client import metrics_pb2
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.events import Event
from vmsdk.host import answers
from vmsdk.host.appmessages import AppMessages
from vmsdk.host.block import Block
from vmsdk.host.cache import BlocksProcessing
from vmsdk.host.client import VMClient
from vmsdk.host.consensus import Consensus
from vmsdk.host.engine import Engine
from vmsdk.host.errors import CallFailed, ChainFatal, ChainMisused, HostError, InvalidAnswer
from vmsdk.host.fork import ProposerFork
from vmsdk.host.metrics import chain_families
from vmsdk.host.notifier import Notifier
from vmsdk.host.peers import Peer
from vmsdk.host.services import NodeServices
from vmsdk.host.statesync import StateSync, Summary
from vmsdk.host.upgrades import INITIALLY_ACTIVE, local_upgrades, to_wire
from vmsdk.ids import ID, NodeID
from vmsdk.state import State
from vmsdk.statesync import StateSyncMode

_log = logging.getLogger("vmsdk.host")

# Source: utils/constants/networking.go (consensus-shutdown-timeout).
SHUTDOWN_TIMEOUT_S = 60.0
# The batches in which a bootstrapping node parses what peers send.
_BOOTSTRAP_BATCH = 256


class Chain(Consensus):
    """Drives the VM behind *client*, which in turn calls *services*. Safe from any thread.

    Usually `start`, then `next_event` and `produce` again and again, then `shutdown`; or the single steps
    of `start` in its order. *on_fault* is told once if the chain stops, on the thread where it happened.
    """

    def __init__(
        self,
        client: VMClient,
        services: NodeServices,
        *,
        on_fault: Callable[[ChainFatal], None] | None = None,
    ) -> None:
        config = services.config
        self.client = client
        self.services = services
        self.config = config
        self.state: State | None = None
        """What the VM was last told; None before any."""
        self.handlers: dict[str, str] = {}
        """The VM's HTTP handlers: the address (``127.0.0.1:port``) that serves each path prefix."""
        self.http_handler = ""
        """The address of the handler for requests routed by header; empty for none."""
        self._upgrades = config.network_upgrades or local_upgrades(config.protocol)
        self._notifier = Notifier(client, services.events) if config.protocol.waits_for_events else None
        self._shut_down = False
        self._on_fault = on_fault
        super().__init__(
            Engine(client, self._faulted),
            ProposerFork(
                services.disk.space(b"proposervm/" + config.chain_id),
                since=self._upgrades.apricot_phase_4_time or INITIALLY_ACTIVE,
            ),
            by_status=config.protocol.block_status,
            p_chain_height=lambda: services.validators.minimum_height,
        )
        self.state_sync = StateSync(self.engine)
        self._messages = AppMessages(self.engine)

    # Life ----------------------------------------------------------------------------------------------

    def start(self, blocks: Iterable[bytes] = (), summaries: Iterable[bytes] = ()) -> None:
        """From `initialize` to normal operation.

        *summaries* are what peers offer for state sync, *blocks* what they offer for bootstrapping.
        """
        self.initialize()
        self.create_handlers()
        syncing = self.state_sync.enabled()
        self.begin_events()
        self.set_state(State.STATE_SYNCING if syncing else State.BOOTSTRAPPING)
        self.open_messages()
        if syncing:
            self.sync_state(summaries)
        self.bootstrap(blocks)
        self.begin_normal_operation()

    def initialize(self) -> Block:
        """Initialise the VM; its last accepted block."""
        config = self.config
        request = pb.InitializeRequest(
            network_id=config.network_id,
            subnet_id=config.subnet_id,
            chain_id=config.chain_id,
            node_id=config.identity.node_id,
            public_key=config.identity.public_key,
            x_chain_id=config.x_chain_id,
            c_chain_id=config.c_chain_id,
            avax_asset_id=config.avax_asset_id,
            chain_data_dir="" if config.chain_data_dir is None else str(config.chain_data_dir),
            genesis_bytes=config.genesis,
            upgrade_bytes=config.upgrade,
            config_bytes=config.config,
            db_server_addr=self.services.db_address,
            server_addr=self.services.address,
        )
        if config.protocol.network_upgrades:
            request.network_upgrades.CopyFrom(to_wire(self._upgrades))
        answer = self.engine.call(self.client.Initialize, request, fatal=True)
        block = self._fatal_answer(lambda: answers.last_accepted("Initialize", answer))
        self._begin(block)
        # Only now: during Initialize the chain has no alias of its own.
        self.services.aliases.add(config.chain_id, str(config.chain_id))
        return block

    def create_handlers(self) -> None:
        """Fill `handlers` and `http_handler`. An error is logged, and the chain goes on without HTTP."""
        try:
            answer = self.engine.call(self.client.CreateHandlers, Empty())
            # A prefix that comes twice: the last one wins.
            self.handlers = {handler.prefix: handler.server_addr for handler in answer.handlers}
            method = self.config.protocol.http2_method
            if method is not None:
                self.http_handler = self.engine.call(getattr(self.client, method), Empty()).server_addr
        except CallFailed as error:
            _log.warning("the chain has no HTTP: %s", error)

    def set_state(self, state: State) -> Block:
        """Tell the VM what the node does; its last accepted block, which state sync may have moved."""
        with self.engine.lock:
            answer = self.engine.call(
                self.client.SetState, pb.SetStateRequest(state=pb.State.ValueType(state)), fatal=True
            )
            block = self._fatal_answer(lambda: answers.last_accepted("SetState", answer))
            moved = block.id != self.last_accepted.id
            try:
                self._blocks.set_last_accepted(block)
            except BlocksProcessing as error:
                raise self.engine.stop(InvalidAnswer("SetState", str(error))) from None
            if moved:
                self._fork.start(block)
            self.state = state
            self._changed()
            return block

    def open_messages(self) -> None:
        """Begin to deliver application messages; the node itself is announced as the first peer."""
        own = Peer(self.config.identity.node_id)
        self._tell_connected(own)
        self.services.network.open(self._messages)

    def sync_state(self, summaries: Iterable[bytes] = ()) -> None:
        """Sync to the VM's ongoing summary if a peer still offers it, else to the highest one offered.

        Waits for the end of a static sync, then tells the VM that bootstrapping begins. A summary that the
        VM can't parse is skipped.
        """
        ongoing = self.state_sync.ongoing()
        offered: dict[ID, Summary] = {}
        for data in summaries:
            try:
                summary = self.state_sync.parse(data)
            except CallFailed as error:
                _log.debug("a state summary was not accepted: %s", error)
            else:
                offered[summary.id] = summary
        if offered:
            best = max(offered.values(), key=lambda summary: summary.height)
            if ongoing is not None:
                best = offered.get(ongoing.id, best)
            mode = self.state_sync.accept(best)
            if mode == StateSyncMode.STATIC:
                self._await_state_sync()
            elif mode not in (StateSyncMode.SKIPPED, StateSyncMode.DYNAMIC):
                _log.warning("the VM accepted a state summary in a mode that does not exist: %d", mode)
        self.set_state(State.BOOTSTRAPPING)

    def bootstrap(self, blocks: Iterable[bytes] = ()) -> None:
        """Execute *blocks*, in any order, by ascending height; those already accepted are skipped."""
        with self.engine.lock:
            datas = list(blocks)
            parsed = [
                block
                for start in range(0, len(datas), _BOOTSTRAP_BATCH)
                for block in self.parse_blocks(datas[start : start + _BOOTSTRAP_BATCH])
            ]
            for block in sorted(parsed, key=lambda block: block.height):
                if block.height > self.last_accepted.height:
                    self._execute(block)

    def begin_normal_operation(self) -> None:
        """Prefer the last accepted block, then tell the VM that it takes part in consensus."""
        self.prefer(self.last_accepted.id)
        self.set_state(State.NORMAL_OP)

    def shutdown(self) -> None:
        """End the event loop, then the VM; both take no longer than a node allows. Harmless when repeated.

        An error of the VM, or a VM that hangs, is logged: a node goes on to stop the process.
        """
        self.end_events()
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT_S
        if not self.engine.lock.acquire(timeout=SHUTDOWN_TIMEOUT_S):
            _log.warning("the VM was not shut down: another call of it hangs")
            return
        try:
            if not self._shut_down:
                self._shut_down = True
                self.client.Shutdown(Empty(), max(0.0, deadline - time.monotonic()))
        except (grpc.RpcError, HostError) as error:
            _log.warning("the VM did not shut down well: %s", error)
        finally:
            self.engine.lock.release()

    def begin_events(self) -> None:
        """Begin to ask for events (from protocol 42; before, the VM tells them by itself). Call once."""
        if self._notifier is not None:
            self._notifier.start()

    def end_events(self) -> None:
        """Ask for no more events: cancel the call in flight, and let `next_event` return."""
        self.services.events.close()
        if self._notifier is not None:
            self._notifier.stop()

    # Events --------------------------------------------------------------------------------------------

    def next_event(self, timeout_s: float | None = None) -> Event | None:
        """The VM's next event, waiting for it; None after *timeout_s*, at shutdown or on a fault."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            rest = None if deadline is None else max(0.0, deadline - time.monotonic())
            message = self.services.events.take(rest)
            if message is None:
                return None
            try:
                return Event(message)
            except ValueError:
                _log.warning("the VM told an event that does not exist: %d", message)

    def _await_state_sync(self) -> None:
        while True:
            event = self.next_event()
            if event is Event.STATE_SYNC_FINISHED:
                return
            if event is None:
                raise self.engine.fault or ChainMisused("the chain was shut down during state sync")

    def _changed(self) -> None:
        if self._notifier is not None:
            self._notifier.change()

    # Peers ---------------------------------------------------------------------------------------------

    def connect(self, peer: Peer) -> None:
        """Let *peer* be connected, and tell the VM."""
        peer.connected = True
        self.services.network.add(peer)
        self._tell_connected(peer)

    def disconnect(self, node_id: NodeID) -> None:
        """Let the peer be disconnected, and tell the VM."""
        peer = self.services.network.peer(node_id)
        if peer is not None:
            peer.connected = False
        request = pb.DisconnectedRequest(node_id=node_id)
        self.engine.call(self.client.Disconnected, request, fatal=True)

    def _tell_connected(self, peer: Peer) -> None:
        major, minor, patch = peer.version
        request = pb.ConnectedRequest(
            node_id=peer.node_id, name=peer.name, major=major, minor=minor, patch=patch
        )
        self.engine.call(self.client.Connected, request, fatal=True)

    # Looking at the VM -----------------------------------------------------------------------------------

    def health(self) -> Any:
        """The VM's health details: any JSON value. `CallFailed` if it is unhealthy, or not there."""
        details = self.engine.call(self.client.Health, Empty()).details
        try:
            return json.loads(details) if details else None
        except ValueError as error:
            raise InvalidAnswer("Health", f"the details are no JSON: {error}") from None

    def version(self) -> str:
        """The VM's own version, any text."""
        return self.engine.call(self.client.Version, Empty(), locked=False).version

    def gather(self) -> list[metrics_pb2.MetricFamily]:
        """The VM's metrics as they appear on the node's metrics page. Raises `InvalidMetrics` as a node does."""
        answer = self.engine.call(self.client.Gather, Empty(), locked=False)
        aliases = self.services.aliases.names(self.config.chain_id)
        alias = aliases[0] if aliases else str(self.config.chain_id)
        return chain_families(
            answer.metric_families,
            vm_id=self.config.vm_id,
            chain_alias=alias,
            plugin_prefix=self.config.protocol.plugin_metrics_prefix,
        )

    def _faulted(self, fault: ChainFatal) -> None:
        self.services.events.close()
        if self._on_fault is not None:
            self._on_fault(fault)

    def _fatal_answer(self, check: Callable[[], Block]) -> Block:
        try:
            return check()
        except CallFailed as error:
            raise self.engine.stop(error) from None
