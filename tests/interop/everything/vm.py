"""The VM itself: a chain, state sync, messages and metrics."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import prometheus_client

import vmsdk
from vmsdk import StateSummary, StateSyncableVM, StateSyncMode
from vmsdk.http import JSONRPC, subpaths
from vmsdk.vm import BuildBlockWithContext, CrossChainVM, NodeVersion

from .block import NO_P_CHAIN_HEIGHT, EverythingBlock
from .service import Service
from .web import header_routed, web

LAST = b"last"
ONGOING = b"ongoing"
HEIGHT = b"height/"
BLOCK = b"block/"


@dataclass(frozen=True)
class Summary(StateSummary):
    """A mode, how much of the sync is left to do by hand (0 or 1), and the block whose state it
    is.
    """

    vm: EverythingVM
    mode: StateSyncMode
    waits: bool
    block: EverythingBlock

    @property
    def height(self) -> int:
        return self.block.height

    @cached_property
    def raw(self) -> bytes:
        return bytes([self.mode, self.waits]) + self.block.raw

    @cached_property
    def id(self) -> vmsdk.ID:
        return vmsdk.ID.of(self.raw)

    def accept(self) -> StateSyncMode:
        if self.mode is not StateSyncMode.SKIPPED:
            self.vm.begin_sync(self)
        return self.mode


class EverythingVM(vmsdk.ChainVM, BuildBlockWithContext, StateSyncableVM, CrossChainVM):
    """Nothing of it is a good example; all of it can be asked about by JSON-RPC."""

    name = "everything"
    version = "7.8.9"

    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        if config == b"fail":
            raise ValueError("initialize was told to fail")
        self.given = {"genesis": genesis.hex(), "upgrade": upgrade.hex(), "config": config.hex()}
        self.states: list[str] = []
        self.received: list[dict[str, Any]] = []
        self.received_more = threading.Condition()
        self.verifications: list[int | None] = []
        self.rejected: list[vmsdk.ID] = []
        # A VM that keeps its mempool on disk has work from the start.
        self.mempool = deque([b"from before"] if config == b"work" else [])
        self.builds = 0
        self.builds_fail = False
        self.syncing: Summary | None = None
        self.is_healthy = True
        self._register_metrics()
        # Asked while the node waits for this very call: it must be able to call back.
        self.lookup_during_initialize = str(ctx.aliases.lookup("X"))
        last = ctx.db.get(LAST)
        if last is None:
            genesis_block = EverythingBlock(
                self, vmsdk.ID.EMPTY, 0, vmsdk.Timestamp(0, 0), False, NO_P_CHAIN_HEIGHT, genesis
            )
            self.store(genesis_block)
        else:
            self.last = vmsdk.ID(last)

    def _register_metrics(self) -> None:
        registry = prometheus_client.CollectorRegistry()
        self.counter = prometheus_client.Counter("blocks", "Accepted blocks", registry=registry)
        gauge = prometheus_client.Gauge("level", "A level", ["kind"], registry=registry)
        gauge.labels(kind="high").set(3.5)
        histogram = prometheus_client.Histogram("size", "Sizes", buckets=(1, 10), registry=registry)
        histogram.observe(5)
        summary = prometheus_client.Summary("duration", "Durations", registry=registry)
        summary.observe(0.25)
        self.ctx.metrics.register(registry)

    def store(self, block: EverythingBlock) -> None:
        with self.ctx.db.batch() as batch:
            batch[BLOCK + block.id] = block.raw
            batch[HEIGHT + block.height.to_bytes(8, "big")] = block.id
            batch[LAST] = block.id
        self.last = block.id
        self.counter.inc()

    def set_state(self, state: vmsdk.State) -> None:
        self.states.append(state.name)

    # Blocks

    def last_accepted(self) -> vmsdk.ID:
        return self.last

    def get_block(self, block_id: vmsdk.ID) -> EverythingBlock:
        return self.parse_block(self.ctx.db[BLOCK + block_id])

    def get_block_id_at_height(self, height: int) -> vmsdk.ID:
        return vmsdk.ID(self.ctx.db[HEIGHT + height.to_bytes(8, "big")])

    def parse_block(self, data: bytes) -> EverythingBlock:
        return EverythingBlock.parse(self, data)

    def build_block(self) -> EverythingBlock:
        return self._build(NO_P_CHAIN_HEIGHT)

    def build_block_with_context(self, p_chain_height: int) -> EverythingBlock:
        return self._build(p_chain_height)

    def _build(self, p_chain_height: int) -> EverythingBlock:
        self.builds += 1
        if self.builds_fail or not self.mempool:
            raise vmsdk.NothingToBuild
        parent = self.ctx.preferred
        wants_context = p_chain_height != NO_P_CHAIN_HEIGHT
        now = vmsdk.Timestamp.now()
        return EverythingBlock(
            self, parent.id, parent.height + 1, now, wants_context, p_chain_height, self.mempool.popleft()
        )

    def set_preference(self, block_id: vmsdk.ID) -> None:
        self.ctx.get_block(block_id)  # which the tests make fail

    def has_pending_work(self) -> bool:
        return bool(self.mempool)

    # State sync

    def state_sync_enabled(self) -> bool:
        return self.given["config"] == b"sync".hex()

    def get_ongoing_sync_state_summary(self) -> Summary:
        return self.parse_state_summary(self.ctx.db[ONGOING])

    def get_last_state_summary(self) -> Summary:
        return Summary(self, StateSyncMode.STATIC, False, self.get_block(self.last))

    def get_state_summary(self, height: int) -> Summary:
        block = self.get_block(self.get_block_id_at_height(height))
        return Summary(self, StateSyncMode.STATIC, False, block)

    def parse_state_summary(self, data: bytes) -> Summary:
        if len(data) < 2 or data[0] not in (1, 2, 3):
            raise vmsdk.InvalidBlock("this is not a summary")
        return Summary(self, StateSyncMode(data[0]), bool(data[1]), self.parse_block(data[2:]))

    def begin_sync(self, summary: Summary) -> None:
        self.ctx.db[ONGOING] = summary.raw
        self.syncing = summary
        if not summary.waits:
            threading.Thread(target=self.finish_sync, name="sync").start()

    def finish_sync(self) -> None:
        """What a real VM does once it has fetched the state."""
        with self.ctx.lock:
            assert self.syncing is not None
            self.store(self.syncing.block)
            del self.ctx.db[ONGOING]
            self.syncing = None
        self.ctx.state_sync_finished()

    # Peers

    def _receive(self, kind: str, **what: Any) -> None:
        with self.received_more:
            self.received.append({"kind": kind, **what})
            self.received_more.notify_all()

    def connected(self, node_id: vmsdk.NodeID, version: NodeVersion) -> None:
        self._receive("connected", node_id=node_id.hex(), version=str(version))

    def disconnected(self, node_id: vmsdk.NodeID) -> None:
        self._receive("disconnected", node_id=node_id.hex())

    def app_request(
        self, node_id: vmsdk.NodeID, request_id: int, deadline: vmsdk.Timestamp, request: bytes
    ) -> bytes | None:
        seconds = deadline.seconds - vmsdk.Timestamp.now().seconds
        self._receive(
            "request", node_id=node_id.hex(), request_id=request_id, bytes=request.hex(), seconds=seconds
        )
        if request == b"refuse":
            raise vmsdk.AppError(7, "refused")
        if request == b"bug":
            raise ZeroDivisionError("a bug in the handler")
        if request == b"fatal":
            raise vmsdk.Fatal("told to be fatal")
        return None if request == b"later" else request.upper()

    def app_request_failed(self, node_id: vmsdk.NodeID, request_id: int, error: vmsdk.AppError) -> None:
        what = {"code": error.code, "message": error.message}
        self._receive("failed", node_id=node_id.hex(), request_id=request_id, **what)

    def app_response(self, node_id: vmsdk.NodeID, request_id: int, response: bytes) -> None:
        self._receive("response", node_id=node_id.hex(), request_id=request_id, bytes=response.hex())

    def app_gossip(self, node_id: vmsdk.NodeID, message: bytes) -> None:
        self._receive("gossip", node_id=node_id.hex(), bytes=message.hex())

    def cross_chain_app_request(
        self, chain_id: vmsdk.ID, request_id: int, deadline: vmsdk.Timestamp, request: bytes
    ) -> bytes | None:
        self._receive("chain request", chain_id=chain_id.hex(), request_id=request_id, bytes=request.hex())
        if request == b"refuse":
            raise vmsdk.AppError(7, "refused")
        return request.upper()

    def cross_chain_app_request_failed(
        self, chain_id: vmsdk.ID, request_id: int, error: vmsdk.AppError
    ) -> None:
        what = {"code": error.code, "message": error.message}
        self._receive("chain failed", chain_id=chain_id.hex(), request_id=request_id, **what)

    def cross_chain_app_response(self, chain_id: vmsdk.ID, request_id: int, response: bytes) -> None:
        self._receive("chain response", chain_id=chain_id.hex(), request_id=request_id, bytes=response.hex())

    # HTTP and health

    def create_handlers(self) -> dict[str, Any]:
        return {"/rpc": JSONRPC("everything", Service(self)), subpaths("/web"): web}

    def new_http_handler(self) -> Any:
        return header_routed

    def health_check(self) -> Any:
        if not self.is_healthy:
            raise RuntimeError("told to be unhealthy")
        return {"height": self.ctx.get_block(self.last).height}
