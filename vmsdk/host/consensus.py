"""The blocks of one chain, from the node's first sight of them to their decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, TypeAlias

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.appnetwork import MAX_MESSAGE_BYTES
from vmsdk.host.block import Block, check_id, check_timestamp, is_not_found
from vmsdk.host.cache import BlockCache
from vmsdk.host.engine import Engine
from vmsdk.host.errors import CallFailed, ChainMisused, DatabaseUnwritable, HostError, InvalidResponse
from vmsdk.host.sqlite import KeySpace
from vmsdk.host.strict import Strict
from vmsdk.ids import ID
from vmsdk.timestamp import Timestamp

# Source: config/flags.go and utils/constants/networking.go: what nodes send.
ANCESTORS_MAX_BLOCKS = 2000
ANCESTORS_MAX_BYTES = 1_677_721
ANCESTORS_MAX_TIME_NS = 50_000_000

_FORK_HEIGHT = b"fork"

AUTO: Final = "auto"
PChainHeight: TypeAlias = "int | Literal['auto'] | None"
"""A height to send, None to send none, or AUTO for what a node would send."""


class ProposerFork:
    """Knows which blocks the proposervm wraps; those are built and verified with a P-chain height.

    It wraps every child of a wrapped block, and of a block from time *since* on. The height of the
    first wrapped block that was accepted is stored in *space*.
    """

    def __init__(self, space: KeySpace, since: Timestamp) -> None:
        self._space = space
        self._since = since
        self._wrapped: set[ID] = set()

    def start(self, last_accepted: Block) -> None:
        """Start at *last_accepted*, after a restart or a state sync."""
        self._wrapped.clear()
        height = self._fork_height()
        if height is not None and last_accepted.height >= height:
            self._wrapped.add(last_accepted.id)

    def is_wrapped(self, block_id: ID) -> bool:
        """Whether a processing or last accepted block is wrapped.

        If so, its children get a P-chain height.
        """
        return block_id in self._wrapped

    def add(self, block: Block, parent: Block) -> None:
        """Add a block that enters consensus."""
        if parent.id in self._wrapped or parent.timestamp >= self._since:
            self._wrapped.add(block.id)

    def accept(self, block: Block) -> None:
        self._wrapped.discard(block.parent_id)
        if block.id in self._wrapped and self._fork_height() is None:
            self._space.put(_FORK_HEIGHT, block.height.to_bytes(8, "big"))

    def reject(self, block: Block) -> None:
        self._wrapped.discard(block.id)

    def _fork_height(self) -> int | None:
        value = self._space.get(_FORK_HEIGHT)
        return None if value is None else int.from_bytes(value, "big")


class Consensus:
    """Calls the VM about blocks and caches what a node caches.

    Methods raise `CallFailed` for errors that a node survives (among them `InvalidResponse`),
    `ChainFatal` for those that stop the chain, `PluginGone`, and `ChainMisused` for what a node
    never does.
    """

    def __init__(
        self, engine: Engine, fork: ProposerFork, *, by_status: bool, p_chain_height: Callable[[], int]
    ):
        self.engine = engine
        self.strict: Strict | None = None
        """Checks the VM, if set. Set it before `initialize`."""
        self.on_accepted: Callable[[Block], None] = lambda block: None
        """Gets each accepted block, under the chain's lock."""
        self._client = engine.client
        self._fork = fork
        self._by_status = by_status
        self._p_chain_height = p_chain_height
        self._cache: BlockCache | None = None
        self._preference: ID | None = None

    # State ----------------------------------------------------------------------------------------

    @property
    def last_accepted(self) -> Block:
        """The last accepted block. Raises `ChainMisused` before `initialize`."""
        return self._blocks.last_accepted

    @property
    def processing(self) -> list[Block]:
        """The verified, undecided blocks; parents come first."""
        return list(self._blocks.verified.values())

    @property
    def preference(self) -> ID:
        """The block that the VM builds on: the last accepted block, until `prefer` is called."""
        return self._preference or self.last_accepted.id

    # Reading --------------------------------------------------------------------------------------

    def get_block(self, block_id: ID) -> Block | None:
        """Return a block from the node's cache or from the VM; None if it is missing."""
        with self.engine.lock:
            known = self._blocks.find(block_id)
            if known is not None or self._blocks.is_missing(block_id):
                return known
            response = self.engine.call(self._client.GetBlock, pb.GetBlockRequest(id=block_id))
            block = Block.found(response, block_id)
            if block is None:
                self._blocks.add_missing(block_id)
                return None
            return self._checked("GetBlock", lambda: self._blocks.add_found(block))

    def parse_block(self, data: bytes) -> Block:
        """Return the block in *data*, from the node's cache or parsed by the VM."""
        with self.engine.lock:
            known = self._blocks.find_parsed(data)
            if known is not None:
                return known
            response = self.engine.call(self._client.ParseBlock, pb.ParseBlockRequest(bytes=data))
            return self._add_parsed("ParseBlock", response, data)

    def parse_blocks(self, datas: Sequence[bytes]) -> list[Block]:
        """Return the blocks in *datas*, in order; one call parses all that are not in the cache."""
        with self.engine.lock:
            known = {data: self._blocks.find_parsed(data) for data in datas}
            unknown = [data for data, block in known.items() if block is None]
            if unknown:
                request = pb.BatchedParseBlockRequest(request=unknown)
                response = self.engine.call(self._client.BatchedParseBlock, request)
                if len(response.response) != len(unknown):
                    raise InvalidResponse(
                        "BatchedParseBlock",
                        "BatchedParseBlock returned different number of blocks than expected",
                    )
                for data, one in zip(unknown, response.response, strict=True):
                    known[data] = self._add_parsed("BatchedParseBlock", one, data)
            return [block for data in datas if (block := known[data]) is not None]

    def get_block_id_at_height(self, height: int) -> ID | None:
        """Return the ID of the accepted block at *height*; None if the VM has none."""
        request = pb.GetBlockIDAtHeightRequest(height=height)
        response = self.engine.call(self._client.GetBlockIDAtHeight, request)
        if is_not_found("GetBlockIDAtHeight", response.err):
            return None
        return check_id("GetBlockIDAtHeight", response.blk_id)

    def get_ancestors(
        self,
        block_id: ID,
        *,
        max_blocks: int = ANCESTORS_MAX_BLOCKS,
        max_bytes: int = ANCESTORS_MAX_BYTES,
        max_time_ns: int = ANCESTORS_MAX_TIME_NS,
    ) -> list[bytes]:
        """Return the block, its parent, and so on, within the limits; empty if it is unknown."""
        request = pb.GetAncestorsRequest(
            blk_id=block_id,
            max_blocks_num=max_blocks,
            max_blocks_size=max_bytes,
            max_blocks_retrival_time=max_time_ns,
        )
        return list(self.engine.call(self._client.GetAncestors, request).blks_bytes)

    # Deciding -------------------------------------------------------------------------------------

    def build_block(self, p_chain_height: PChainHeight = AUTO) -> Block:
        """Build a block on the preferred one. The caller verifies it next."""
        with self.engine.lock:
            request = pb.BuildBlockRequest()
            height = self._context(self.preference, p_chain_height)
            if height is not None:
                request.p_chain_height = height
            if self.strict is not None:
                self.strict.calling()
            try:
                block = Block.built(self.engine.call(self._client.BuildBlock, request))
                if len(block.raw) > MAX_MESSAGE_BYTES:
                    raise InvalidResponse(
                        "BuildBlock",
                        f"the block has {len(block.raw)} bytes, but nodes can't send each other more than "
                        f"{MAX_MESSAGE_BYTES}: build smaller blocks",
                    )
                if block.parent_id != self.preference:
                    raise InvalidResponse(
                        "BuildBlock",
                        f"the block's parent is {block.parent_id}, but the preferred block is "
                        f"{self.preference}",
                    )
                if self.strict is not None:
                    self.strict.built(block)
                return self._checked("BuildBlock", lambda: self._blocks.add_built(block))
            finally:
                self.ask_again()

    def verify(self, block: Block, p_chain_height: PChainHeight = AUTO, *, fatal: bool = False) -> None:
        """Verify *block*, whose parent is processing or last accepted; it is then processing.

        It may be called again after a failure, or with another P-chain height.
        """
        with self.engine.lock:
            parent = self._parent(block)
            request = pb.BlockVerifyRequest(bytes=block.raw)
            if p_chain_height != AUTO or block.verify_with_context:
                height = self._context(parent.id, p_chain_height)
                if height is not None:
                    request.p_chain_height = height
            if self.strict is not None:
                self.strict.calling()
            response = self.engine.call(self._client.BlockVerify, request, fatal=fatal)
            try:
                check_timestamp("BlockVerify", response)
            except CallFailed as error:
                raise (self.engine.stop(error) if fatal else error) from None
            if self.strict is not None:
                self.strict.verified(block, parent)
            self._blocks.set_verified(block)
            self._fork.add(block, parent)

    def prefer(self, block_id: ID) -> None:
        """Make the VM build on this block, which is processing or last accepted."""
        with self.engine.lock:
            if block_id not in self._blocks.verified and block_id != self.last_accepted.id:
                raise ChainMisused(
                    f"can't prefer {block_id}: it is neither processing nor the last accepted block"
                )
            if block_id == self._preference:
                return
            self.engine.call(self._client.SetPreference, pb.SetPreferenceRequest(id=block_id), fatal=True)
            self._preference = block_id
            self.ask_again()

    def accept(self, block: Block, *, rejects: bool = True) -> list[Block]:
        """Accept a processing child of the last accepted block, and reject those that conflict.

        If the preferred block was rejected, *block* is preferred. Returns the rejected blocks,
        parents first. With *rejects* False, none are: a node may leave them undecided forever.
        """
        with self.engine.lock:
            if block.id not in self._blocks.verified or block.parent_id != self.last_accepted.id:
                raise ChainMisused(
                    f"can't accept {block!r}: it is not a processing child of {self.last_accepted!r}"
                )
            self._accept(block)
            rejected = self._after(block.parent_id) if rejects else []
            self._reject(rejected)
            if self.preference not in self._blocks.verified:
                self.prefer(block.id)
            return rejected

    def accept_with_ancestors(self, block: Block) -> tuple[list[Block], list[Block]]:
        """Accept a processing block and its processing ancestors.

        Returns the accepted and the rejected blocks.
        """
        with self.engine.lock:
            path, rejected = self._path_to(block), []
            for each in path:
                rejected += self.accept(each)
            return path, rejected

    def reject(self, block: Block) -> None:
        """Reject a processing block and its descendants, as if a conflicting one was accepted.

        If one of them was preferred, the block's parent is preferred.
        """
        with self.engine.lock:
            if block.id not in self._blocks.verified:
                raise ChainMisused(f"can't reject {block!r}: it is not processing")
            doomed = [block, *self._after(block.id)]
            if self.preference in [each.id for each in doomed]:
                self.prefer(block.parent_id)
            self._reject(doomed)
            self.ask_again()

    def produce(self, p_chain_height: PChainHeight = AUTO) -> Block:
        """Run a block's whole cycle with one validator: build, verify, prefer, accept."""
        with self.engine.lock:
            block = self.build_block(p_chain_height)
            self.verify(block, p_chain_height)
            self.prefer(block.id)
            self.accept_with_ancestors(block)
            return block

    # Inside ---------------------------------------------------------------------------------------

    @property
    def _blocks(self) -> BlockCache:
        if self._cache is None:
            raise ChainMisused("the chain is not initialised yet")
        return self._cache

    def _begin(self, last_accepted: Block) -> None:
        self._cache = BlockCache(last_accepted, by_status=self._by_status)
        self._fork.start(last_accepted)
        if self.strict is not None:
            self.strict.began(last_accepted)

    def _accept(self, block: Block) -> None:
        self._blocks.set_accepted(block)
        try:
            self._fork.accept(block)
        except DatabaseUnwritable as error:
            raise self.engine.stop(error) from None
        self.engine.call(self._client.BlockAccept, pb.BlockAcceptRequest(id=block.id), fatal=True)
        if self.strict is not None:
            self.strict.accepted(block)
        self.on_accepted(block)

    def _reject(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            self._blocks.set_decided(block)
            self._fork.reject(block)
            self.engine.call(self._client.BlockReject, pb.BlockRejectRequest(id=block.id), fatal=True)

    def _execute(self, block: Block) -> None:
        """Verify and accept, as bootstrapping does: without preference, and any error is fatal."""
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

    def _after(self, block_id: ID) -> list[Block]:
        """Return the processing descendants of this block, parents first."""
        known = {block_id}
        following = []
        for block in self.processing:
            if block.parent_id in known:
                known.add(block.id)
                following.append(block)
        return following

    def _path_to(self, block: Block) -> list[Block]:
        path = [block]
        while path[0].parent_id != self.last_accepted.id:
            path.insert(0, self._blocks.verified[path[0].parent_id])
        return path

    def _add_parsed(self, method: str, response: pb.ParseBlockResponse, data: bytes) -> Block:
        block = Block.parsed(method, response, data)
        return self._checked(method, lambda: self._blocks.add_parsed(data, block))

    def _checked(self, method: str, add: Callable[[], Block]) -> Block:
        try:
            return add()
        except HostError as error:
            raise InvalidResponse(method, str(error)) from None

    def ask_again(self) -> None:
        """Called when a node would ask the VM for events again."""
