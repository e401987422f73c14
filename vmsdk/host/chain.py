"""Drives the life of a chain as a node does."""

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
from vmsdk.host.appnetwork import AppMessages, Peer
from vmsdk.host.block import Block
from vmsdk.host.client import VMClient
from vmsdk.host.config import INITIALLY_ACTIVE, local_upgrades, upgrades_message
from vmsdk.host.consensus import Consensus, ProposerFork
from vmsdk.host.engine import Engine, call_failed
from vmsdk.host.errors import CallFailed, ChainFatal, ChainMisused, HostError, InvalidResponse
from vmsdk.host.events import Notifier
from vmsdk.host.metrics import chain_families
from vmsdk.host.services import NodeServices
from vmsdk.host.statesync import StateSync, Summary
from vmsdk.ids import ID, NodeID
from vmsdk.state import Event, State
from vmsdk.statesync import StateSyncMode

_log = logging.getLogger("vmsdk.host")

# Source: utils/constants/networking.go (consensus-shutdown-timeout).
SHUTDOWN_TIMEOUT_S = 60.0
# How many blocks of peers a bootstrapping node parses at once.
_BOOTSTRAP_BATCH = 256


class Chain(Consensus):
    """Drives the VM behind *client*, which in turn calls *services*. Thread-safe.

    Call `start` (or its steps in order), then `next_event` and `produce` in a loop, then
    `shutdown`. If the chain stops, *on_fault* is called once, on the thread of the failed call.
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
        """The state that the VM was last set to; None at first."""
        self.handlers: dict[str, str] = {}
        """The VM's HTTP handlers: an address (``127.0.0.1:port``) for each path prefix."""
        self.http_handler = ""
        """The address of the handler for requests routed by header, or empty."""
        self.handlers_error: CallFailed | None = None
        """Why `create_handlers` failed; None if it didn't."""
        self.upgrades = config.network_upgrades or local_upgrades(config.protocol)
        self._notifier = Notifier(client, services.events) if config.protocol.waits_for_events else None
        self._shut_down = False
        self._on_fault = on_fault
        super().__init__(
            Engine(client, self._faulted),
            ProposerFork(
                services.disk.space(b"proposervm/" + config.chain_id),
                since=self.upgrades.apricot_phase_4_time or INITIALLY_ACTIVE,
            ),
            by_status=config.protocol.block_status,
            p_chain_height=lambda: services.validators.minimum_height,
        )
        self.state_sync = StateSync(self.engine)
        self._messages = AppMessages(self.engine)

    # Life -----------------------------------------------------------------------------------------

    def start(self, blocks: Iterable[bytes] = (), summaries: Iterable[bytes] = ()) -> None:
        """Bring the chain to normal operation.

        Peers offer *summaries* for state sync and *blocks* for bootstrapping.
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
        """Initialise the VM; returns its last accepted block."""
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
            request.network_upgrades.CopyFrom(upgrades_message(self.upgrades))
        response = self.engine.call(self.client.Initialize, request, fatal=True)
        block = self._checked_block(lambda: Block.last_accepted("Initialize", response))
        self._begin(block)
        # A chain has no alias yet during Initialize.
        self.services.aliases.add(config.chain_id, str(config.chain_id))
        return block

    def create_handlers(self) -> None:
        """Set `handlers` and `http_handler`. If that fails, the chain runs without HTTP."""
        try:
            response = self.engine.call(self.client.CreateHandlers, Empty())
            # Of several handlers with the same prefix, the last counts.
            self.handlers = {handler.prefix: handler.server_addr for handler in response.handlers}
            method = self.config.protocol.http2_method
            if method is not None:
                self.http_handler = self.engine.call(getattr(self.client, method), Empty()).server_addr
        except CallFailed as error:
            self.handlers_error = error
            _log.warning("the chain has no HTTP: %s", error)

    def set_state(self, state: State) -> Block:
        """Set the VM's state; returns its last accepted block, which a sync may have changed."""
        with self.engine.lock:
            response = self.engine.call(
                self.client.SetState, pb.SetStateRequest(state=pb.State.ValueType(state)), fatal=True
            )
            block = self._checked_block(lambda: Block.last_accepted("SetState", response))
            moved = block.id != self.last_accepted.id
            try:
                self._blocks.set_last_accepted(block)
            except HostError as error:
                raise self.engine.stop(InvalidResponse("SetState", str(error))) from None
            if moved:
                self._fork.start(block)
            self.state = state
            self.ask_again()
            return block

    def open_messages(self) -> None:
        """Start delivering application messages. The node connects itself as the first peer."""
        self._report_connected(Peer(self.config.identity.node_id))
        self.services.network.open(self._messages)

    def sync_state(self, summaries: Iterable[bytes] = ()) -> None:
        """Sync to the VM's ongoing summary if peers offer it, else to the highest that they offer.

        Waits for the end of a static sync, then sets the VM's state to bootstrapping. Summaries
        that the VM can't parse are skipped.
        """
        ongoing = self.state_sync.ongoing()
        offered: dict[ID, Summary] = {}
        for data in summaries:
            try:
                summary = self.state_sync.parse(data)
            except CallFailed as error:
                _log.debug("skipped a state summary: %s", error)
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
                _log.warning("the VM accepted a state summary with an unknown mode: %d", mode)
        self.set_state(State.BOOTSTRAPPING)

    def bootstrap(self, blocks: Iterable[bytes] = ()) -> None:
        """Execute *blocks* (in any order) by ascending height; accepted ones are skipped."""
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
        """Prefer the last accepted block, then set the VM's state to normal operation."""
        self.prefer(self.last_accepted.id)
        self.set_state(State.NORMAL_OP)

    def shutdown(self) -> None:
        """Stop asking for events and shut the VM down, within a node's time limit. Idempotent.

        A failure is only logged, because a node then stops the process.
        """
        self.end_events()
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT_S
        if not self.engine.lock.acquire(timeout=SHUTDOWN_TIMEOUT_S):
            _log.warning(
                "the VM was not shut down, because another call has been running for %.0f s",
                SHUTDOWN_TIMEOUT_S,
            )
            return
        try:
            if not self._shut_down:
                self._shut_down = True
                self.client.Shutdown(Empty(), max(0.0, deadline - time.monotonic()))
        except grpc.RpcError as error:
            _log.warning("the VM failed to shut down: %s", call_failed("Shutdown", error))
        except HostError as error:
            _log.warning("the VM failed to shut down: %s", error)
        finally:
            self.engine.lock.release()

    def begin_events(self) -> None:
        """Start asking for events (from protocol 42 on; older VMs send them unasked). Call once."""
        if self._notifier is not None:
            self._notifier.start()

    def end_events(self) -> None:
        """Stop asking for events: cancel the running call and make `next_event` return."""
        self.services.events.close()
        if self._notifier is not None:
            self._notifier.stop()

    def resume_events(self) -> None:
        """Ask for events again, after `end_events`."""
        self.services.events.reopen()
        if self._notifier is not None:
            self._notifier = Notifier(self.client, self.services.events)
            self._notifier.start()

    # Events ---------------------------------------------------------------------------------------

    def next_event(self, timeout_s: float | None = None) -> Event | None:
        """Wait for the VM's next event. Returns None after *timeout_s*, at shutdown or a fault."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            rest = None if deadline is None else max(0.0, deadline - time.monotonic())
            message = self.services.events.take(rest)
            if message is None:
                return None
            try:
                return Event(message)
            except ValueError:
                _log.warning("the VM sent an unknown event: %d", message)

    def _await_state_sync(self) -> None:
        while True:
            event = self.next_event()
            if event is Event.STATE_SYNC_FINISHED:
                return
            if event is None:
                raise self.engine.fault or ChainMisused("the chain was shut down during state sync")

    def ask_again(self) -> None:
        """Cancel WaitForEvent and call it again."""
        if self._notifier is not None:
            self._notifier.change()

    # Peers ----------------------------------------------------------------------------------------

    def connect(self, peer: Peer) -> None:
        """Connect *peer* and report it to the VM."""
        peer.connected = True
        self.services.network.add(peer)
        self._report_connected(peer)

    def disconnect(self, node_id: NodeID) -> None:
        """Disconnect a peer and report it to the VM."""
        peer = self.services.network.peer(node_id)
        if peer is not None:
            peer.connected = False
        request = pb.DisconnectedRequest(node_id=node_id)
        self.engine.call(self.client.Disconnected, request, fatal=True)

    def _report_connected(self, peer: Peer) -> None:
        major, minor, patch = peer.version
        request = pb.ConnectedRequest(
            node_id=peer.node_id, name=peer.name, major=major, minor=minor, patch=patch
        )
        self.engine.call(self.client.Connected, request, fatal=True)

    # Inspection -----------------------------------------------------------------------------------

    def health(self) -> Any:
        """Return the VM's health details, any JSON value. Raises `CallFailed` if unhealthy."""
        details = self.engine.call(self.client.Health, Empty()).details
        try:
            return json.loads(details) if details else None
        except ValueError as error:
            raise InvalidResponse("Health", f"the details are not JSON: {error}") from None

    def version(self) -> str:
        """Return the VM's own version, any text."""
        return self.engine.call(self.client.Version, Empty(), locked=False).version

    def gather(self) -> list[metrics_pb2.MetricFamily]:
        """Return the VM's metrics as on the node's metrics page. Raises `InvalidMetrics`."""
        response = self.engine.call(self.client.Gather, Empty(), locked=False)
        aliases = self.services.aliases.names(self.config.chain_id)
        alias = aliases[0] if aliases else str(self.config.chain_id)
        return chain_families(
            response.metric_families,
            vm_id=self.config.vm_id,
            chain_alias=alias,
            plugin_prefix=self.config.protocol.plugin_metrics_prefix,
        )

    def _faulted(self, fault: ChainFatal) -> None:
        self.services.events.close()
        if self._on_fault is not None:
            self._on_fault(fault)

    def _checked_block(self, check: Callable[[], Block]) -> Block:
        try:
            return check()
        except CallFailed as error:
            raise self.engine.stop(error) from None
