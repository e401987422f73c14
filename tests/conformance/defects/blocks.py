"""Defects in parsing, building, verifying and deciding blocks."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from tests.conformance.goodvm import HEADER, Block, GoodVM
from vmsdk._pb.http import http_pb2
from vmsdk._pb.vm import vm_pb2 as pb


class GenesisFromClock(GoodVM):
    """The genesis block contains the time at which the node first started."""

    found_by = "blocks.genesis-is-the-same-on-every-node"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        request.genesis_bytes += time.time_ns().to_bytes(8, "big")
        return super().Initialize(request)


class WrongGenesisParent(GoodVM):
    """Initialize reports a parent that is not the parent in the genesis bytes."""

    found_by = "blocks.last-accepted-block-is-consistent"

    def last_accepted_fields(self) -> dict[str, Any]:
        return {**super().last_accepted_fields(), "last_accepted_parent_id": bytes([1] * 32)}


class GenesisIsNotStored(GoodVM):
    """GetBlock does not find the genesis block."""

    found_by = "blocks.last-accepted-block-is-consistent"

    def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
        response = super().GetBlock(request)
        return response if response.height else pb.GetBlockResponse(err=pb.ERROR_NOT_FOUND)


class NotFoundAsError(GoodVM):
    """GetBlock fails with an error for an unknown block."""

    found_by = "blocks.unknown-block-is-not-found"

    def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
        response = super().GetBlock(request)
        if response.err:
            raise ValueError("not found")
        return response


class NotFoundAsEmptyBlock(GoodVM):
    """GetBlock returns no error and no bytes for an unknown block."""

    found_by = "blocks.unknown-block-is-not-found"

    def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
        response = super().GetBlock(request)
        response.err = pb.ERROR_UNSPECIFIED
        return response


class NotFoundAsClosed(GoodVM):
    """GetBlock returns the wrong enum for an unknown block."""

    found_by = "blocks.unknown-block-is-not-found"

    def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
        response = super().GetBlock(request)
        response.err = pb.ERROR_CLOSED if response.err else pb.ERROR_UNSPECIFIED
        return response


class UnstableIDs(GoodVM):
    """Each ParseBlock gives the block another ID."""

    found_by = "blocks.parse-is-pure"

    def parsed(self, data: bytes) -> pb.ParseBlockResponse:
        response = super().parsed(data)
        response.id = os.urandom(32)
        return response


class ParseWrites(GoodVM):
    """ParseBlock stores what it has parsed."""

    found_by = "blocks.parse-is-pure"

    def ParseBlock(self, request: pb.ParseBlockRequest) -> pb.ParseBlockResponse:
        self.write({b"parsed" + self.parse(request.bytes).id: request.bytes})
        return super().ParseBlock(request)


class IDsOfAnotherHash(GoodVM):
    """BuildBlock hashes the block in another way than ParseBlock."""

    found_by = "blocks.built-block-parses-back"

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        response = super().BuildBlock(request)
        response.id = hashlib.sha3_256(response.bytes).digest()
        return response


class TimeIsRounded(GoodVM):
    """BuildBlock returns nanoseconds that are not in the block's bytes."""

    found_by = "blocks.built-block-parses-back"

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        response = super().BuildBlock(request)
        response.timestamp.nanos = 1
        return response


class NeedsContextIfBuilt(GoodVM):
    """Only the node that built a block verifies it with a P-chain height."""

    found_by = "blocks.built-block-parses-back"

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        response = super().BuildBlock(request)
        response.verify_with_context = True
        return response


class VerifiedBlockIsNotFound(GoodVM):
    """GetBlock looks only into the database."""

    found_by = "blocks.verified-and-accepted-blocks-are-found"

    def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
        if request.id in self.undecided:
            return pb.GetBlockResponse(err=pb.ERROR_NOT_FOUND)
        return super().GetBlock(request)


class CutsStoredBlocks(GoodVM):
    """GetBlock returns all but the last byte of an accepted block."""

    found_by = "blocks.verified-and-accepted-blocks-are-found"

    def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
        response = super().GetBlock(request)
        if response.height and request.id not in self.undecided:
            response.bytes = response.bytes[:-1]
        return response


class LenientParse(GoodVM):
    """Whatever follows a block is ignored."""

    found_by = "blocks.other-bytes-are-another-block"

    def parse(self, data: bytes) -> Block:
        if data[:8] != bytes(8) and len(data) > HEADER.size:
            data = data[: len(data) - len(data) % 8]
        return super().parse(data)


class HashesOnlyTheHeader(GoodVM):
    """Two blocks that differ in their transactions have one ID."""

    found_by = "blocks.other-bytes-are-another-block"

    def parsed(self, data: bytes) -> pb.ParseBlockResponse:
        response = super().parsed(data)
        response.id = hashlib.sha256(data[: HEADER.size]).digest()
        return response

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        response = super().BuildBlock(request)
        response.id = hashlib.sha256(response.bytes[: HEADER.size]).digest()
        return response


class DiesOfGarbage(GoodVM):
    """A peer's bytes end the process: it reserves the length that they begin with."""

    found_by = "blocks.garbage-is-refused"

    def parse(self, data: bytes) -> Block:
        if int.from_bytes(data[2:6], "big") == 2**31 - 1:
            os._exit(1)
        return super().parse(data)


class EmptyBytesAreGenesis(GoodVM):
    """ParseBlock returns the genesis block for no bytes."""

    found_by = "blocks.garbage-is-refused"

    def parse(self, data: bytes) -> Block:
        return super().parse(data or self.genesis)


class PadsShortIDs(GoodVM):
    """An ID of any length is padded or cut to 32 bytes."""

    found_by = "blocks.malformed-ids-are-refused"

    @staticmethod
    def check_id(value: bytes) -> bytes:
        return value[:32].ljust(32, b"\0")

    def find(self, block_id: bytes) -> Block | None:
        return super().find(block_id) or self.tip()


class DecidesUnknownBlocks(GoodVM):
    """BlockAccept and BlockReject of an unknown block succeed."""

    found_by = "blocks.unknown-blocks-are-not-decided"

    def BlockAccept(self, request: pb.BlockAcceptRequest) -> Empty:
        return super().BlockAccept(request) if request.id in self.undecided else Empty()


class BatchIsSorted(GoodVM):
    """BatchedParseBlock returns the blocks by height."""

    found_by = "blocks.batch-keeps-the-order"

    def BatchedParseBlock(self, request: pb.BatchedParseBlockRequest) -> pb.BatchedParseBlockResponse:
        response = super().BatchedParseBlock(request)
        return pb.BatchedParseBlockResponse(response=sorted(response.response, key=lambda one: one.height))


class BatchSkipsBrokenItems(GoodVM):
    """BatchedParseBlock leaves out what does not parse."""

    found_by = "blocks.batch-keeps-the-order"

    def BatchedParseBlock(self, request: pb.BatchedParseBlockRequest) -> pb.BatchedParseBlockResponse:
        response = pb.BatchedParseBlockResponse()
        for data in request.request:
            try:
                response.response.append(self.parsed(data))
            except ValueError:
                continue
        return response


class BuildsOnTheNewestBlock(GoodVM):
    """BuildBlock builds on the block verified last, not on the preferred one."""

    found_by = "blocks.build-follows-the-preference"

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        self.preferred = next(reversed(self.undecided), self.preferred)
        return super().BuildBlock(request)


class VerifyWithoutTimestamp(GoodVM):
    """BlockVerify returns no timestamp."""

    found_by = "blocks.verify-returns-the-timestamp"

    def BlockVerify(self, request: pb.BlockVerifyRequest) -> pb.BlockVerifyResponse:
        super().BlockVerify(request)
        return pb.BlockVerifyResponse()


class VerifyReturnsItsClock(GoodVM):
    """BlockVerify returns the time of the verification."""

    found_by = "blocks.verify-returns-the-timestamp"

    def BlockVerify(self, request: pb.BlockVerifyRequest) -> pb.BlockVerifyResponse:
        super().BlockVerify(request)
        now = Timestamp()
        now.GetCurrentTime()
        return pb.BlockVerifyResponse(timestamp=now)


class RemembersInvalidBlocks(GoodVM):
    """A block that failed verification once is invalid forever."""

    found_by = "blocks.failed-verification-can-be-retried"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.invalid: set[bytes] = set()

    def verify(self, block: Block) -> None:
        if block.id in self.invalid:
            raise ValueError("known to be invalid")
        try:
            super().verify(block)
        except ValueError:
            self.invalid.add(block.id)
            raise


class RefusesASecondVerification(GoodVM):
    """BlockVerify of a verified block fails."""

    found_by = "blocks.block-can-be-verified-twice"

    def BlockVerify(self, request: pb.BlockVerifyRequest) -> pb.BlockVerifyResponse:
        if self.parse(request.bytes).id in self.undecided:
            raise ValueError("verified already")
        return super().BlockVerify(request)


class RefusesTheSamePreference(GoodVM):
    """SetPreference of the preferred block fails."""

    found_by = "blocks.preference-can-be-repeated"

    def SetPreference(self, request: pb.SetPreferenceRequest) -> Empty:
        if request.id == self.preferred and request.id in self.undecided:
            raise ValueError("preferred already")
        return super().SetPreference(request)


class DiesWithoutWork(GoodVM):
    """BuildBlock without work ends the process."""

    found_by = "blocks.failed-build-is-harmless"

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        if not self.pending:
            os._exit(1)
        return super().BuildBlock(request)


class AcceptsOnlyItsOwnBlocks(GoodVM):
    """Only blocks that this process built pass verification."""

    found_by = "blocks.peers-accept-each-others-blocks"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.built: set[bytes] = set()

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        response = super().BuildBlock(request)
        self.built.add(response.id)
        return response

    def verify(self, block: Block) -> None:
        if self.state == pb.STATE_NORMAL_OP and block.id not in self.built:
            raise ValueError("unknown transactions")
        super().verify(block)


class RefusesBlocksWhileBootstrapping(GoodVM):
    """Verification needs normal operation."""

    found_by = "blocks.peers-accept-each-others-blocks"

    def verify(self, block: Block) -> None:
        if self.state != pb.STATE_NORMAL_OP:
            raise ValueError("not in normal operation")
        super().verify(block)


class IDsOfTheProcess(GoodVM):
    """The ID depends on the hash seed of the process."""

    found_by = "blocks.peers-accept-each-others-blocks"

    def parsed(self, data: bytes) -> pb.ParseBlockResponse:
        response = super().parsed(data)
        response.id = hash(response.id).to_bytes(32, "big", signed=True)
        return response

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        response = super().BuildBlock(request)
        response.id = hash(response.id).to_bytes(32, "big", signed=True)
        return response


class FirstVerifiedWins(GoodVM):
    """Of two siblings only the one verified first can be accepted."""

    found_by = "blocks.siblings-are-decided-in-both-orders"

    def accept(self, block: Block) -> None:
        for other in self.undecided.values():
            if other.parent_id == block.parent_id and other.seconds <= block.seconds:
                raise ValueError("a conflicting block was verified first")
        super().accept(block)


class RejectsBySelf(GoodVM):
    """BlockReject of a block drops its descendants, so that rejecting those fails."""

    found_by = "blocks.forks-of-five-blocks-are-decided"

    def reject(self, block: Block) -> None:
        for other in list(self.undecided.values()):
            if other.parent_id == block.id:
                del self.undecided[other.id]


class HoldsThreeUndecidedBlocks(GoodVM):
    """With many blocks undecided the oldest is forgotten."""

    found_by = "blocks.forks-of-five-blocks-are-decided"

    def verify(self, block: Block) -> None:
        super().verify(block)
        if len(self.undecided) > 3:
            del self.undecided[next(iter(self.undecided))]


class StatusIsAlwaysProcessing(GoodVM):
    """Protocol 35: accepted blocks are reported as processing."""

    found_by = "blocks.status-is-reported"
    at_protocol = 35

    def status(self, block: Block) -> pb.Status.ValueType:
        return pb.STATUS_PROCESSING


class GenesisFromClockInSeconds(GoodVM):
    """The genesis block contains the second at which the node first started."""

    found_by = "blocks.genesis-is-the-same-on-every-node"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        request.genesis_bytes += str(int(time.time())).encode()
        return super().Initialize(request)


class GenesisInLocalTime(GoodVM):
    """The genesis block contains the node's time zone."""

    found_by = "blocks.genesis-is-the-same-on-every-node"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        request.genesis_bytes += time.strftime("%H:%M", time.localtime(0)).encode()
        return super().Initialize(request)


class LocalTime(GoodVM):
    """The ID depends on the node's time zone."""

    found_by = "blocks.peers-accept-each-others-blocks"

    def parsed(self, data: bytes) -> pb.ParseBlockResponse:
        response = super().parsed(data)
        if response.height:
            response.id = hashlib.sha256(data + time.ctime(response.timestamp.seconds).encode()).digest()
        return response


class AnyHeight(GoodVM):
    """BlockVerify does not look at the height."""

    found_by = "blocks.wrong-heights-and-parents-are-invalid"

    def verify(self, block: Block) -> None:
        if self.find(block.parent_id) is None:
            raise ValueError("unknown parent")
        self.undecided[block.id] = block


class AnyParent(GoodVM):
    """BlockVerify takes a block whose parent it does not know for a child of the tip."""

    found_by = "blocks.wrong-heights-and-parents-are-invalid"

    def verify(self, block: Block) -> None:
        if block.height != self.tip().height + 1:
            raise ValueError("wrong height")
        self.undecided[block.id] = block


class LimitedBatch(GoodVM):
    """BatchedParseBlock returns 256 blocks at most."""

    found_by = "blocks.batch-keeps-the-order"

    def BatchedParseBlock(self, request: pb.BatchedParseBlockRequest) -> pb.BatchedParseBlockResponse:
        return super().BatchedParseBlock(pb.BatchedParseBlockRequest(request=request.request[:256]))


class ZeroIDIsGenesis(GoodVM):
    """The parent of genesis is found: genesis itself."""

    found_by = "blocks.unknown-block-is-not-found"

    def find(self, block_id: bytes) -> Block | None:
        return self.parse(self.genesis) if block_id == bytes(32) else super().find(block_id)


class BuildsTheTipAgain(GoodVM):
    """Without work BuildBlock returns the last accepted block."""

    found_by = "blocks.failed-build-is-harmless"

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        if self.new_transactions():
            return super().BuildBlock(request)
        fields = self.last_accepted_fields()
        return pb.BuildBlockResponse(
            id=fields["last_accepted_id"],
            parent_id=fields["last_accepted_parent_id"],
            **{name: fields[name] for name in ("height", "timestamp", "bytes")},
        )


class BuildsNothing(GoodVM):
    """Without work BuildBlock succeeds with an empty response."""

    found_by = "blocks.failed-build-is-harmless"

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        return super().BuildBlock(request) if self.new_transactions() else pb.BuildBlockResponse()


class DiesOfAnUnknownPreference(GoodVM):
    """SetPreference of a block that it does not know ends the process."""

    found_by = "blocks.unknown-preference-is-harmless"

    def SetPreference(self, request: pb.SetPreferenceRequest) -> Empty:
        if self.find(request.id) is None:
            os._exit(1)
        return super().SetPreference(request)


class BlocksFromTheFuture(GoodVM):
    """BlockVerify does not compare a block's time with the clock."""

    found_by = "blocks.wrong-times-are-invalid"

    def verify(self, block: Block) -> None:
        self.undecided[block.id] = block


class BlocksFromBeyondTheYear9999(BlocksFromTheFuture):
    """Nor does ParseBlock limit the time to what a datetime can hold."""

    found_by = "blocks.wrong-times-are-invalid"

    def parse(self, data: bytes) -> Block:
        height, seconds, parent_id = HEADER.unpack_from(data)
        if seconds >= 2**63:
            raise ValueError("invalid")
        return Block(data, height, seconds, parent_id, data[HEADER.size :])


class BlocksFromThePast(GoodVM):
    """BlockVerify does not compare a block's time with its parent's."""

    found_by = "blocks.wrong-times-are-invalid"

    def verify(self, block: Block) -> None:
        parent = self.find(block.parent_id)
        if parent is None or block.height != parent.height + 1 or block.seconds > time.time() + 10:
            raise ValueError("invalid")
        self.undecided[block.id] = block


class AcceptsTwice(GoodVM):
    """BlockAccept finds accepted blocks as well, and counts each time."""

    found_by = "blocks.accepted-block-is-not-accepted-again"

    def take(self, block_id: bytes) -> Block:
        block = self.find(block_id)
        assert block is not None
        self.undecided.pop(block_id, None)
        return block

    def writes(self, block: Block) -> dict[bytes, bytes]:
        count = int.from_bytes(self.get(b"count") or b"", "big") + 1
        return {**super().writes(block), b"count": count.to_bytes(8, "big")}


class PrunesLater(GoodVM):
    """No defect: it prunes in the background, which delays a second BlockAccept."""

    def BlockAccept(self, request: pb.BlockAcceptRequest) -> Empty:
        if request.id == self.last_accepted:
            self.pruning.join()
        response = super().BlockAccept(request)
        self.pruning: threading.Timer = threading.Timer(0.1, self.write, [{b"pruned": request.id}])
        self.pruning.start()
        return response


class RejectedBlocksDoNotParse(GoodVM):
    """ParseBlock refuses what was rejected before."""

    found_by = "blocks.siblings-are-decided-in-both-orders"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.rejected: set[bytes] = set()

    def reject(self, block: Block) -> None:
        self.rejected.add(block.raw)

    def ParseBlock(self, request: pb.ParseBlockRequest) -> pb.ParseBlockResponse:
        if request.bytes in self.rejected:
            raise ValueError("this block was rejected")
        return super().ParseBlock(request)


class HoldsUndecidedTransactions(GoodVM):
    """What an undecided block contains is not built, even if the block is never decided."""

    found_by = "blocks.blocks-may-stay-undecided"

    def new_transactions(self) -> list[bytes]:
        undecided = list(self.undecided.values())  # WaitForEvent runs beside other calls.
        held = {each for block in undecided for each in block.transactions}
        return [transaction for transaction in super().new_transactions() if transaction not in held]


class TimeRunsAhead(GoodVM):
    """A block is 5 s later than its parent, whatever the clock says."""

    found_by = "blocks.built-blocks-stay-near-the-clock"

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        response = super().BuildBlock(request)
        parent = self.find(response.parent_id)
        if parent is None or not parent.height:
            return response
        header = HEADER.pack(response.height, parent.seconds + 5, response.parent_id)
        return self.response_of(self.parse(header + response.bytes[HEADER.size :]))


class RejectedBlockIsAnError(GoodVM):
    """GetBlock fails for a block that was rejected."""

    found_by = "blocks.rejected-block-is-no-error"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.rejected: set[bytes] = set()

    def reject(self, block: Block) -> None:
        self.rejected.add(block.id)

    def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
        if request.id in self.rejected:
            raise ValueError("rejected")
        return super().GetBlock(request)


class RejectedBlockIsEmpty(RejectedBlockIsAnError):
    """GetBlock returns a rejected block without its bytes."""

    found_by = "blocks.rejected-block-is-no-error"

    def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
        if request.id in self.rejected:
            return pb.GetBlockResponse(height=1)
        return super().GetBlock(request)


class OnlyOnThePreferredBlock(GoodVM):
    """BlockVerify refuses a block whose parent is not the preferred block."""

    found_by = "blocks.verification-ignores-the-preference"

    def verify(self, block: Block) -> None:
        if block.parent_id != self.preferred:
            raise ValueError("not on the preferred block")
        super().verify(block)


class OneBlockAtATime(GoodVM):
    """No defect: it builds no block while another is undecided."""

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        if self.undecided:
            raise ValueError("a block is being decided")
        return super().BuildBlock(request)


class BlocksOf1900KiB(GoodVM):
    """No defect: a block ends with 1,900 KiB of zeros."""

    padding = bytes(1900 * 1024)

    def parse(self, data: bytes) -> Block:
        if not int.from_bytes(data[:8], "big"):
            return super().parse(data)
        if not data.endswith(self.padding):
            raise ValueError("no padding")
        short = super().parse(data[: -len(self.padding)])
        return Block(data, short.height, short.seconds, short.parent_id, short.body)

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        transactions = self.new_transactions()
        parent = self.find(self.preferred)
        if not transactions or parent is None:
            raise ValueError("nothing to build")
        header = HEADER.pack(parent.height + 1, max(parent.seconds, int(time.time())), parent.id)
        return self.response_of(self.parse(header + b"".join(transactions) + self.padding))


class ParseMovesThePreference(GoodVM):
    """A block that is parsed is preferred if it follows the preferred one."""

    found_by = "blocks.reading-changes-no-build"

    def parsed(self, data: bytes) -> pb.ParseBlockResponse:
        response = super().parsed(data)
        if response.parent_id == self.preferred:
            self.undecided[response.id] = self.parse(data)
            self.preferred = response.id
        return response


class GetMovesThePreference(GoodVM):
    """GetBlock of an undecided block prefers it."""

    found_by = "blocks.reading-changes-no-build"

    def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
        if request.id in self.undecided:
            self.preferred = request.id
        return super().GetBlock(request)


class ParseTakesThePendingWork(GoodVM):
    """What a parsed block contains counts as done, although the block may never be accepted."""

    found_by = "blocks.reading-changes-no-build"

    def parsed(self, data: bytes) -> pb.ParseBlockResponse:
        done = self.parse(data).transactions
        with self.wake:
            self.pending = [transaction for transaction in self.pending if transaction not in done]
        return super().parsed(data)


class PreferenceOnlyRises(GoodVM):
    """SetPreference of a lower block than the preferred one is ignored."""

    found_by = "blocks.build-follows-the-preference"

    def SetPreference(self, request: pb.SetPreferenceRequest) -> Empty:
        new, old = self.find(request.id), self.find(self.preferred)
        if new is not None and old is not None and new.height < old.height:
            return Empty()
        return super().SetPreference(request)


class KeepsWhatItHasBuilt(GoodVM):
    """BuildBlock returns the same block until it is accepted, whatever is preferred meanwhile."""

    found_by = "blocks.undecided-work-is-not-built-again"
    built: pb.BuildBlockResponse | None = None

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        self.built = self.built or super().BuildBlock(request)
        return self.built

    def accept(self, block: Block) -> None:
        super().accept(block)
        if self.built is not None and self.built.id == block.id:
            self.built = None


class BuildsByItsClockAlone(GoodVM):
    """A block has the clock's time, even if its parent is later."""

    found_by = "blocks.blocks-follow-one-that-is-ahead"

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        response = super().BuildBlock(request)
        header = HEADER.pack(response.height, int(time.time()), response.parent_id)
        return self.response_of(self.parse(header + response.bytes[HEADER.size :]))


class BuildsUndecidedWorkAgain(GoodVM):
    """Neither BuildBlock nor BlockVerify looks at the undecided blocks below."""

    found_by = "blocks.undecided-work-is-not-built-again"

    def branch(self, block_id: bytes) -> set[bytes]:
        return set()


class RejectIsARollback(GoodVM):
    """BlockReject makes the parent of the rejected block the last accepted one."""

    found_by = "blocks.siblings-are-decided-in-both-orders"

    def reject(self, block: Block) -> None:
        self.last_accepted = self.preferred = block.parent_id


class RejectedWorkIsPendingAgain(GoodVM):
    """A rejected block's transactions are pending again, also those that its sibling contained."""

    found_by = "blocks.siblings-are-decided-in-both-orders"

    def reject(self, block: Block) -> None:
        with self.wake:
            self.pending += [each for each in block.transactions if each not in self.pending]


class AcceptsOnlyThePreferredBlock(GoodVM):
    """BlockAccept fails unless SetPreference came first, which a node calls afterwards."""

    found_by = "blocks.peers-accept-each-others-blocks"

    def accept(self, block: Block) -> None:
        if block.height and block.id != self.preferred:
            raise ValueError("this block is not preferred")
        super().accept(block)


class AcceptRejectsTheOthers(GoodVM):
    """BlockAccept drops the siblings, so that BlockReject no longer finds them."""

    found_by = "blocks.siblings-are-decided-in-both-orders"

    def accept(self, block: Block) -> None:
        super().accept(block)
        for other in list(self.undecided.values()):
            if other.parent_id == block.parent_id:
                del self.undecided[other.id]


class TimeInMilliseconds(GoodVM):
    """Its timestamps count milliseconds as seconds."""

    found_by = "blocks.built-blocks-stay-near-the-clock"

    @staticmethod
    def timestamp(block: Block) -> Timestamp:
        return Timestamp(seconds=block.seconds * 1_000)


class TooManyNanoseconds(GoodVM):
    """Its timestamps have more nanoseconds than a second has."""

    found_by = "blocks.built-block-parses-back"

    @staticmethod
    def timestamp(block: Block) -> Timestamp:
        return Timestamp(seconds=block.seconds, nanos=2_000_000_000)


class SetStateReportsNothing(GoodVM):
    """SetState succeeds with an empty response."""

    found_by = "blocks.last-accepted-block-is-consistent"

    def SetState(self, request: pb.SetStateRequest) -> pb.SetStateResponse:
        super().SetState(request)
        return pb.SetStateResponse()


class InitializeReportsNothing(GoodVM):
    """Initialize succeeds with an empty response."""

    found_by = "blocks.last-accepted-block-is-consistent"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        super().Initialize(request)
        return pb.InitializeResponse()


class TakesWhatItBuilds(GoodVM):
    """No defect: what it builds is no longer pending, until the block is rejected.

    A request proposes two transactions, and a block contains one.
    """

    def HandleSimple(self, request: http_pb2.HandleSimpleHTTPRequest) -> http_pb2.HandleSimpleHTTPResponse:
        super().HandleSimple(request)
        request.body += b"2"
        return super().HandleSimple(request)

    def new_transactions(self) -> list[bytes]:
        return super().new_transactions()[:1]

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        response = super().BuildBlock(request)
        with self.wake:
            self.pending.remove(self.parse(response.bytes).transactions[0])
        return response

    def reject(self, block: Block) -> None:
        with self.wake:
            self.pending += block.transactions


class TakesWhatItBuildsAndPrefersWhatItReads(GetMovesThePreference, TakesWhatItBuilds):
    """What it builds is no longer pending, and GetBlock of an undecided block prefers it."""

    found_by = "blocks.reading-changes-no-build"
