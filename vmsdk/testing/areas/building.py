"""How blocks are built and verified."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Literal

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.block import Block
from vmsdk.host.errors import CallFailed, InvalidResponse
from vmsdk.host.node import Host
from vmsdk.testing.areas.blocks import accept_as_peer, builds, check_reported, runs_out
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import (
    CHAIN_STATE,
    ENGINE,
    TOPOLOGICAL,
    VM_CLIENT,
    VM_SERVER,
    Severity,
    Skipped,
    Violation,
    contract,
)
from vmsdk.testing.wire import MIB, accept, attempt, call, must_succeed, short

_PROPOSERVM_BLOCK = "vms/proposervm/block.go"
_HEADER_BYTES = 256
_FUTURE_S = 24 * 3600
# A node refuses its peers' blocks that are further ahead of its clock, and many VMs do the same.
_MAX_AHEAD_S = 10
# Enough blocks to exceed that if each is 2 s after its parent. A VM whose times are whole seconds
# that must rise needs 1 s.
_AHEAD_BLOCKS = 7
# How far ahead of the clock a peer's block is.
_AHEAD_S = (8, 4, 2, 1)
_CHANGED_BYTES = 64 * MIB
_MIN_CHANGES = 64


@contract(
    "blocks", severity=Severity.MISBEHAVES, source="vms/proposervm/pre_fork_block.go", needs_blocks=True
)
def build_follows_the_preference(bench: Bench) -> None:
    """BuildBlock builds on the preferred block, at the next height and no earlier."""
    with bench.chain() as host:
        first, second = bench.siblings(host)
        for parent in (second, first):
            host.chain.prefer(parent.id)
            block = bench.build(host)  # The host checks the parent's ID.
            host.chain.verify(block)
            if block.height != parent.height + 1 or block.timestamp < parent.timestamp:
                raise Violation(
                    "a built block does not follow its parent",
                    sent=f"BuildBlock after SetPreference({parent!r})",
                    got=f"height {block.height} at {block.timestamp}; the parent has {parent.timestamp}",
                    node="it finds blocks by consecutive heights",
                    cure="give a block its parent's height plus one",
                )


@contract("blocks", severity=Severity.MISBEHAVES, source=TOPOLOGICAL, needs_blocks=True)
def wrong_heights_and_parents_are_invalid(bench: Bench) -> None:
    """BlockVerify refuses a block whose height is not its parent's plus 1, or without a parent."""
    with bench.chain() as host:
        (known,) = bench.grow(host, 1)
        block = bench.build(host)
        for data, parsed in _changed(host, block):
            if (parsed.parent_id, parsed.height) == (block.parent_id, block.height):
                continue
            if not _is_valid(host, data):
                continue
            orphan = parsed.parent_id != known.id
            raise Violation(
                "a block without a parent is valid" if orphan else "a block with a wrong height is valid",
                sent=f"BlockVerify of a block at height {parsed.height} on {parsed.parent_id.hex()}; last "
                f"accepted is {known!r}",
                got="the status OK",
                node="any peer can make it accept blocks that don't follow each other",
                cure="verify that the parent is known, and that the height is the parent's plus 1",
            )


def _is_valid(host: Host, data: bytes) -> bool:
    return attempt(host, "BlockVerify", pb.BlockVerifyRequest(bytes=data)) is not None


def _changed(host: Host, block: Block) -> Iterator[tuple[bytes, pb.ParseBlockResponse]]:
    """Yield the copies of *block* that differ in one byte of the header and parse, with the block
    that they parse to.
    """
    # Only the beginning of large blocks, so that a check takes seconds.
    places = min(_HEADER_BYTES, max(_MIN_CHANGES, _CHANGED_BYTES // len(block.raw)))
    for place, byte in enumerate(block.raw[:places]):
        # Clearing the lowest set bit makes a time earlier, whatever the date is.
        for other in {byte ^ 1, byte & (byte - 1)} - {byte}:
            data = block.raw[:place] + bytes([other]) + block.raw[place + 1 :]
            parsed = attempt(host, "ParseBlock", pb.ParseBlockRequest(bytes=data))
            if parsed is not None:
                yield data, parsed


@contract("blocks", severity=Severity.BETTER_NOT, source=_PROPOSERVM_BLOCK, needs_blocks=True)
def wrong_times_are_invalid(bench: Bench) -> None:
    """BlockVerify refuses a block that is older than its parent, or a day ahead of the clock."""
    with bench.chain() as host:
        (parent,) = bench.grow(host, 1)
        block = bench.build(host)
        latest_s = int(time.time()) + _FUTURE_S
        for data, parsed in _changed(host, block):
            early = parsed.timestamp.seconds < parent.timestamp.seconds
            if not early and parsed.timestamp.seconds <= latest_s:
                continue
            if _is_valid(host, data):
                raise Violation(
                    f"a block {'that is older than its parent' if early else 'from the future'} is valid",
                    # As a number, because it may be later than the year 9999.
                    sent=f"BlockVerify of a block at {parsed.timestamp.seconds} s since 1970, whose parent "
                    f"is at {parent.timestamp.seconds} s",
                    got="the status OK",
                    node="it leaves the time inside a block to the VM, so any validator can choose it",
                    cure="verify that the time is not before the parent's, and at most some seconds ahead",
                )


@contract("blocks", severity=Severity.BETTER_NOT, source=_PROPOSERVM_BLOCK, needs_blocks=True)
def built_blocks_stay_near_the_clock(bench: Bench) -> None:
    """Built blocks are at most 10 s ahead of the clock, however fast they follow each other."""
    with bench.alone() as host:
        for count in range(1, _AHEAD_BLOCKS + 1):
            block = bench.build(host)
            ahead_s = block.timestamp.seconds - int(time.time())
            if ahead_s > _MAX_AHEAD_S:
                raise Violation(
                    "built blocks run ahead of the clock",
                    sent=f"BuildBlock, for block {count} of a new chain",
                    got=f"a block that is {ahead_s} s ahead",
                    node="its peers may refuse the block until their clocks have caught up",
                    cure="use the clock's time, or the parent's if that is later: times may be equal",
                )
            accept(host, block)


@contract("blocks", severity=Severity.BETTER_NOT, source=_PROPOSERVM_BLOCK, needs_blocks=True)
def blocks_follow_one_that_is_ahead(bench: Bench) -> None:
    """A block is not earlier than its parent, even if that is some seconds ahead of the clock."""
    with bench.alone() as host:
        parent = _ahead(host, bench.build(host))
        accept(host, parent)  # Some VMs build nothing while a block is undecided.
        block = bench.build(host)
        if block.timestamp < parent.timestamp:
            raise Violation(
                "a built block is earlier than its parent",
                sent=f"BuildBlock on {parent!r}, whose time is ahead of the clock",
                got=f"{block.timestamp}; the parent has {parent.timestamp}",
                node="it builds blocks that validators refuse, since their clocks may be ahead of its own",
                cure="use the clock's time, or the parent's if that is later",
            )
        with must_succeed(
            "a built block is invalid because its parent is ahead of the clock",
            sent=f"BuildBlock on {parent!r}, whose time is ahead of the clock, and BlockVerify",
            node="it drops the block, and builds none until its clock has caught up",
            cure="use the clock's time, or the parent's if that is later",
        ):
            host.chain.verify(block)


def _ahead(host: Host, block: Block) -> Block:
    """Return a copy of *block* that is some seconds ahead. Raises `Skipped` if none is valid."""
    now_s = int(time.time())
    for step in _AHEAD_S:
        for data in _increased(block.raw, step):
            parsed = attempt(host, "ParseBlock", pb.ParseBlockRequest(bytes=data))
            if (
                parsed is not None
                and (parsed.parent_id, parsed.height) == (block.parent_id, block.height)
                and now_s < parsed.timestamp.seconds <= now_s + _MAX_AHEAD_S
                and _is_valid(host, data)
            ):
                return host.chain.parse_block(data)
    raise Skipped("no block that is changed to be some seconds ahead is valid")


def _increased(raw: bytes, step: int) -> Iterator[bytes]:
    """Yield the copies of a block in which an integer in the header is *step* higher."""
    for place, byte in enumerate(raw[:_HEADER_BYTES]):
        spans: list[tuple[Literal["big", "little"], int, int]] = [("big", place, place + 1)]
        if byte + step > 255:  # Carry into the bytes before or after it.
            spans = [("big", max(0, place - 7), place + 1), ("little", place, place + 8)]
        for order, start, end in spans:
            old = raw[start:end]
            number = int.from_bytes(old, order) + step
            if number.bit_length() <= 8 * len(old):
                yield raw[:start] + number.to_bytes(len(old), order) + raw[end:]


@contract("blocks", severity=Severity.MISBEHAVES, source=ENGINE, needs_blocks=True)
def undecided_work_is_not_built_again(bench: Bench) -> None:
    """A block on an undecided one does not repeat that block's transactions."""
    with bench.alone() as host:
        block = bench.propose(host)
        try:
            again = host.chain.build_block()
        except InvalidResponse:
            raise
        except CallFailed:
            return
        if runs_out(host):
            return  # Each of the blocks contained other work.
        host.chain.accept(block)
        # If there is nothing to build now, there was nothing else to build before.
        if not builds(host):
            raise Violation(
                "what an undecided block contains is built again on top of it",
                sent=f"BlockVerify and SetPreference of {block!r}, BuildBlock, BlockAccept, BuildBlock",
                got=f"a block of {len(again.raw)} bytes, then an error: there was no other work",
                node="it builds on undecided blocks: transactions run twice, or blocks are invalid",
                cure="leave out of a block what the undecided blocks below it contain",
            )


@contract("blocks", severity=Severity.MISBEHAVES, source=ENGINE, needs_blocks=True)
def verification_ignores_the_preference(bench: Bench) -> None:
    """BlockVerify accepts a valid block on any undecided block, whichever is preferred."""
    with bench.chain() as host:
        first, second = bench.siblings(host)
        host.chain.prefer(second.id)
        block = bench.build(host)
        host.chain.prefer(first.id)
        with must_succeed(
            "a block is invalid because another branch is preferred",
            sent=f"BlockVerify of {block!r} on {second!r}, while {first!r} is preferred",
            node="it can't vote for the branch that its peers prefer, so it may never agree with them",
            cure="verify a block against the state of its parent; only BuildBlock uses the preference",
        ):
            host.chain.verify(block)


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_CLIENT, needs_blocks=True)
def verify_returns_the_timestamp(bench: Bench) -> None:
    """BlockVerify returns the block's own timestamp."""
    with bench.chain() as host:
        block = bench.build(host)
        request = pb.BlockVerifyRequest(bytes=block.raw)
        if block.verify_with_context:
            request.p_chain_height = host.services.validators.minimum_height
        response = call(host, "BlockVerify", request)
        got = (response.timestamp.seconds, response.timestamp.nanos)
        wanted = (block.timestamp.seconds, block.timestamp.nanos)
        if got != wanted or not response.HasField("timestamp"):
            raise Violation(
                "BlockVerify returns a timestamp other than the block's",
                sent=f"BlockVerify({short(block.raw)})",
                got="none"
                if not response.HasField("timestamp")
                else "{} s and {} ns since 1970, not {} s and {} ns".format(*got, *wanted),
                node="without a timestamp it treats the block as invalid",
                cure="set the timestamp in the response, even if it is the epoch",
            )


@contract("blocks", severity=Severity.MISBEHAVES, source=CHAIN_STATE, needs_blocks=True)
def failed_verification_can_be_retried(bench: Bench) -> None:
    """A block that failed verification can be verified later: the VM does not remember failures."""
    first, second = bench.first_blocks(2)
    with bench.alone() as host:
        attempt(host, "BlockVerify", pb.BlockVerifyRequest(bytes=second.raw))  # Its parent is missing.
        with must_succeed(
            "a block that failed verification once stays invalid",
            sent=f"BlockVerify of {second!r} before its parent and again after it",
            node="its chain forks from that of its peers, which saw the blocks in order",
            cure="don't remember that a block was invalid: it may be valid later",
        ):
            accept_as_peer(host, first, second)


@contract("blocks", severity=Severity.BETTER_NOT, source=_PROPOSERVM_BLOCK, needs_blocks=True)
def block_can_be_verified_twice(bench: Bench) -> None:
    """A block is verified once for each block that wraps it, then accepted once."""
    with bench.chain() as host:
        block = bench.build(host)
        host.chain.verify(block)
        with must_succeed(
            "a verified block can't be verified again",
            sent=f"BlockVerify of {block!r} twice",
            node="a second proposal with the same block counts as invalid",
            cure="return the same result for a block that is already verified",
        ):
            host.chain.verify(block)
        host.chain.prefer(block.id)
        host.chain.accept(block)
        check_reported(host, block, "an accepted block")


@contract("blocks", severity=Severity.STOPS, source=VM_SERVER, needs_blocks=True)
def preference_can_be_repeated(bench: Bench) -> None:
    """SetPreference allows the last accepted block and verified blocks, even twice."""
    with bench.chain() as host:
        block = bench.build(host)
        host.chain.verify(block)
        last = host.chain.last_accepted.id
        for block_id in (block.id, block.id, last, block.id, last):
            with must_succeed(
                "SetPreference refuses a block",
                sent=f"SetPreference({block_id}), which is verified or last accepted",
                node="it stops the chain",
                cure="allow the last accepted block and every verified one, at any time",
            ):
                call(host, "SetPreference", pb.SetPreferenceRequest(id=block_id))


@contract("blocks", severity=Severity.BETTER_NOT, source=VM_SERVER, needs_blocks=True)
def unknown_preference_is_harmless(bench: Bench) -> None:
    """SetPreference of an unknown block may fail, but the next block is still built."""
    with bench.chain() as host:
        for unknown in (os.urandom(32), bytes(32)):
            attempt(host, "SetPreference", pb.SetPreferenceRequest(id=unknown))
        bench.alive(host)
        call(host, "SetPreference", pb.SetPreferenceRequest(id=host.chain.preference))
        bench.grow(host, 1)


@contract("blocks", severity=Severity.MISBEHAVES, source=ENGINE, needs_blocks=True)
def failed_build_is_harmless(bench: Bench) -> None:
    """BuildBlock without work fails or builds, and the next block can still be built."""
    with bench.chain() as host:
        built = attempt(host, "BuildBlock", pb.BuildBlockRequest())
        if built is not None and built.parent_id != host.chain.preference:
            raise Violation(
                "BuildBlock without work returns a block that does not extend the preferred one",
                sent=f"BuildBlock without a transaction; {host.chain.preference} is preferred",
                got=f"block {built.id.hex() or 'without an ID'} on {built.parent_id.hex() or 'no parent'}",
                node="it drops the block",
                cure="return an error if there is nothing to build",
            )
        bench.alive(host)
        (block,) = bench.grow(host, 1)
        check_reported(host, block, "an accepted block")
