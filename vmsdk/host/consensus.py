"""The blocks of one chain: from the first sight of each to its decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host import answers
from vmsdk.host.block import Block
from vmsdk.host.cache import BlockCache, UnexpectedStatus
from vmsdk.host.engine import Engine
from vmsdk.host.errors import CallFailed, ChainMisused, InvalidAnswer
from vmsdk.host.fork import ProposerFork
from vmsdk.ids import ID

# Source: config/flags.go and utils/constants/networking.go: what nodes send.
ANCESTORS_MAX_BLOCKS = 2000
ANCESTORS_MAX_BYTES = 1_677_721
ANCESTORS_MAX_TIME_NS = 50_000_000

AUTO: Final = "auto"
PChainHeight: TypeAlias = "int | Literal['auto'] | None"
"""A height to send, none, or (AUTO) whichever of the two a node would send."""


class Consensus:
    """Calls the VM about blocks, and remembers what a node remembers, with the node's own cache.

    Methods raise `CallFailed` for errors that a node can live with (`InvalidAnswer` among them),
    `ChainFatal` for those that stop the chain, `PluginGone`, and `ChainMisused` for what a node never does.
    """

    def __init__(
        self, engine: Engine, fork: ProposerFork, *, by_status: bool, p_chain_height: Callable[[], int]
    ):
        self.engine = engine
        self._client = engine.client
        self._fork = fork
        self._by_status = by_status
        self._p_chain_height = p_chain_height
        self._cache: BlockCache | None = None
        self._preference: ID | None = None

    # What is known -------------------------------------------------------------------------------------

    @property
    def last_accepted(self) -> Block:
        """The last accepted block. Raises `ChainMisused` before `initialize`."""
        return self._blocks.last_accepted

    @property
    def processing(self) -> list[Block]:
        """The verified, undecided blocks; parents come before their children."""
        return list(self._blocks.verified.values())

    @property
    def preference(self) -> ID:
        """The block that the VM builds on: the last accepted one before any preference was told."""
        return self._preference or self.last_accepted.id

    # Reading -------------------------------------------------------------------------------------------

    def get_block(self, block_id: ID) -> Block | None:
        """The block, from the node's cache or from the VM; None if it is missing."""
        with self.engine.lock:
            known = self._blocks.find(block_id)
            if known is not None or self._blocks.is_missing(block_id):
                return known
            answer = self.engine.call(self._client.GetBlock, pb.GetBlockRequest(id=block_id))
            block = answers.found(answer, block_id)
            if block is None:
                self._blocks.add_missing(block_id)
                return None
            return self._checked("GetBlock", lambda: self._blocks.add_found(block))

    def parse_block(self, data: bytes) -> Block:
        """The block in *data*, which the VM is asked for unless the node remembers it."""
        with self.engine.lock:
            known = self._blocks.find_parsed(data)
            if known is not None:
                return known
            answer = self.engine.call(self._client.ParseBlock, pb.ParseBlockRequest(bytes=data))
            return self._add_parsed("ParseBlock", answer, data)

    def parse_blocks(self, datas: Sequence[bytes]) -> list[Block]:
        """The blocks in *datas*, in their order; one call for all that the node does not remember."""
        with self.engine.lock:
            known = {data: self._blocks.find_parsed(data) for data in datas}
            unknown = [data for data, block in known.items() if block is None]
            if unknown:
                request = pb.BatchedParseBlockRequest(request=unknown)
                answer = self.engine.call(self._client.BatchedParseBlock, request)
                if len(answer.response) != len(unknown):
                    raise InvalidAnswer(
                        "BatchedParseBlock",
                        "BatchedParseBlock returned different number of blocks than expected",
                    )
                for data, one in zip(unknown, answer.response, strict=True):
                    known[data] = self._add_parsed("BatchedParseBlock", one, data)
            return [block for data in datas if (block := known[data]) is not None]

    def get_block_id_at_height(self, height: int) -> ID | None:
        """The accepted block at *height*; None if the VM has none there."""
        request = pb.GetBlockIDAtHeightRequest(height=height)
        answer = self.engine.call(self._client.GetBlockIDAtHeight, request)
        if answers.is_not_found("GetBlockIDAtHeight", answer.err):
            return None
        return answers.block_id("GetBlockIDAtHeight", answer.blk_id)

    def get_ancestors(
        self,
        block_id: ID,
        *,
        max_blocks: int = ANCESTORS_MAX_BLOCKS,
        max_bytes: int = ANCESTORS_MAX_BYTES,
        max_time_ns: int = ANCESTORS_MAX_TIME_NS,
    ) -> list[bytes]:
        """The block, its parent, and so on, within the limits; empty if the VM has no such block."""
        request = pb.GetAncestorsRequest(
            blk_id=block_id,
            max_blocks_num=max_blocks,
            max_blocks_size=max_bytes,
            max_blocks_retrival_time=max_time_ns,
        )
        return list(self.engine.call(self._client.GetAncestors, request).blks_bytes)

    # Deciding ------------------------------------------------------------------------------------------

    def build_block(self, p_chain_height: PChainHeight = AUTO) -> Block:
        """A new block on the preferred one; the caller verifies it next."""
        with self.engine.lock:
            request = pb.BuildBlockRequest()
            height = self._context(self.preference, p_chain_height)
            if height is not None:
                request.p_chain_height = height
            try:
                block = answers.built(self.engine.call(self._client.BuildBlock, request))
                if block.parent_id != self.preference:
                    raise InvalidAnswer(
                        "BuildBlock",
                        f"the block's parent is {block.parent_id}, but the preferred block is {self.preference}",
                    )
                return self._checked("BuildBlock", lambda: self._blocks.add_built(block))
            finally:
                self._changed()

    def verify(self, block: Block, p_chain_height: PChainHeight = AUTO, *, fatal: bool = False) -> None:
        """Verify *block*, whose parent is verified or last accepted; then it is processing.

        A block that failed may be tried again, and one that is processing once more with another height.
        """
        with self.engine.lock:
            parent = self._parent(block)
            request = pb.BlockVerifyRequest(bytes=block.raw)
            if p_chain_height != AUTO or block.verify_with_context:
                height = self._context(parent.id, p_chain_height)
                if height is not None:
                    request.p_chain_height = height
            answer = self.engine.call(self._client.BlockVerify, request, fatal=fatal)
            try:
                answers.timestamp("BlockVerify", answer)
            except CallFailed as error:
                raise (self.engine.stop(error) if fatal else error) from None
            self._blocks.set_verified(block)
            self._fork.add(block, parent)

    def prefer(self, block_id: ID) -> None:
        """Tell the VM to build on this processing or last accepted block; nothing if it does already."""
        with self.engine.lock:
            if block_id not in self._blocks.verified and block_id != self.last_accepted.id:
                raise ChainMisused(
                    f"can't prefer {block_id}: it is neither processing nor the last accepted block"
                )
            if block_id == self._preference:
                return
            self.engine.call(self._client.SetPreference, pb.SetPreferenceRequest(id=block_id), fatal=True)
            self._preference = block_id
            self._changed()

    def accept(self, block: Block) -> list[Block]:
        """Accept a processing child of the last accepted block, and reject all that conflicts with it.

        Then the preference moves to *block*, unless it is one of its descendants. Returns the rejected
        blocks, in the order in which the VM was told: parents first.
        """
        with self.engine.lock:
            if block.id not in self._blocks.verified or block.parent_id != self.last_accepted.id:
                raise ChainMisused(
                    f"can't accept {block!r}: it is not a processing child of {self.last_accepted!r}"
                )
            self._accept(block)
            rejected = self._conflicts(block)
            for conflict in rejected:
                self._blocks.set_rejected(conflict)
                self._fork.reject(conflict)
                request = pb.BlockRejectRequest(id=conflict.id)
                self.engine.call(self._client.BlockReject, request, fatal=True)
            if self.preference not in self._blocks.verified:
                self.prefer(block.id)
            return rejected

    def produce(self, p_chain_height: PChainHeight = AUTO) -> Block:
        """The whole cycle of a block on a chain with one validator: build, verify, prefer, accept."""
        with self.engine.lock:
            block = self.build_block(p_chain_height)
            self.verify(block, p_chain_height)
            self.prefer(block.id)
            for ancestor in self._path_to(block):
                self.accept(ancestor)
            return block

    # Inside --------------------------------------------------------------------------------------------

    @property
    def _blocks(self) -> BlockCache:
        if self._cache is None:
            raise ChainMisused("the chain is not initialised yet")
        return self._cache

    def _begin(self, last_accepted: Block) -> None:
        """The VM has started at *last_accepted*."""
        self._cache = BlockCache(last_accepted, by_status=self._by_status)
        self._fork.start(last_accepted)

    def _accept(self, block: Block) -> None:
        self._blocks.set_accepted(block)
        self._fork.accept(block)
        self.engine.call(self._client.BlockAccept, pb.BlockAcceptRequest(id=block.id), fatal=True)

    def _execute(self, block: Block) -> None:
        """Verify and accept, as bootstrapping does: no preference, no rejects, any error is fatal."""
        self.verify(block, fatal=True)
        self._accept(block)

    def _parent(self, block: Block) -> Block:
        parent = self._blocks.verified.get(block.parent_id)
        if parent is None and block.parent_id == self.last_accepted.id:
            parent = self.last_accepted
        if parent is None:
            raise ChainMisused(f"can't verify {block!r}: its parent is neither processing nor last accepted")
        return parent

    def _context(self, parent_id: ID, wanted: PChainHeight) -> int | None:
        if wanted != AUTO:
            return wanted
        return self._p_chain_height() if self._fork.is_wrapped(parent_id) else None

    def _conflicts(self, accepted: Block) -> list[Block]:
        doomed = {accepted.parent_id}
        conflicts = []
        for block in self.processing:
            if block.parent_id in doomed:
                doomed.add(block.id)
                conflicts.append(block)
        return conflicts

    def _path_to(self, block: Block) -> list[Block]:
        path = [block]
        while path[0].parent_id != self.last_accepted.id:
            path.insert(0, self._blocks.verified[path[0].parent_id])
        return path

    def _add_parsed(self, method: str, answer: pb.ParseBlockResponse, data: bytes) -> Block:
        block = answers.parsed(method, answer, data)
        return self._checked(method, lambda: self._blocks.add_parsed(data, block))

    def _checked(self, method: str, add: Callable[[], Block]) -> Block:
        try:
            return add()
        except UnexpectedStatus as error:
            raise InvalidAnswer(method, str(error)) from None

    def _changed(self) -> None:
        """Something changed for which the node asks the VM for events again."""
