"""Blocks: parsing, building, verifying and deciding them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Literal

from google.protobuf.message import Message

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.chain.replica import HASH_SEED, LOCALE, TIME_ZONE
from vmsdk.host.block import Block
from vmsdk.host.errors import CallFailed, InvalidResponse, PluginGone
from vmsdk.host.node import Host
from vmsdk.state import Event
from vmsdk.testing.bench import EVENT_TIMEOUT_S, Bench
from vmsdk.testing.contract import Severity, Skipped, Violation, contract
from vmsdk.testing.wire import (
    DEEP,
    HUGE,
    attempt,
    call,
    difference,
    get,
    must_succeed,
    parse,
    quiet_database,
    short,
    storage,
)

VM_CLIENT = "vms/rpcchainvm/vm_client.go"
VM_SERVER = "vms/rpcchainvm/vm_server.go"
MALFORMED_IDS = (b"", b"\x01", bytes(31), bytes(33), bytes(1024 * 1024))
FORK_DEPTH = 5
_NEXT_SECOND_S = 1.0
_MANY = 1_000
_MANY_BYTES = 16 * 1024 * 1024
_HEADER_BYTES = 256
_FUTURE_S = 24 * 3600
# A node refuses its peers' blocks that are further ahead of its clock, and many VMs do the same.
_MAX_AHEAD_S = 10
# Enough blocks to be further ahead at 2 s each. A second each is what whole seconds that rise make.
_AHEAD_BLOCKS = 7
# How long a VM may take to find the work of a rejected block.
_AGAIN_S = 5.0
# How long a VM may wait between two blocks.
_BUILDS_S, _LOOK_S = 5.0, 0.1
# Some VMs take what they build out of the pending work: after so many blocks, no work is left.
_DRAINED_BLOCKS = 50
# How far ahead of the clock a peer's block is, the farthest first.
_AHEAD_S = (8, 4, 2, 1)
_FLIPS = 32
_CHANGED_BYTES = 64 * 1024 * 1024
_FEW_PLACES = 64


def elsewhere(command: list[str]) -> list[str]:
    """Return a command that runs *command* under another hash seed, time zone and locale."""
    variables = (f"TZ={TIME_ZONE}", f"LC_ALL={LOCALE}", f"PYTHONHASHSEED={HASH_SEED}")
    return ["/usr/bin/env", *variables, *command]


# Genesis and reading ------------------------------------------------------------------------------


@contract("blocks", severity=Severity.STOPS, source=VM_CLIENT)
def genesis_is_the_same_on_every_node(bench: Bench) -> None:
    """The same genesis bytes give the same first block on every node."""
    with bench.initialized() as host:
        first = host.chain.last_accepted
        # A clock in whole seconds must have moved on.
        host.process.wait(_NEXT_SECOND_S)
    bench.command = elsewhere(bench.command)
    with bench.initialized() as host:
        second = host.chain.last_accepted
    if first != second:
        raise Violation(
            "two nodes have different genesis blocks",
            sent="Initialize with the same genesis, to two processes with empty databases, the second "
            "one a second later and in another time zone",
            got=f"{first!r} at {first.timestamp}, then {second!r} at {second.timestamp}",
            node="it would accept no block of its peers",
            cure="derive it from the genesis bytes alone: no clock, no randomness, no hash seed",
        )


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_CLIENT)
def last_accepted_block_is_consistent(bench: Bench) -> None:
    """Initialize, SetState, GetBlock and ParseBlock report the same last accepted block."""
    with bench.alone() as host:
        # SetState has returned the block again: the host compares the IDs.
        _check_reported(host, host.chain.last_accepted, "the last accepted block")
        if host.chain.last_accepted.parent_id == host.chain.last_accepted.id:
            raise Violation(
                "the last accepted block is its own parent",
                sent="Initialize",
                got=f"last_accepted_parent_id {host.chain.last_accepted.id}",
                node="it would walk from parent to parent forever",
                cure="give the genesis block a parent ID of 32 zero bytes",
            )


def _check_reported(host: Host, block: Block, what: str) -> None:
    """Raise `Violation` unless GetBlock and ParseBlock report *block* as it is."""
    found = get(host, block.id)
    if found.err:
        raise Violation(
            f"GetBlock does not find {what}",
            sent=f"GetBlock({block.id})",
            got=f"err {_name(found.err)}",
            node="it can neither decide the block nor serve it to peers",
            cure="return accepted blocks, and verified ones until they are decided",
        )
    for method, response in (("GetBlock", found), ("ParseBlock", parse(host, block.raw))):
        wrong = difference(block, response, method)
        if wrong:
            raise Violation(
                f"{method} reports {what} differently",
                sent=f"{method} for {block!r}",
                got=wrong,
                node="it treats it as another block",
                cure="derive all fields of a block from its bytes alone",
            )


def _name(error: int) -> str:
    return pb.Error.Name(error) if error in pb.Error.values() else str(error)  # type: ignore[arg-type]


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_CLIENT)
def unknown_block_is_not_found(bench: Bench) -> None:
    """GetBlock of an unknown ID returns OK with `err = NOT_FOUND`."""
    with bench.chain() as host:
        for unknown in (os.urandom(32), bytes(32)):  # The genesis block may have the second as its parent.
            with must_succeed(
                "GetBlock of an unknown ID fails instead of reporting NOT_FOUND",
                sent=f"GetBlock({unknown.hex()})",
                node="it treats this as a fault, and asks again each time",
                cure="return the status OK with err = ERROR_NOT_FOUND",
            ):
                response = get(host, unknown)
            if response != pb.GetBlockResponse(err=pb.ERROR_NOT_FOUND):
                raise Violation(
                    "GetBlock of an unknown ID does not report NOT_FOUND",
                    sent=f"GetBlock({unknown.hex()})",
                    got=f"err {_name(response.err)} and {len(response.bytes)} bytes",
                    node="it continues with a block that does not exist",
                    cure="return err = ERROR_NOT_FOUND, and no other field",
                )


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_CLIENT, needs_blocks=True)
def parse_is_pure(bench: Bench) -> None:
    """Parsing a block changes nothing and gives the same block each time."""
    with bench.chain() as host:
        block = bench.build(host)
        before = host.services.database.space.items()
        first, second = parse(host, block.raw), parse(host, block.raw)
        if first != second:
            raise Violation(
                "the same bytes parse to two blocks",
                sent=f"ParseBlock({short(block.raw)}) twice",
                got=f"{first.id.hex()}, then {second.id.hex()}",
                node="it would ask its peers for a block that it has",
                cure="derive the block from its bytes alone",
            )
        if host.services.database.space.items() != before:
            raise Violation(
                "parsing a block writes to the database",
                sent=f"ParseBlock({short(block.raw)})",
                got="another database",
                node="any peer could fill its disk",
                cure="write when a block is accepted",
            )


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_CLIENT, needs_blocks=True)
def reading_changes_no_build(bench: Bench) -> None:
    """ParseBlock and GetBlock move neither the preference nor the pending work."""
    with bench.alone() as host:
        block = bench.build(host)
        if not _runs_out(host):
            parse(host, block.raw)
            _check_builds(host, f"BuildBlock, and ParseBlock of {block!r}")
        bench.submit(host)
        host.chain.verify(block)
        if _builds(host):  # Some build nothing while a block is undecided.
            get(host, block.id)
            parse(host, block.raw)
            bench.submit(host)
            _check_builds(host, f"BlockVerify, GetBlock and ParseBlock of {block!r}, a transaction")


def _builds(host: Host) -> bool:
    return attempt(host, "BuildBlock", pb.BuildBlockRequest()) is not None


def _runs_out(host: Host) -> bool:
    """Whether nothing is left to build in the end, although no built block is verified."""
    return not all(_builds(host) for _ in range(_DRAINED_BLOCKS))


def _check_builds(host: Host, sent: str) -> None:
    """Raise `Violation` unless a block is built, on the preferred one."""
    deadline = time.monotonic() + _BUILDS_S
    while True:
        try:
            host.chain.build_block()  # The host checks the parent.
            return
        except CallFailed as error:
            if isinstance(error, InvalidResponse) or time.monotonic() > deadline:
                raise Violation(
                    "a block that was only read changes what is built",
                    sent=f"{sent}, and BuildBlock",
                    got=str(error),
                    node="peers send blocks that are never accepted: it would build none, or elsewhere",
                    cure="let only SetPreference move the preference, and only BlockAccept end pending work",
                ) from None
        host.process.wait(_LOOK_S)


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_CLIENT, needs_blocks=True)
def built_block_parses_back(bench: Bench) -> None:
    """The bytes of a built block parse to the block that BuildBlock returned."""
    with bench.chain() as host:
        block = bench.build(host)
        parsed = parse(host, block.raw)
        wrong = difference(block, parsed, "ParseBlock")
        if not wrong and parsed.verify_with_context != block.verify_with_context:
            wrong = f"verify_with_context {parsed.verify_with_context}, not {block.verify_with_context}"
        if wrong:
            raise Violation(
                "a built block parses to another block",
                sent=f"ParseBlock({short(block.raw)}), as BuildBlock returned it",
                got=wrong,
                node="it votes for a block that none of its peers knows",
                cure="return from BuildBlock what ParseBlock makes of the same bytes",
            )


@contract("blocks", severity=Severity.STOPS, source=VM_CLIENT, needs_blocks=True)
def verified_and_accepted_blocks_are_found(bench: Bench) -> None:
    """GetBlock finds a block from its verification on, and after it is accepted."""
    with bench.chain() as host:
        block = bench.build(host)
        host.chain.verify(block)
        _check_reported(host, block, "a verified block")
        host.chain.prefer(block.id)
        host.chain.accept(block)
        _check_reported(host, block, "an accepted block")


# Untrusted input ----------------------------------------------------------------------------------


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_SERVER)
def garbage_is_refused(bench: Bench) -> None:
    """Bytes that are not a block are refused and do no harm."""
    with bench.chain() as host:
        for data in (b"", b"\x00", bytes(31), random.Random(1).randbytes(1024 * 1024)):
            requests: list[tuple[str, Message]] = [
                ("ParseBlock", pb.ParseBlockRequest(bytes=data)),
                ("BatchedParseBlock", pb.BatchedParseBlockRequest(request=[data])),
                ("BlockVerify", pb.BlockVerifyRequest(bytes=data)),
            ]
            for method, request in requests:
                if attempt(host, method, request) is not None:
                    raise Violation(
                        f"{method} accepts garbage as a block",
                        sent=f"{method} with {short(data)}",
                        got="the status OK",
                        node="any peer could send it blocks that do not exist",
                        cure="parse strictly: check the length, each field, and that nothing follows",
                    )
        for data in (DEEP, HUGE):
            attempt(host, "ParseBlock", pb.ParseBlockRequest(bytes=data))
        bench.alive(host)
        _check_reported(host, host.chain.last_accepted, "the last accepted block")


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_CLIENT, needs_blocks=True)
def other_bytes_are_another_block(bench: Bench) -> None:
    """Changed, longer or shorter bytes don't parse to a block with the same ID."""
    with bench.chain() as host:
        block = bench.build(host)
        raw = block.raw
        changed = [raw + b"\x00", raw[:-1]]
        for place in range(0, len(raw), max(1, len(raw) // _FLIPS)):
            changed.append(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        for data in changed:
            parsed = attempt(host, "ParseBlock", pb.ParseBlockRequest(bytes=data))
            if parsed is not None and parsed.id == block.id:
                where = next((i for i, (a, b) in enumerate(zip(raw, data, strict=False)) if a != b), len(raw))
                raise Violation(
                    "other bytes parse to a block with the same ID",
                    sent=f"ParseBlock with {len(data)} bytes, which differ from a block's {len(raw)} bytes "
                    f"at byte {where}",
                    got=f"the same ID {block.id}",
                    node="it and its peers would store different bytes for one block",
                    cure="hash all bytes of a block into its ID, and refuse bytes that follow",
                )


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_SERVER)
def malformed_ids_are_refused(bench: Bench) -> None:
    """An ID that is not 32 bytes long is refused and does no harm."""
    with bench.chain() as host:
        for value in MALFORMED_IDS:
            requests: list[tuple[str, Message]] = [
                ("GetBlock", pb.GetBlockRequest(id=value)),
                ("GetAncestors", pb.GetAncestorsRequest(blk_id=value, max_blocks_num=1)),
                ("BlockAccept", pb.BlockAcceptRequest(id=value)),
                ("BlockReject", pb.BlockRejectRequest(id=value)),
            ]
            for method, request in requests:
                response = attempt(host, method, request)
                missing = (pb.GetBlockResponse(err=pb.ERROR_NOT_FOUND), pb.GetAncestorsResponse())
                if response is not None and response not in missing:
                    raise Violation(
                        f"{method} accepts {len(value)} bytes as an ID",
                        sent=f"{method}({short(value)})",
                        got="the status OK",
                        node="it never sends such an ID, but other programs may",
                        cure="check that an ID is 32 bytes long",
                    )
            # A VM is free to ignore it, as xsvm does.
            attempt(host, "SetPreference", pb.SetPreferenceRequest(id=value))
        call(host, "SetPreference", pb.SetPreferenceRequest(id=host.chain.preference))
        bench.alive(host)


@contract("blocks", severity=Severity.BETTER_NOT, source=VM_SERVER)
def unknown_blocks_are_not_decided(bench: Bench) -> None:
    """BlockAccept and BlockReject of an unknown ID are errors."""
    with bench.chain() as host:
        unknown = os.urandom(32)
        requests: list[tuple[str, Message]] = [
            ("BlockAccept", pb.BlockAcceptRequest(id=unknown)),
            ("BlockReject", pb.BlockRejectRequest(id=unknown)),
        ]
        for method, request in requests:
            if attempt(host, method, request) is not None:
                raise Violation(
                    f"{method} of an unknown block succeeds",
                    sent=f"{method}({unknown.hex()})",
                    got="the status OK",
                    node="it believes that the VM has decided the block",
                    cure='return an error, such as UNKNOWN "not found"',
                )
        bench.alive(host)


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_CLIENT, needs_blocks=True)
def batch_keeps_the_order(bench: Bench) -> None:
    """BatchedParseBlock returns one block for each, in the order of the request."""
    with bench.chain() as host:
        blocks = [*bench.grow(host, 2), bench.build(host)]
        datas = [blocks[index].raw for index in (2, 0, 1, 0)]
        batch = call(host, "BatchedParseBlock", pb.BatchedParseBlockRequest(request=datas)).response
        if list(batch) != [parse(host, data) for data in datas]:
            raise Violation(
                "BatchedParseBlock returns other blocks than ParseBlock",
                sent="BatchedParseBlock with the blocks at heights "
                + ", ".join(str(blocks[index].height) for index in (2, 0, 1, 0)),
                got=f"{len(batch)} blocks at heights {', '.join(str(one.height) for one in batch)}",
                node="it can't bootstrap from its peers",
                cure="parse each item in order, also one that is sent twice",
            )
        if call(host, "BatchedParseBlock", pb.BatchedParseBlockRequest()).response:
            raise Violation("BatchedParseBlock of nothing returns blocks", sent="BatchedParseBlock([])")
        wanted = min(_MANY, max(2, _MANY_BYTES // len(datas[0])))
        many = pb.BatchedParseBlockRequest(request=[datas[0]] * wanted)
        count = len(call(host, "BatchedParseBlock", many).response)
        if count != wanted:
            raise Violation(
                "BatchedParseBlock has a limit of blocks",
                sent=f"BatchedParseBlock with {wanted} blocks",
                got=f"{count} blocks",
                node="it can't bootstrap from its peers",
                cure="return a block for each item, however many there are",
            )
        broken = pb.BatchedParseBlockRequest(request=[datas[0], b"\x00", datas[1]])
        if attempt(host, "BatchedParseBlock", broken) is not None:
            raise Violation(
                "BatchedParseBlock succeeds although one item is not a block",
                sent="BatchedParseBlock with two blocks and the byte 0 between them",
                got="the status OK",
                node="it takes the items for other blocks than they are",
                cure="fail the whole call if one item does not parse",
            )


# Building and verifying ---------------------------------------------------------------------------


@contract(
    "blocks", severity=Severity.MISBEHAVES, source="vms/proposervm/pre_fork_block.go", needs_blocks=True
)
def build_follows_the_preference(bench: Bench) -> None:
    """BuildBlock builds on the preferred block, at the next height and no earlier."""
    with bench.chain() as host:
        first, second = bench.siblings(host)
        for parent in (second, first):
            host.chain.prefer(parent.id)
            block = bench.build(host)  # The host checks the parent.
            host.chain.verify(block)
            if block.height != parent.height + 1 or block.timestamp < parent.timestamp:
                raise Violation(
                    "a built block does not follow its parent",
                    sent=f"BuildBlock after SetPreference({parent!r})",
                    got=f"height {block.height} at {block.timestamp}; the parent has {parent.timestamp}",
                    node="it finds blocks by consecutive heights",
                    cure="give a block its parent's height plus one",
                )


@contract(
    "blocks", severity=Severity.MISBEHAVES, source="snow/consensus/snowman/topological.go", needs_blocks=True
)
def wrong_heights_and_parents_are_invalid(bench: Bench) -> None:
    """BlockVerify refuses a block whose height is not its parent's plus 1, or without a parent."""
    with bench.chain() as host:
        known = bench.grow(host, 1)[0]
        block = bench.build(host)
        for data, parsed in _changed(host, block):
            if (parsed.parent_id, parsed.height) == (block.parent_id, block.height):
                continue
            if attempt(host, "BlockVerify", pb.BlockVerifyRequest(bytes=data)) is None:
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


def _changed(host: Host, block: Block) -> Iterator[tuple[bytes, pb.ParseBlockResponse]]:
    """Yield what parses of the copies of *block* in which one byte of the header is another one."""
    # Of large blocks only the beginning, so that a check takes seconds.
    places = min(_HEADER_BYTES, max(_FEW_PLACES, _CHANGED_BYTES // len(block.raw)))
    for place, byte in enumerate(block.raw[:places]):
        # Clearing the lowest set bit makes a time earlier, whatever the date is.
        for other in {byte ^ 1, byte & (byte - 1)} - {byte}:
            data = block.raw[:place] + bytes([other]) + block.raw[place + 1 :]
            parsed = attempt(host, "ParseBlock", pb.ParseBlockRequest(bytes=data))
            if parsed is not None:
                yield data, parsed


@contract("blocks", severity=Severity.BETTER_NOT, source="vms/proposervm/block.go", needs_blocks=True)
def wrong_times_are_invalid(bench: Bench) -> None:
    """BlockVerify refuses a block that is older than its parent, or a day ahead of the clock."""
    with bench.chain() as host:
        parent = bench.grow(host, 1)[0]
        block = bench.build(host)
        latest_s = int(time.time()) + _FUTURE_S
        for data, parsed in _changed(host, block):
            early = parsed.timestamp.seconds < parent.timestamp.seconds
            if not early and parsed.timestamp.seconds <= latest_s:
                continue
            if attempt(host, "BlockVerify", pb.BlockVerifyRequest(bytes=data)) is not None:
                raise Violation(
                    f"a block {'that is older than its parent' if early else 'from the future'} is valid",
                    # As a number: it may be later than the year 9999.
                    sent=f"BlockVerify of a block at {parsed.timestamp.seconds} s since 1970, whose parent "
                    f"is at {parent.timestamp.seconds} s",
                    got="the status OK",
                    node="it leaves the time inside a block to the VM, so any validator can choose it",
                    cure="verify that the time is not before the parent's, and at most some seconds ahead",
                )


@contract("blocks", severity=Severity.BETTER_NOT, source="vms/proposervm/block.go", needs_blocks=True)
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
            host.chain.verify(block)
            host.chain.prefer(block.id)
            host.chain.accept(block)


@contract("blocks", severity=Severity.BETTER_NOT, source="vms/proposervm/block.go", needs_blocks=True)
def blocks_follow_one_that_is_ahead(bench: Bench) -> None:
    """A block that is built on one some seconds ahead of the clock is no earlier than that."""
    with bench.alone() as host:
        parent = _ahead(host, bench.build(host))
        host.chain.verify(parent)
        host.chain.prefer(parent.id)
        host.chain.accept(parent)  # Some VMs build nothing while a block is undecided.
        block = bench.build(host)
        if block.timestamp < parent.timestamp:
            raise Violation(
                "a built block is earlier than its parent",
                sent=f"BuildBlock on {parent!r}, whose time is ahead of the clock",
                got=f"{block.timestamp}; the parent has {parent.timestamp}",
                node="other validators' clocks may be ahead of this one's: it builds blocks that they refuse",
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
    """Return a valid copy of *block* that is some seconds ahead. Raises `Skipped` if none is."""
    now_s = int(time.time())
    for step in _AHEAD_S:
        for data in _increased(block.raw, step):
            parsed = attempt(host, "ParseBlock", pb.ParseBlockRequest(bytes=data))
            if (
                parsed is not None
                and (parsed.parent_id, parsed.height) == (block.parent_id, block.height)
                and now_s < parsed.timestamp.seconds <= now_s + _MAX_AHEAD_S
                and attempt(host, "BlockVerify", pb.BlockVerifyRequest(bytes=data)) is not None
            ):
                return host.chain.parse_block(data)
    raise Skipped("no block that is changed to be some seconds ahead is valid")


def _increased(raw: bytes, step: int) -> Iterator[bytes]:
    """Yield the copies of a block in which an integer in the header is *step* more."""
    for place, byte in enumerate(raw[:_HEADER_BYTES]):
        spans: list[tuple[Literal["big", "little"], int, int]] = [("big", place, place + 1)]
        if byte + step > 255:  # Carry into the bytes before or after it.
            spans = [("big", max(0, place - 7), place + 1), ("little", place, place + 8)]
        for order, start, end in spans:
            old = raw[start:end]
            number = int.from_bytes(old, order) + step
            if number.bit_length() <= 8 * len(old):
                yield raw[:start] + number.to_bytes(len(old), order) + raw[end:]


@contract("blocks", severity=Severity.MISBEHAVES, source="snow/engine/snowman/engine.go", needs_blocks=True)
def undecided_work_is_not_built_again(bench: Bench) -> None:
    """A block on an undecided one does not contain that block's transactions once more."""
    with bench.alone() as host:
        block = bench.build(host)
        host.chain.verify(block)
        host.chain.prefer(block.id)
        try:
            again = host.chain.build_block()  # The host checks the parent.
        except InvalidResponse:
            raise
        except CallFailed:
            return
        if _runs_out(host):
            return  # Each of the blocks contained other work.
        host.chain.accept(block)
        # If there is nothing to build now, there was nothing else to build before.
        if not _builds(host):
            raise Violation(
                "what an undecided block contains is built again on top of it",
                sent=f"BlockVerify and SetPreference of {block!r}, BuildBlock, BlockAccept, BuildBlock",
                got=f"a block of {len(again.raw)} bytes, then an error: there was no other work",
                node="it builds on undecided blocks: transactions would be executed twice, or the block is "
                "invalid",
                cure="leave out of a block what the undecided blocks below it contain",
            )


@contract("blocks", severity=Severity.MISBEHAVES, source="snow/engine/snowman/engine.go", needs_blocks=True)
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
            cure="verify a block against the state of its parent; the preference is for BuildBlock only",
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
                "BlockVerify returns another timestamp than the block's",
                sent=f"BlockVerify({short(block.raw)})",
                got="none"
                if not response.HasField("timestamp")
                else "{} s and {} ns since 1970, not {} s and {} ns".format(*got, *wanted),
                node="without a timestamp it takes the block for invalid",
                cure="set the timestamp in the response, also when it is the epoch",
            )


@contract("blocks", severity=Severity.MISBEHAVES, source="vms/components/chain/state.go", needs_blocks=True)
def failed_verification_can_be_retried(bench: Bench) -> None:
    """A block that failed verification is verified again later: nothing remembers the failure."""
    first, second = bench.first_blocks(2)
    with bench.alone() as host:
        orphan = pb.BlockVerifyRequest(bytes=second.raw)
        attempt(host, "BlockVerify", orphan)  # Its parent is missing.
        with must_succeed(
            "a block that failed verification once stays invalid",
            sent=f"BlockVerify of {second!r} before its parent and again after it",
            node="its chain would fork from its peers', which saw the blocks in order",
            cure="don't remember that a block was invalid: it may be valid later",
        ):
            _accept(host, first, second)


@contract("blocks", severity=Severity.BETTER_NOT, source="vms/proposervm/block.go", needs_blocks=True)
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
        _check_reported(host, block, "an accepted block")


@contract("blocks", severity=Severity.STOPS, source="vms/rpcchainvm/vm_server.go", needs_blocks=True)
def preference_can_be_repeated(bench: Bench) -> None:
    """SetPreference takes the last accepted block and verified blocks, also twice."""
    with bench.chain() as host:
        block = bench.build(host)
        host.chain.verify(block)
        last = host.chain.last_accepted.id
        for block_id in (block.id, block.id, last, block.id, last):
            with must_succeed(
                "SetPreference refuses a block",
                sent=f"SetPreference({block_id}), which is verified or last accepted",
                node="it stops the chain",
                cure="accept the last accepted block and every verified one, at any time",
            ):
                call(host, "SetPreference", pb.SetPreferenceRequest(id=block_id))


@contract("blocks", severity=Severity.BETTER_NOT, source=VM_SERVER, needs_blocks=True)
def unknown_preference_is_harmless(bench: Bench) -> None:
    """SetPreference of an unknown block may fail, and the next block is built all the same."""
    with bench.chain() as host:
        for unknown in (os.urandom(32), bytes(32)):
            attempt(host, "SetPreference", pb.SetPreferenceRequest(id=unknown))
        bench.alive(host)
        call(host, "SetPreference", pb.SetPreferenceRequest(id=host.chain.preference))
        bench.grow(host, 1)


@contract("blocks", severity=Severity.MISBEHAVES, source="snow/engine/snowman/engine.go", needs_blocks=True)
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
        _check_reported(host, block, "an accepted block")


# Deciding -----------------------------------------------------------------------------------------


@contract("blocks", severity=Severity.BETTER_NOT, source=VM_SERVER, needs_blocks=True)
def accepted_block_is_not_accepted_again(bench: Bench) -> None:
    """BlockAccept of the last accepted block fails, or changes nothing."""
    with bench.chain() as host:
        *_, block = blocks = bench.grow(host, 2)
        before = quiet_database(host)
        try:
            attempt(host, "BlockAccept", pb.BlockAcceptRequest(id=block.id))
        except PluginGone:
            return  # As AvalancheGo's xsvm: a node accepts a block once.
        if dict(host.services.database.space.items()) != before:
            raise Violation(
                "a block that is accepted again changes the database",
                sent=f"BlockAccept of {block!r} twice",
                got="another database",
                node="it accepts a block once; if it did so twice, nodes would differ",
                cure="accept only a block that is verified and undecided",
            )
        _check_heights(host, blocks)
        bench.grow(host, 1)


def _accept(host: Host, *blocks: Block) -> None:
    """Give *host* blocks as a peer sends them, and accept each."""
    for block in blocks:
        received = host.chain.parse_block(block.raw)
        if received.id != block.id:
            raise Violation(
                "two nodes parse the same bytes to different blocks",
                sent=f"ParseBlock({short(block.raw)}), in another process than the one that built it",
                got=f"{received.id}, not {block.id}",
                node="it never agrees with its peers",
                cure="derive the ID from the bytes alone: no hash seed, no process state",
            )
        host.chain.verify(received)
        host.chain.accept(received)


@contract("blocks", severity=Severity.STOPS, source="snow/engine/snowman/engine.go", needs_blocks=True)
def peers_accept_each_others_blocks(bench: Bench) -> None:
    """A node accepts from their bytes the blocks that another built, also while bootstrapping."""
    *early, late = bench.first_blocks(3)
    bench.command = elsewhere(bench.command)
    with bench.alone(blocks=[block.raw for block in early]) as peer:
        if peer.chain.last_accepted.id != early[-1].id:
            raise Violation(
                "a bootstrapping node accepts other blocks than those that were built",
                sent=f"the {len(early)} blocks of another node, while bootstrapping",
                got=f"{peer.chain.last_accepted!r}, not {early[-1]!r}",
                node="it never agrees with its peers",
                cure="derive the ID from the bytes alone: no hash seed, no process state",
            )
        with must_succeed(
            "a node refuses a block that another node of the same chain accepted",
            sent=f"ParseBlock, BlockVerify and BlockAccept of {late!r}, which another process built",
            node="it falls behind the network for good",
            cure="verify a block by its bytes and its parent's state, whoever built it",
        ):
            _accept(peer, late)


@contract(
    "blocks", severity=Severity.STOPS, source="snow/consensus/snowman/topological.go", needs_blocks=True
)
def siblings_are_decided_in_both_orders(bench: Bench) -> None:
    """Of two verified siblings either can be accepted, whichever was verified first."""
    with bench.alone() as host:
        accepted = []
        for winner in (0, 1):
            siblings = bench.siblings(host)
            host.chain.prefer(siblings[winner].id)
            host.chain.accept(siblings[winner])
            _check_reported(host, siblings[winner], "the accepted one of two siblings")
            accepted.append(siblings[winner])
            loser = siblings[1 - winner]
            wrong = difference(loser, parse(host, loser.raw), "ParseBlock")
            if wrong:
                raise Violation(
                    "a rejected block parses to another block",
                    sent=f"BlockReject of {loser!r}, then ParseBlock of its bytes",
                    got=wrong,
                    node="peers can send it the block at any time",
                    cure="derive the block from its bytes alone",
                )
        accepted += bench.grow(host, 1)
        _check_heights(host, accepted)
    # Another node never saw the rejected blocks, and must arrive at the same state.
    with bench.alone() as peer:
        _accept(peer, *accepted)


@contract(
    "blocks", severity=Severity.STOPS, source="snow/consensus/snowman/topological.go", needs_blocks=True
)
def forks_of_five_blocks_are_decided(bench: Bench) -> None:
    """A branch of five blocks is accepted, and another of five rejected, parents first."""
    with storage() as kept:
        with bench.start(**kept) as host:
            branches = [[block] for block in bench.siblings(host)]
            for branch in branches:
                for _ in range(FORK_DEPTH - 1):
                    host.chain.prefer(branch[-1].id)
                    block = bench.build(host)
                    host.chain.verify(block)
                    branch.append(block)
            losers, winners = branches
            for block in [*losers, *winners]:
                _check_reported(host, block, "a verified block")
            for block in winners:
                host.chain.accept(block)
                _check_reported(host, block, "an accepted block")
            _check_heights(host, winners)
        with bench.alone(**kept) as host:
            if host.chain.last_accepted.id != winners[-1].id:
                raise Violation(
                    "after a fork and a restart another block is the last accepted one",
                    sent="BlockAccept of one branch, BlockReject of the other, and a restart",
                    got=f"{host.chain.last_accepted!r}, not {winners[-1]!r}",
                    node="its chain differs from the network's",
                    cure="write the last accepted ID when a block is accepted, never when one is rejected",
                )


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_CLIENT, needs_blocks=True)
def rejected_block_is_no_error(bench: Bench) -> None:
    """GetBlock of a rejected block returns it, or OK with `err = NOT_FOUND`."""
    with bench.chain() as host:
        winner, loser = bench.siblings(host)
        host.chain.prefer(winner.id)
        host.chain.accept(winner)
        with must_succeed(
            "GetBlock of a rejected block fails",
            sent=f"BlockReject of {loser!r}, then GetBlock of it",
            node="it treats this as a fault, and peers can ask it for the block at any time",
            cure="return the status OK with err = ERROR_NOT_FOUND, or the block if it is still there",
        ):
            found = get(host, loser.id)
        if found == pb.GetBlockResponse(err=pb.ERROR_NOT_FOUND):
            return
        wrong = f"err {_name(found.err)}" if found.err else difference(loser, found, "GetBlock")
        if wrong:
            raise Violation(
                "GetBlock returns a rejected block differently",
                sent=f"BlockReject of {loser!r}, then GetBlock of it",
                got=wrong,
                node="it treats it as another block",
                cure="return the block as it was, or err = ERROR_NOT_FOUND and no other field",
            )


@contract(
    "blocks", severity=Severity.BETTER_NOT, source="vms/proposervm/post_fork_block.go", needs_blocks=True
)
def blocks_may_stay_undecided(bench: Bench) -> None:
    """A node may never decide a block that it has verified: its transactions are built again."""
    with bench.alone() as host:
        for rejects in (True, False):
            winner, _ = bench.siblings(host)
            host.chain.prefer(winner.id)
            host.chain.accept(winner, rejects=rejects)
            # The first round shows whether the VM builds what was rejected again.
            if _builds_again(host, _AGAIN_S if rejects else EVENT_TIMEOUT_S):
                continue
            if rejects:
                raise Skipped("the VM does not build the transactions of a rejected block again")
            raise Violation(
                "the transactions of a block that is never decided are lost",
                sent=f"BlockVerify of two siblings, and BlockAccept of {winner!r}; the other is not rejected",
                got=f"no block for {EVENT_TIMEOUT_S:.0f} s; after BlockReject there was one",
                node="it may never reject a block whose sibling it has accepted",
                cure="hold no transaction for an undecided block once another is accepted at its height",
            )
        bench.grow(host, 2)


def _builds_again(host: Host, timeout_s: float) -> bool:
    """Whether the VM builds a block, without a new transaction."""
    deadline = time.monotonic() + timeout_s
    while (rest_s := deadline - time.monotonic()) > 0:
        if host.chain.next_event(min(rest_s, _NEXT_SECOND_S)) is Event.BUILD_BLOCK:
            try:
                host.chain.produce()
                return True
            except InvalidResponse:
                raise
            except CallFailed:
                continue  # The event may be older than the accepted block, or the VM not ready yet.
        host.chain.ask_again()
    return False


def _check_heights(host: Host, blocks: list[Block]) -> None:
    for block in blocks:
        found = host.chain.get_block_id_at_height(block.height)
        if found != block.id:
            raise Violation(
                "the height index has another block than the accepted one",
                sent=f"GetBlockIDAtHeight({block.height})",
                got=f"{found}, not {block.id}",
                node="it serves a rejected block to its peers",
                cure="write the height index when a block is accepted",
            )


@contract(
    "blocks", severity=Severity.MISBEHAVES, source="vms/components/chain/state.go", protocols=range(35, 36)
)
def status_is_reported(bench: Bench) -> None:
    """Protocol 35 sends with each block whether it is processing, rejected or accepted."""
    with bench.chain() as host:
        block = host.chain.last_accepted
        for method, response in (("GetBlock", get(host, block.id)), ("ParseBlock", parse(host, block.raw))):
            if response.status != pb.STATUS_ACCEPTED:
                raise Violation(
                    f"{method} reports a wrong status",
                    sent=f"{method} of the last accepted block",
                    got=f"status {response.status}, not {pb.STATUS_ACCEPTED} (accepted)",
                    node="it drops the block: found unexpected status",
                    cure="up to protocol 35, set status to 1 (processing), 2 (rejected) or 3 (accepted)",
                )
