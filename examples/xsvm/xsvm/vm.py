"""The VM, with its own blocks, on parts of `vmsdk.chain`."""

from __future__ import annotations

import time
from typing import Any

import vmsdk
from vmsdk import p2p, warp
from vmsdk.chain import Invalid
from vmsdk.chain.accepted import AcceptedState
from vmsdk.chain.state import Overlay, State
from vmsdk.http import JSONRPC
from xsvm import state as states
from xsvm.api import Service
from xsvm.blocks import Block
from xsvm.builder import Builder
from xsvm.execute import Environment, execute_block, execute_genesis, expects_context
from xsvm.genesis import Genesis
from xsvm.warp import no_check, sign_everything, signature_check

MAX_FUTURE_S = 10
"""Clocks differ: a block may be this far ahead of this node's."""


class Candidate(vmsdk.Block, vmsdk.VerifyWithContext):
    """A block that is verified, then accepted or rejected."""

    id: vmsdk.ID
    parent_id: vmsdk.ID
    height: int
    timestamp: vmsdk.Timestamp
    raw: bytes

    def __init__(self, vm: XSVM, block: Block) -> None:
        self.vm = vm
        self.block = block
        self.id = block.id
        self.parent_id = block.parent_id
        self.height = block.height
        self.timestamp = vmsdk.Timestamp(block.timestamp)
        self.raw = block.raw
        self.state: Overlay | None = None
        """The state after this block, on its parent's; None before `verify` and once decided."""

    @property
    def should_verify_with_context(self) -> bool:
        return expects_context(self.block)

    def verify(self) -> None:
        self.verify_at(None)

    def verify_with_context(self, p_chain_height: int) -> None:
        self.verify_at(p_chain_height)

    def verify_at(self, p_chain_height: int | None) -> None:
        try:
            parent: Candidate = self.vm.ctx.get_block(self.parent_id)
        except vmsdk.NotFound:
            raise vmsdk.InvalidBlock(f"its parent {self.parent_id} is not known") from None
        if self.height != parent.height + 1:
            raise vmsdk.InvalidBlock(f"height {self.height} does not follow the parent's {parent.height}")
        if self.timestamp < parent.timestamp:
            raise vmsdk.InvalidBlock(f"time {self.timestamp} is before the parent's {parent.timestamp}")
        latest = self.vm.now() + MAX_FUTURE_S
        if self.block.timestamp > latest:
            raise vmsdk.InvalidBlock(f"time {self.block.timestamp} is in the future: at most {latest} here")
        state = Overlay(self.vm.state_after(parent))
        try:
            execute_block(state, self.vm.environment(p_chain_height), self.block)
        except Invalid as error:
            raise vmsdk.InvalidBlock(str(error)) from None
        self.state = state

    def accept(self) -> None:
        self.vm.accept(self)

    def reject(self) -> None:
        self.state = None
        self.vm.ctx.notify()  # its transactions wait again


class XSVM(p2p.Networked, vmsdk.BuildBlockWithContext):
    """AvalancheGo's example VM."""

    version = "v1.0.4"

    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        try:
            self.genesis = Genesis.from_bytes(genesis)
        except Invalid as error:
            raise vmsdk.VMError(
                f"the genesis can't be decoded: {error}. AvalancheGo's tool prints one: "
                "xsvm chain genesis --encoding binary"
            ) from None
        self.builder = Builder(ctx.log)
        self.accepted = AcceptedState(ctx.db)
        self.is_bootstrapping = False
        self.network.add_handler(p2p.SIGNATURE_REQUEST, warp.SignatureHandler(ctx, sign_everything))
        if states.INITIALIZED not in self.accepted:
            state = Overlay(self.accepted)
            execute_genesis(state, ctx.chain_id, self.genesis)
            self.commit(state)

    def set_state(self, state: vmsdk.State) -> None:
        self.is_bootstrapping = state is vmsdk.State.BOOTSTRAPPING

    def health_check(self) -> int:
        return 200

    def create_handlers(self) -> dict[str, Any]:
        return {"": JSONRPC({"xsvm": Service(self)})}

    def new_http_handler(self) -> Any:
        try:
            from xsvm.ping import PingApplication
        except ImportError as error:
            self.ctx.log.info("without the Ping service: %s; pip install connectrpc grpcio-reflection", error)
            return None
        return PingApplication()

    def now(self) -> int:
        """Return the Unix seconds of this node's clock."""
        return int(time.time())

    # Blocks ---------------------------------------------------------------------------------------

    def last_accepted(self) -> vmsdk.ID:
        return states.last_accepted(self.accepted)

    def get_block(self, block_id: vmsdk.ID) -> Candidate:
        return self.parse_block(states.get_block(self.accepted, block_id))

    def get_block_id_at_height(self, height: int) -> vmsdk.ID:
        return states.block_id_at(self.accepted, height)

    def parse_block(self, data: bytes) -> Candidate:
        try:
            return Candidate(self, Block.from_bytes(data))
        except (Invalid, vmsdk.InvalidInput) as error:
            raise vmsdk.InvalidBlock(str(error)) from None

    def has_pending_work(self) -> bool:
        return self.builder.has_work(self.held())

    def build_block(self) -> Candidate:
        return self.build(None)

    def build_block_with_context(self, p_chain_height: int) -> Candidate:
        return self.build(p_chain_height)

    def build(self, p_chain_height: int | None) -> Candidate:
        """Build a block on the preferred one, at a P-chain height."""
        parent: Candidate = self.ctx.preferred
        state = Overlay(self.state_after(parent))
        transactions = self.builder.fill(state, self.environment(p_chain_height), self.held())
        if not transactions:
            raise vmsdk.NothingToBuild
        timestamp = max(self.now(), parent.block.timestamp)
        return Candidate(self, Block(parent.id, timestamp, parent.height + 1, transactions))

    def accept(self, candidate: Candidate) -> None:
        """Make the state after *candidate* the accepted one."""
        state = candidate.state
        if state is None:
            raise vmsdk.VMError(f"block {candidate.id} is accepted, but was not verified")
        self.commit(state)
        candidate.state = None
        for other in self.ctx.processing:
            if other.state is not None and other.state.parent is state:
                other.state.parent = self.accepted
        self.builder.accepted(candidate.block)

    # State ----------------------------------------------------------------------------------------

    def held(self) -> set[vmsdk.ID]:
        """Return the IDs of the transactions in the undecided blocks up to the preferred one."""
        held: set[vmsdk.ID] = set()
        candidate: Candidate = self.ctx.preferred
        while candidate.state is not None:
            held.update(each.id for each in candidate.block.transactions)
            candidate = self.ctx.get_block(candidate.parent_id)
        return held

    def environment(self, p_chain_height: int | None) -> Environment:
        """Return what the rules know besides the state."""
        verify = no_check if self.is_bootstrapping else signature_check(self.ctx)
        return Environment(self.ctx.network_id, self.ctx.chain_id, p_chain_height, verify)

    def state_after(self, parent: Candidate) -> State:
        """Return the state on which a child of *parent* is executed. Raises `InvalidBlock`."""
        if parent.id == self.last_accepted():
            return self.accepted
        if parent.state is None:
            raise vmsdk.InvalidBlock(f"block {parent.id} is neither undecided nor the last accepted one")
        return parent.state

    def commit(self, state: Overlay) -> None:
        """Store the changes of *state*, in one database batch."""
        with self.accepted.commit(state.writes):
            pass
