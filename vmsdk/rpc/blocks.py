"""Building, parsing, finding, verifying and deciding blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.block import Block, VerifyWithContext
from vmsdk.errors import InvalidBlock, InvalidInput, NotFound, NothingToBuild, VMError
from vmsdk.ids import ID
from vmsdk.interface import must_derive
from vmsdk.rpc import conversion
from vmsdk.rpc.conversion import InvalidRequest, call, identifier, shown, truth, unusable
from vmsdk.rpc.dispatch import Dispatcher, Handler
from vmsdk.rpc.errors import SENTINELS, described, details, sentinel_number
from vmsdk.rpc.session import Session
from vmsdk.vm import BatchedParseBlock, BuildBlockWithContext, GetAncestors

# What each block adds to a response of GetAncestors besides its own bytes
# (wrappers.IntLen in the node's snow/engine/snowman/block/batched_vm.go).
ANCESTOR_OVERHEAD_BYTES = 4

# vmsdk's readers and verifiers raise InvalidInput. Garbage from a peer is not a fault of the VM.
_INVALID = (InvalidBlock, InvalidInput)

# A property may encode or hash a whole block, so no more than this are read just to check them.
CHECKED_PROPERTIES = 100


class NotVerified(VMError):
    """The node decides a block that is not verified, or already decided. A Go VM has this text."""

    def __init__(self) -> None:
        super().__init__("not found")


class Blocks:
    """Handles the engine's calls that concern blocks."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._vm = session.vm
        self._blocks = session.blocks
        self._events = session.events
        self._with_status = session.protocol.block_status
        self._built: bytes = b""
        """The ID of the block that was built last and not verified yet."""
        self._is_reported = False
        self._other_parent_is_reported = False
        self._checks_left = CHECKED_PROPERTIES

    def handlers(self) -> Iterator[Handler]:
        dispatch = Dispatcher(self._session)
        yield dispatch.engine(VM.BuildBlock, self.build_block, expected=(NothingToBuild,))
        yield dispatch.engine(VM.ParseBlock, self.parse_block, expected=_INVALID)
        yield dispatch.engine(VM.BatchedParseBlock, self.batched_parse_block, expected=_INVALID)
        yield dispatch.engine(VM.GetBlock, self.get_block)
        yield dispatch.engine(VM.GetAncestors, self.get_ancestors)
        yield dispatch.engine(VM.GetBlockIDAtHeight, self.get_block_id_at_height)
        yield dispatch.engine(VM.SetPreference, self.set_preference)
        yield dispatch.engine(VM.BlockVerify, self.verify, expected=_INVALID)
        yield dispatch.engine(VM.BlockAccept, self.accept, expected=(NotVerified,))
        yield dispatch.engine(VM.BlockReject, self.reject, expected=(NotVerified,))

    # Making and finding ---------------------------------------------------------------------------

    def build_block(self, request: vm_pb2.BuildBlockRequest) -> vm_pb2.BuildBlockResponse:
        try:
            if request.HasField("p_chain_height") and isinstance(self._vm, BuildBlockWithContext):
                built: Block = self._vm.build_block_with_context(request.p_chain_height)
            else:
                built = self._vm.build_block()
            block = conversion.block("build_block", built, "NothingToBuild")
            response = vm_pb2.BuildBlockResponse(
                id=conversion.own_id(block),
                parent_id=conversion.parent_id(block),
                bytes=conversion.content(block),
                height=conversion.height(block),
                timestamp=conversion.timestamp(block),
                verify_with_context=_wants_context(block),
            )
            self._check_place(response)
            block_id, _ = self._blocks.remember_parsed(response.bytes, block)
            if block_id != response.id:
                raise _changed(response.id, block)
        except BaseException as error:
            self._events.build_failed()
            if isinstance(error, NothingToBuild):
                self._report_idle()
            raise
        self._built = response.id
        self._events.built(response.id)
        return response

    def _check_place(self, built: vm_pb2.BuildBlockResponse) -> None:
        parent = self._blocks.known(built.parent_id)
        if parent is not None and built.height != parent.height + 1:
            raise VMError(
                f"build_block returned a block of height {built.height} on {ID(built.parent_id)}, whose "
                f"height is {parent.height}: it must be one higher"
            )
        preferred = self._blocks.preferred_id
        # The node accepts such a block, but it competes with the preferred one.
        if preferred and built.parent_id != preferred and not self._other_parent_is_reported:
            self._other_parent_is_reported = True
            self._session.log.warning(
                "build_block returned a block on %s, but the preferred block is %s: build on ctx.preferred",
                ID(built.parent_id),
                ID(preferred),
            )

    def _report_idle(self) -> None:
        """Report that the VM has work but builds nothing, which would otherwise go unnoticed."""
        if self._is_reported or not self._events.has_pending_work():
            return
        tip = self._blocks.preferred
        self._report(
            "has_pending_work returns True but build_block raises NothingToBuild, on block %s at height %d",
            ID(tip.id),
            tip.height,
        )

    def _report(self, text: str, *values: object) -> None:
        """Log that the VM contradicts itself: once, until it has built a valid block."""
        if not self._is_reported:
            self._is_reported = True
            self._session.log.error(text, *values)

    def parse_block(self, request: vm_pb2.ParseBlockRequest) -> vm_pb2.ParseBlockResponse:
        return self._parsed(*self._blocks.resolve(request.bytes))

    def batched_parse_block(
        self, request: vm_pb2.BatchedParseBlockRequest
    ) -> vm_pb2.BatchedParseBlockResponse:
        data = list(request.request)
        if isinstance(self._vm, BatchedParseBlock):
            found = self._parse_all(self._vm, data)
        else:
            found = [self._blocks.resolve(each) for each in data]
        return vm_pb2.BatchedParseBlockResponse(response=[self._parsed(*each) for each in found])

    def _parse_all(self, vm: BatchedParseBlock, data: list[bytes]) -> list[tuple[bytes, Block]]:
        returned: object = vm.batched_parse_block(tuple(data))
        if not isinstance(returned, Iterable):
            raise unusable("batched_parse_block returned", returned, "return a list of blocks")
        blocks = [
            conversion.block("batched_parse_block, for one input,", each, "InvalidBlock") for each in returned
        ]
        if len(blocks) != len(data):
            raise VMError(
                f"batched_parse_block returned {len(blocks)} blocks for {len(data)} inputs: "
                "it must return one for each, in their order"
            )
        inputs = set(data)
        for own, block in zip(data, blocks, strict=True):
            if self._checks(block, "raw") and (raw := conversion.content(block)) != own and raw in inputs:
                raise VMError(
                    f"batched_parse_block returned block {block.id} for another block's bytes: keep the order"
                )
        return [self._blocks.remember_parsed(*each) for each in zip(data, blocks, strict=True)]

    def _parsed(self, block_id: bytes, block: Block) -> vm_pb2.ParseBlockResponse:
        if self._checks(block, "raw"):
            conversion.content(block)  # not sent, but needed when the block is accepted
        response = vm_pb2.ParseBlockResponse(
            id=block_id,
            parent_id=conversion.parent_id(block),
            height=conversion.height(block),
            timestamp=conversion.timestamp(block),
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
            parent_id=conversion.parent_id(block),
            bytes=conversion.content(block),
            height=conversion.height(block),
            timestamp=conversion.timestamp(block),
            verify_with_context=_wants_context(block),
        )
        if self._with_status:
            response.status = self._status(block)
        return response

    def _status(self, block: Block) -> vm_pb2.Status.ValueType:
        """The status of *block*, for nodes of protocol 35."""
        if block.height > self._blocks.last_accepted_height:
            return vm_pb2.STATUS_PROCESSING
        try:
            accepted = self._vm.get_block_id_at_height(block.height)
        except NotFound:
            # Pruned, or from before a state sync: at such a height, nodes request accepted blocks
            # only.
            return vm_pb2.STATUS_ACCEPTED
        return vm_pb2.STATUS_ACCEPTED if accepted == block.id else vm_pb2.STATUS_REJECTED

    def get_block_id_at_height(
        self, request: vm_pb2.GetBlockIDAtHeightRequest
    ) -> vm_pb2.GetBlockIDAtHeightResponse:
        try:
            method = self._vm.get_block_id_at_height
            found = conversion.found("get_block_id_at_height", method, request.height)
        except SENTINELS as error:
            return vm_pb2.GetBlockIDAtHeightResponse(blk_id=ID.EMPTY, err=sentinel_number(error))
        block_id = conversion.block_id("get_block_id_at_height", found)
        return vm_pb2.GetBlockIDAtHeightResponse(blk_id=block_id)

    def get_ancestors(self, request: vm_pb2.GetAncestorsRequest) -> vm_pb2.GetAncestorsResponse:
        block_id = identifier(request.blk_id)
        max_blocks = max(request.max_blocks_num, 1)
        limits = max_blocks, request.max_blocks_size
        time_ns = request.max_blocks_retrival_time
        try:
            if isinstance(self._vm, GetAncestors):
                found = _ancestors(self._vm.get_ancestors(block_id, *limits, time_ns / 1e9))
            else:
                found = self._walk(block_id, *limits, time_ns)
        except NotFound:
            found = []
        return vm_pb2.GetAncestorsResponse(blks_bytes=found)

    def _walk(self, block_id: ID, max_blocks: int, max_size: int, max_time_ns: int) -> list[bytes]:
        """The block, its parent, and so on, by the rules of the node's generic implementation."""
        deadline_ns = time.monotonic_ns() + max_time_ns
        block = self._blocks.get(block_id)
        found = [conversion.content(block)]
        size = len(found[0]) + ANCESTOR_OVERHEAD_BYTES
        while len(found) < max_blocks and time.monotonic_ns() < deadline_ns and block.height > 0:
            try:
                block = self._blocks.get(ID(block.parent_id))
                data = conversion.content(block)
            except NotFound:
                break
            except Exception as error:  # noqa: BLE001 - the blocks found so far are a valid response
                self._session.faults.record("get_block", error, "GetAncestors ends at its child")
                break
            size += len(data) + ANCESTOR_OVERHEAD_BYTES
            if size > max_size:
                break
            found.append(data)
        return found

    # Deciding -------------------------------------------------------------------------------------

    def set_preference(self, request: vm_pb2.SetPreferenceRequest) -> Empty:
        block_id = identifier(request.id)
        self._blocks.preferred_id = block_id
        call("set_preference", self._vm.set_preference, block_id)
        self._events.changed()
        return Empty()

    def verify(self, request: vm_pb2.BlockVerifyRequest) -> vm_pb2.BlockVerifyResponse:
        block_id, block = self._blocks.resolve(request.bytes)
        is_own = block_id == self._built
        try:
            _verify(block, request)
            self._check_id(block_id, block)
            response = vm_pb2.BlockVerifyResponse(timestamp=conversion.timestamp(block))
        except BaseException as error:
            self._blocks.refused(block_id)
            self._events.verified(block_id, valid=False)
            if is_own:
                text = "build_block made block %s at height %s, which its own verify refuses: %s"
                self._report(text, ID(block_id), block.height, details(error))
            raise
        self._blocks.remember_verified(block_id, block)
        self._events.verified(block_id, valid=True)
        if is_own:
            self._is_reported = False
        return response

    def accept(self, request: vm_pb2.BlockAcceptRequest) -> Empty:
        block_id, block = self._undecided(request.id, "accept")
        call(f"{type(block).__name__}.accept", block.accept)
        self._blocks.accepted(block_id, block)
        if self._session.checks_storage:
            self._session.checks_storage = False
            self._check_storage(block_id, block)
        self._events.changed()
        return Empty()

    def _check_storage(self, block_id: ID, block: Block) -> None:
        """Log which data of the first accepted block the VM doesn't find again."""
        vm = self._vm
        try:
            height, raw = block.height, block.raw
        except Exception as error:  # noqa: BLE001 - the author's code; the block is accepted all the same
            text = "block %s is accepted, but its height or its bytes can no longer be read: %s"
            self._session.log.error(text, block_id, described(error))
            return
        looks: tuple[tuple[str, Callable[[], object], object], ...] = (
            ("last_accepted()", vm.last_accepted, block_id),
            (f"get_block_id_at_height({height})", lambda: vm.get_block_id_at_height(height), block_id),
            (f"get_block({block_id}).raw", lambda: vm.get_block(block_id).raw, raw),
        )
        for text, look, expected in looks:
            try:
                result: object = look()
                result = None if result == expected else shown(result)
            except Exception as error:  # noqa: BLE001 - the author's code; the block is accepted all the same
                result = f"an exception, {described(error)}"
            if result is not None:
                self._session.log.error(
                    "block %s at height %d is accepted, but %s gives %s: store the block, its ID by height, "
                    "and that it is the last one, in one batch that `accept` writes",
                    *(block_id, height, text, result),
                )

    def reject(self, request: vm_pb2.BlockRejectRequest) -> Empty:
        block_id, block = self._undecided(request.id, "reject")
        call(f"{type(block).__name__}.reject", block.reject)
        self._blocks.forget(block_id)
        self._events.changed()
        return Empty()

    def _undecided(self, raw_id: bytes, verb: str) -> tuple[ID, Block]:
        block_id = identifier(raw_id)
        block = self._blocks.verified(block_id)
        if block is None:
            self._session.log.error(
                "the node asked to %s block %s, which is not verified or is already decided", verb, block_id
            )
            raise NotVerified
        self._check_id(block_id, block)
        return block_id, block

    def _check_id(self, block_id: bytes, block: Block) -> None:
        """Raise `VMError` if the ID of *block* has changed from *block_id*."""
        if self._checks(block, "id") and conversion.own_id(block) != block_id:
            raise _changed(block_id, block)

    def _checks(self, block: Block, name: str) -> bool:
        """Whether to check an attribute again: always if it isn't a property."""
        if isinstance(getattr(type(block), name, None), property):
            if not self._checks_left:
                return False
            self._checks_left -= 1
        return True


def _changed(block_id: bytes, block: Block) -> VMError:
    return VMError(
        f"{type(block).__name__}.id was {ID(block_id)} and is {block.id} now: a block's ID must not "
        "change. Compute it from the bytes, don't change blocks, and make an object for each"
    )


def _ancestors(returned: object) -> list[Any]:
    found = list(returned) if isinstance(returned, Iterable) else [None]
    if not all(isinstance(each, bytes) for each in found):
        raise unusable("get_ancestors returned", returned, "return a list of the blocks' bytes")
    return found


def _wants_context(block: Block) -> bool:
    if not isinstance(block, VerifyWithContext):
        must_derive(type(block), VerifyWithContext)
        return False
    return truth(f"{type(block).__name__}.should_verify_with_context", block.should_verify_with_context)


def _verify(block: Block, request: vm_pb2.BlockVerifyRequest) -> None:
    kind = type(block).__name__
    if not request.HasField("p_chain_height"):
        call(f"{kind}.verify", block.verify)
    elif isinstance(block, VerifyWithContext):
        call(f"{kind}.verify_with_context", block.verify_with_context, request.p_chain_height)
    else:
        raise InvalidRequest(
            f"expected block.WithVerifyContext but got {kind}: "
            "a block that takes a P-chain height implements vmsdk.VerifyWithContext"
        )
