"""Building, parsing, finding, verifying and deciding blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.block import Block, VerifyWithContext
from vmsdk.errors import InvalidBlock, NotFound, NothingToBuild, VMError
from vmsdk.ids import ID
from vmsdk.rpc import answers, returned
from vmsdk.rpc.dispatch import Dispatcher, Handler, InvalidRequest
from vmsdk.rpc.errors import SENTINELS, sentinel_number
from vmsdk.rpc.requests import identifier
from vmsdk.rpc.session import Session
from vmsdk.vm import BatchedParseBlock, BuildBlockWithContext, GetAncestors

# What each block adds to an answer of GetAncestors besides its own bytes
# (wrappers.IntLen in the node's snow/engine/snowman/block/batched_vm.go).
ANCESTOR_OVERHEAD_BYTES = 4


class ContextUnsupported(InvalidRequest):
    """A block is to be verified at a P-chain height and can't be. The text begins as a Go VM's."""

    def __init__(self, block: Block) -> None:
        super().__init__(
            f"expected block.WithVerifyContext but got {type(block).__name__}: "
            "a block that takes a P-chain height implements vmsdk.VerifyWithContext"
        )


class NotVerified(VMError):
    """The node decides a block that is not verified, or already decided. The text is a Go VM's."""

    def __init__(self, block_id: ID) -> None:
        self.block_id = block_id
        super().__init__("not found")


class Blocks:
    """Everything the engine asks about blocks."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._vm = session.vm
        self._blocks = session.blocks
        self._events = session.events
        self._with_status = session.protocol.block_status

    def handlers(self) -> Iterator[Handler]:
        dispatch = Dispatcher(self._session)
        yield dispatch.engine(VM.BuildBlock, self.build_block, answers=(NothingToBuild,))
        yield dispatch.engine(VM.ParseBlock, self.parse_block, answers=(InvalidBlock,))
        yield dispatch.engine(VM.BatchedParseBlock, self.batched_parse_block, answers=(InvalidBlock,))
        yield dispatch.engine(VM.GetBlock, self.get_block)
        yield dispatch.engine(VM.GetAncestors, self.get_ancestors)
        yield dispatch.engine(VM.GetBlockIDAtHeight, self.get_block_id_at_height)
        yield dispatch.engine(VM.SetPreference, self.set_preference)
        yield dispatch.engine(VM.BlockVerify, self.verify, answers=(InvalidBlock,))
        yield dispatch.engine(VM.BlockAccept, self.accept, answers=(NotVerified,))
        yield dispatch.engine(VM.BlockReject, self.reject, answers=(NotVerified,))

    # Making and finding ----------------------------------------------------------------------------

    def build_block(self, request: vm_pb2.BuildBlockRequest) -> vm_pb2.BuildBlockResponse:
        try:
            if request.HasField("p_chain_height") and isinstance(self._vm, BuildBlockWithContext):
                built: Block = self._vm.build_block_with_context(request.p_chain_height)
            else:
                built = self._vm.build_block()
            block = returned.block("build_block", built, "NothingToBuild")
            response = vm_pb2.BuildBlockResponse(
                id=answers.own_id(block),
                parent_id=answers.parent_id(block),
                bytes=answers.content(block),
                height=answers.height(block),
                timestamp=answers.timestamp(block.timestamp),
                verify_with_context=_wants_context(block),
            )
        except BaseException:
            self._events.build_failed()
            raise
        self._blocks.remember_parsed(response.bytes, block)
        self._events.built(response.id)
        return response

    def parse_block(self, request: vm_pb2.ParseBlockRequest) -> vm_pb2.ParseBlockResponse:
        return self._parsed(self._blocks.parse(request.bytes))

    def batched_parse_block(
        self, request: vm_pb2.BatchedParseBlockRequest
    ) -> vm_pb2.BatchedParseBlockResponse:
        data = list(request.request)
        if isinstance(self._vm, BatchedParseBlock):
            blocks = self._parse_all(self._vm, data)
        else:
            blocks = [self._blocks.parse(each) for each in data]
        return vm_pb2.BatchedParseBlockResponse(response=[self._parsed(block) for block in blocks])

    def _parse_all(self, vm: BatchedParseBlock, data: list[bytes]) -> list[Block]:
        blocks = [
            returned.block("batched_parse_block, for one input,", each, "InvalidBlock")
            for each in vm.batched_parse_block(tuple(data))
        ]
        if len(blocks) != len(data):
            raise VMError(
                f"batched_parse_block returned {len(blocks)} blocks for {len(data)} inputs: "
                "it must return one for each, in their order"
            )
        for each, block in zip(data, blocks, strict=True):
            self._blocks.remember_parsed(each, block)
        return blocks

    def _parsed(self, block: Block) -> vm_pb2.ParseBlockResponse:
        response = vm_pb2.ParseBlockResponse(
            id=answers.own_id(block),
            parent_id=answers.parent_id(block),
            height=answers.height(block),
            timestamp=answers.timestamp(block.timestamp),
            verify_with_context=_wants_context(block),
        )
        if self._with_status:
            response.status = self._status(block)
        return response

    def get_block(self, request: vm_pb2.GetBlockRequest) -> vm_pb2.GetBlockResponse:
        block_id = identifier(request.id)
        try:
            block = self._blocks.get(block_id)
        except SENTINELS as error:
            return vm_pb2.GetBlockResponse(err=sentinel_number(error))
        response = vm_pb2.GetBlockResponse(
            parent_id=answers.parent_id(block),
            bytes=answers.content(block),
            height=answers.height(block),
            timestamp=answers.timestamp(block.timestamp),
            verify_with_context=_wants_context(block),
        )
        if self._with_status:
            response.status = self._status(block)
        return response

    def _status(self, block: Block) -> vm_pb2.Status.ValueType:
        """What has become of *block*, which nodes of protocol 35 want to be told."""
        if block.height > self._blocks.last_accepted_height:
            return vm_pb2.STATUS_PROCESSING
        try:
            accepted = self._vm.get_block_id_at_height(block.height)
        except NotFound:
            # Pruned, or from before a state sync: at this height only accepted blocks are asked for.
            return vm_pb2.STATUS_ACCEPTED
        return vm_pb2.STATUS_ACCEPTED if accepted == block.id else vm_pb2.STATUS_REJECTED

    def get_block_id_at_height(
        self, request: vm_pb2.GetBlockIDAtHeightRequest
    ) -> vm_pb2.GetBlockIDAtHeightResponse:
        try:
            found = self._vm.get_block_id_at_height(request.height)
        except SENTINELS as error:
            return vm_pb2.GetBlockIDAtHeightResponse(blk_id=ID.EMPTY, err=sentinel_number(error))
        block_id = returned.block_id("get_block_id_at_height", found, "NotFound")
        return vm_pb2.GetBlockIDAtHeightResponse(blk_id=block_id)

    def get_ancestors(self, request: vm_pb2.GetAncestorsRequest) -> vm_pb2.GetAncestorsResponse:
        block_id = identifier(request.blk_id)
        max_blocks = max(request.max_blocks_num, 1)
        limits = max_blocks, request.max_blocks_size
        time_ns = request.max_blocks_retrival_time
        try:
            if isinstance(self._vm, GetAncestors):
                found = self._vm.get_ancestors(block_id, *limits, time_ns / 1e9)
            else:
                found = self._walk(block_id, *limits, time_ns)
        except NotFound:
            found = ()
        return vm_pb2.GetAncestorsResponse(blks_bytes=found)

    def _walk(self, block_id: ID, max_blocks: int, max_size: int, max_time_ns: int) -> list[bytes]:
        """The block, its parent, and so on, by the rules of the node's generic implementation."""
        deadline_ns = time.monotonic_ns() + max_time_ns
        block = self._blocks.get(block_id)
        found = [answers.content(block)]
        size = len(found[0]) + ANCESTOR_OVERHEAD_BYTES
        while len(found) < max_blocks and time.monotonic_ns() < deadline_ns and block.height > 0:
            try:
                block = self._blocks.get(ID(block.parent_id))
                data = answers.content(block)
            except NotFound:
                break
            except Exception as error:  # noqa: BLE001 - what was found so far is still a good answer
                self._session.faults.record("get_block", error, "GetAncestors ends at its child")
                break
            size += len(data) + ANCESTOR_OVERHEAD_BYTES
            if size > max_size:
                break
            found.append(data)
        return found

    # Deciding --------------------------------------------------------------------------------------

    def set_preference(self, request: vm_pb2.SetPreferenceRequest) -> Empty:
        self._vm.set_preference(identifier(request.id))
        self._events.changed()
        return Empty()

    def verify(self, request: vm_pb2.BlockVerifyRequest) -> vm_pb2.BlockVerifyResponse:
        block = self._blocks.parse(request.bytes)
        block_id = answers.own_id(block)
        # The object that was verified before, if any: the author keeps results in it.
        known = self._blocks.verified(block_id)
        if known is not None:
            block = known
        try:
            _verify(block, request)
            response = vm_pb2.BlockVerifyResponse(timestamp=answers.timestamp(block.timestamp))
        except BaseException:
            self._events.verified(block_id, valid=False)
            raise
        self._blocks.remember_verified(block_id, block)
        self._events.verified(block_id, valid=True)
        return response

    def accept(self, request: vm_pb2.BlockAcceptRequest) -> Empty:
        self._decide(request.id, Block.accept.__name__, lambda block: block.accept(), self._blocks.accepted)
        return Empty()

    def reject(self, request: vm_pb2.BlockRejectRequest) -> Empty:
        self._decide(request.id, Block.reject.__name__, lambda block: block.reject(), self._blocks.rejected)
        return Empty()

    def _decide(
        self, raw_id: bytes, verb: str, decide: Callable[[Block], None], then: Callable[[bytes, Block], None]
    ) -> None:
        block_id = identifier(raw_id)
        block = self._blocks.verified(block_id)
        if block is None:
            self._session.log.error(
                "the node wants to %s block %s, which is not verified or already decided", verb, block_id
            )
            raise NotVerified(block_id)
        decide(block)
        then(block_id, block)
        self._events.changed()


def _wants_context(block: Block) -> bool:
    return isinstance(block, VerifyWithContext) and bool(block.should_verify_with_context)


def _verify(block: Block, request: vm_pb2.BlockVerifyRequest) -> None:
    if not request.HasField("p_chain_height"):
        block.verify()
    elif isinstance(block, VerifyWithContext):
        block.verify_with_context(request.p_chain_height)
    else:
        raise ContextUnsupported(block)
