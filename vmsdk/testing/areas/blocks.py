"""How blocks are read: the genesis, parsing, GetBlock, and garbage."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable

from google.protobuf.message import Message

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.chain.replica import HASH_SEED, LOCALE, TIME_ZONE
from vmsdk.host.block import Block
from vmsdk.host.errors import CallFailed, InvalidResponse
from vmsdk.host.node import Host
from vmsdk.host.plugin import with_variables
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import CHAIN_STATE, VM_CLIENT, VM_SERVER, Severity, Violation, contract
from vmsdk.testing.wire import (
    DEEP,
    HUGE,
    MIB,
    attempt,
    call,
    difference,
    get,
    get_ancestors,
    must_succeed,
    parse,
    short,
)

_MALFORMED_IDS = (b"", b"\x01", bytes(31), bytes(33), bytes(MIB))
_NEXT_SECOND_S = 1.0
_MANY, _MANY_BYTES = 1_000, 16 * MIB
# How long a VM may wait between two blocks.
_BUILD_TIMEOUT_S, _RETRY_S = 5.0, 0.1
# Some VMs remove what they build from the pending work: after so many blocks, no work is left.
_DRAINED_BLOCKS = 50
_FLIPS = 32


def elsewhere(command: list[str]) -> list[str]:
    """Return a command that runs *command* under another hash seed, time zone and locale."""
    variables = (f"TZ={TIME_ZONE}", f"LC_ALL={LOCALE}", f"PYTHONHASHSEED={HASH_SEED}")
    return with_variables(command, *variables)


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
    """Initialize, SetState, GetBlock and ParseBlock return the same last accepted block."""
    with bench.alone() as host:
        # SetState has returned the block again: the host compares the IDs.
        check_reported(host, host.chain.last_accepted, "the last accepted block")
        if host.chain.last_accepted.parent_id == host.chain.last_accepted.id:
            raise Violation(
                "the last accepted block is its own parent",
                sent="Initialize",
                got=f"last_accepted_parent_id {host.chain.last_accepted.id}",
                node="it walks from parent to parent forever",
                cure="give the genesis block a parent ID of 32 zero bytes",
            )


def check_reported(
    host: Host,
    block: Block,
    what: str,
    cure: str = "return accepted blocks, and verified ones until they are decided",
) -> None:
    """Raise `Violation` unless GetBlock and ParseBlock return *block* as it is. *cure* is for a
    block that is not found.
    """
    found = get(host, block.id)
    if found.err:
        raise Violation(
            f"GetBlock does not find {what}",
            sent=f"GetBlock({block.id})",
            got=f"err {error_name(found.err)}",
            node="it can neither decide the block nor serve it to peers",
            cure=cure,
        )
    for method, response in (("GetBlock", found), ("ParseBlock", parse(host, block.raw))):
        wrong = difference(block, response, method)
        if wrong:
            raise Violation(
                f"{method} returns {what} differently",
                sent=f"{method} for {block!r}",
                got=wrong,
                node="it treats it as another block",
                cure="derive all fields of a block from its bytes alone",
            )


def error_name(error: int) -> str:
    """Return the name of a `vm.Error`, or its number if it has none."""
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
                    got=f"err {error_name(response.err)} and {len(response.bytes)} bytes",
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
                node="it asks its peers for a block that it has",
                cure="derive the block from its bytes alone",
            )
        if host.services.database.space.items() != before:
            raise Violation(
                "parsing a block writes to the database",
                sent=f"ParseBlock({short(block.raw)})",
                got="a changed database",
                node="any peer can fill its disk",
                cure="write when a block is accepted",
            )


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_CLIENT, needs_blocks=True)
def reading_changes_no_build(bench: Bench) -> None:
    """ParseBlock and GetBlock change neither the preference nor the pending work."""
    with bench.alone() as host:
        block = bench.build(host)
        if not runs_out(host):
            parse(host, block.raw)
            _check_builds(host, f"BuildBlock, and ParseBlock of {block!r}")
        bench.submit(host)
        host.chain.verify(block)
        if builds(host):  # Some build nothing while a block is undecided.
            get(host, block.id)
            parse(host, block.raw)
            bench.submit(host)
            _check_builds(host, f"BlockVerify, GetBlock and ParseBlock of {block!r}, a transaction")


def builds(host: Host) -> bool:
    """Whether BuildBlock returns a block."""
    return attempt(host, "BuildBlock", pb.BuildBlockRequest()) is not None


def runs_out(host: Host) -> bool:
    """Whether BuildBlock alone, without BlockVerify, uses up the pending work."""
    return not all(builds(host) for _ in range(_DRAINED_BLOCKS))


def _check_builds(host: Host, sent: str) -> None:
    """Raise `Violation` unless a block is built, on the preferred one."""
    deadline = time.monotonic() + _BUILD_TIMEOUT_S
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
                    node="peers send blocks that are never accepted: it builds no block then, or elsewhere",
                    cure="let only SetPreference move the preference, and only BlockAccept end pending work",
                ) from None
        host.process.wait(_RETRY_S)


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
                node="it votes for a block that its peers don't know",
                cure="return from BuildBlock what ParseBlock makes of the same bytes",
            )


@contract("blocks", severity=Severity.STOPS, source=VM_CLIENT, needs_blocks=True)
def verified_and_accepted_blocks_are_found(bench: Bench) -> None:
    """GetBlock finds a block once it is verified, and after it is accepted."""
    with bench.chain() as host:
        block = bench.build(host)
        host.chain.verify(block)
        check_reported(host, block, "a verified block")
        host.chain.prefer(block.id)
        host.chain.accept(block)
        check_reported(host, block, "an accepted block")


@contract("blocks", severity=Severity.MISBEHAVES, source=CHAIN_STATE, protocols=range(35, 36))
def status_is_reported(bench: Bench) -> None:
    """Protocol 35 sends with each block whether it is processing, rejected or accepted."""
    with bench.chain() as host:
        block = host.chain.last_accepted
        for method, response in (("GetBlock", get(host, block.id)), ("ParseBlock", parse(host, block.raw))):
            if response.status != pb.STATUS_ACCEPTED:
                raise Violation(
                    f"{method} returns a wrong status",
                    sent=f"{method} of the last accepted block",
                    got=f"status {response.status}, not {pb.STATUS_ACCEPTED} (accepted)",
                    node="it drops the block: found unexpected status",
                    cure="up to protocol 35, set status to 1 (processing), 2 (rejected) or 3 (accepted)",
                )


def accept_as_peer(host: Host, *blocks: Block) -> None:
    """Parse the bytes of each block as from a peer, then verify and accept it."""
    for block in blocks:
        received = host.chain.parse_block(block.raw)
        if received.id != block.id:
            raise Violation(
                "two nodes parse the same bytes to different blocks",
                sent=f"ParseBlock({short(block.raw)}), in a different process from the one that built it",
                got=f"{received.id}, not {block.id}",
                node="it never agrees with its peers",
                cure="derive the ID from the bytes alone: no hash seed, no process state",
            )
        host.chain.verify(received)
        host.chain.accept(received)


# Untrusted input ----------------------------------------------------------------------------------


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_SERVER)
def garbage_is_refused(bench: Bench) -> None:
    """Bytes that are not a block are refused and do no harm."""
    with bench.chain() as host:
        for data in (b"", b"\x00", bytes(31), random.Random(1).randbytes(MIB)):
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
                        node="any peer can send it blocks that do not exist",
                        cure="parse strictly: check the length, each field, and that nothing follows",
                    )
        for data in (DEEP, HUGE):
            attempt(host, "ParseBlock", pb.ParseBlockRequest(bytes=data))
        bench.alive(host)
        check_reported(host, host.chain.last_accepted, "the last accepted block")


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
                    node="it and its peers store different bytes for one block",
                    cure="hash all bytes of a block into its ID, and refuse trailing bytes",
                )


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_SERVER)
def malformed_ids_are_refused(bench: Bench) -> None:
    """An ID that is not 32 bytes long is refused and does no harm."""
    with bench.chain() as host:
        for value in _MALFORMED_IDS:
            requests: list[tuple[str, Message]] = [
                ("GetBlock", pb.GetBlockRequest(id=value)),
                get_ancestors(value),
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
            # A VM may ignore it, as xsvm does.
            attempt(host, "SetPreference", pb.SetPreferenceRequest(id=value))
        call(host, "SetPreference", pb.SetPreferenceRequest(id=host.chain.preference))
        bench.alive(host)


@contract("blocks", severity=Severity.BETTER_NOT, source=VM_SERVER)
def unknown_blocks_are_not_decided(bench: Bench) -> None:
    """BlockAccept and BlockReject of an unknown ID are errors."""
    with bench.chain() as host:
        unknown = os.urandom(32)
        for method, request in (
            ("BlockAccept", pb.BlockAcceptRequest(id=unknown)),
            ("BlockReject", pb.BlockRejectRequest(id=unknown)),
        ):
            if attempt(host, method, request) is not None:
                raise Violation(
                    f"{method} of an unknown block succeeds",
                    sent=f"{method}({unknown.hex()})",
                    got="the status OK",
                    node="it assumes that the VM has decided the block",
                    cure='return an error, such as UNKNOWN "not found"',
                )
        bench.alive(host)


@contract("blocks", severity=Severity.MISBEHAVES, source=VM_CLIENT, needs_blocks=True)
def batch_keeps_the_order(bench: Bench) -> None:
    """BatchedParseBlock returns one block for each, in the order of the request."""
    with bench.chain() as host:
        first, second, third = *bench.grow(host, 2), bench.build(host)
        blocks = [third, first, second, first]
        batch = _batch(host, [block.raw for block in blocks])
        if batch != [parse(host, block.raw) for block in blocks]:
            raise Violation(
                "BatchedParseBlock returns different blocks from ParseBlock",
                sent=f"BatchedParseBlock with the blocks at heights {_heights(blocks)}",
                got=f"{len(batch)} blocks at heights {_heights(batch)}",
                node="it can't bootstrap from its peers",
                cure="parse each item in order, even if the same one occurs twice",
            )
        if _batch(host, []):
            raise Violation("BatchedParseBlock of nothing returns blocks", sent="BatchedParseBlock([])")
        wanted = min(_MANY, max(2, _MANY_BYTES // len(third.raw)))
        count = len(_batch(host, [third.raw] * wanted))
        if count != wanted:
            raise Violation(
                "BatchedParseBlock has a limit of blocks",
                sent=f"BatchedParseBlock with {wanted} blocks",
                got=f"{count} blocks",
                node="it can't bootstrap from its peers",
                cure="return a block for each item, however many there are",
            )
        broken = pb.BatchedParseBlockRequest(request=[third.raw, b"\x00", first.raw])
        if attempt(host, "BatchedParseBlock", broken) is not None:
            raise Violation(
                "BatchedParseBlock succeeds although one item is not a block",
                sent="BatchedParseBlock with two blocks and the byte 0 between them",
                got="the status OK",
                node="it mistakes the items for other blocks",
                cure="fail the whole call if one item does not parse",
            )


def _batch(host: Host, datas: list[bytes]) -> list[pb.ParseBlockResponse]:
    return list(call(host, "BatchedParseBlock", pb.BatchedParseBlockRequest(request=datas)).response)


def _heights(blocks: Iterable[Block | pb.ParseBlockResponse]) -> str:
    return ", ".join(str(block.height) for block in blocks)
