"""GetAncestors, which serves blocks to bootstrapping peers."""

from __future__ import annotations

import os

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.consensus import ANCESTORS_MAX_BLOCKS
from vmsdk.host.node import Host
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import Severity, Violation, contract
from vmsdk.testing.wire import MIB, attempt

AMPLE_TIME_NS = 10_000_000_000
# More than a node asks for: some chains have blocks of almost 2 MiB.
AMPLE_BYTES = 64 * MIB
_SOURCE = "snow/engine/snowman/block/batched_vm.go"
# For each block, besides its bytes.
_OVERHEAD_BYTES = 4


def _ancestors(
    host: Host,
    block_id: bytes,
    *,
    count: int = ANCESTORS_MAX_BLOCKS,
    size: int = AMPLE_BYTES,
    time_ns: int = AMPLE_TIME_NS,
) -> list[bytes]:
    request = pb.GetAncestorsRequest(
        blk_id=block_id, max_blocks_num=count, max_blocks_size=size, max_blocks_retrival_time=time_ns
    )
    response = attempt(host, "GetAncestors", request)
    if response is None:
        raise Violation(
            "GetAncestors fails",
            sent=f"GetAncestors with at most {count} blocks, {size} bytes and {time_ns} ns",
            got="an error",
            node="it serves no blocks to bootstrapping peers",
            cure="return no block for an unknown ID, and at least the block itself for a known one",
        )
    return list(response.blks_bytes)


def _grown(bench: Bench, host: Host) -> list[bytes]:
    """Grow the chain by four blocks; returns their bytes and those of the block below, the newest
    first.
    """
    tip = host.chain.last_accepted
    return [block.raw for block in reversed([tip, *bench.grow(host, 4)])]


def _check(
    got: list[bytes], wanted: list[bytes], message: str, sent: str, cure: str, *, at_most: bool = False
) -> None:
    """Raise `Violation` unless *got* is *wanted* or, with *at_most*, the beginning of it."""
    if got == wanted or (at_most and got and got == wanted[: len(got)]):
        return
    places = [str(wanted.index(data)) if data in wanted else "another" for data in got]
    raise Violation(
        message,
        sent=f"GetAncestors with {sent}",
        got=f"{len(got)} blocks, not {len(wanted)}: those at distance {', '.join(places) or 'none'}",
        node="its bootstrapping peers drop the message, or can't link the blocks",
        cure=cure,
    )


@contract("ancestors", severity=Severity.MISBEHAVES, source=_SOURCE)
def unknown_block_has_none(bench: Bench) -> None:
    """GetAncestors of an unknown ID returns OK with an empty list."""
    with bench.chain() as host:
        got = _ancestors(host, os.urandom(32))
        _check(got, [], "an unknown block has ancestors", "an unknown ID", "return an empty list")


@contract("ancestors", severity=Severity.MISBEHAVES, source=_SOURCE, needs_blocks=True)
def newest_comes_first(bench: Bench) -> None:
    """GetAncestors returns the block itself, then its parent, down to genesis."""
    with bench.alone() as host:
        blocks = _grown(bench, host)
        _check(
            _ancestors(host, host.chain.last_accepted.id),
            blocks,
            "GetAncestors returns blocks other than the block and its ancestors, newest first",
            "the last accepted ID and ample limits",
            "start with the block itself, then go from parent to parent to genesis",
        )


@contract("ancestors", severity=Severity.MISBEHAVES, source=_SOURCE, needs_blocks=True)
def count_is_limited(bench: Bench) -> None:
    """GetAncestors returns at most `max_blocks_num` blocks."""
    with bench.chain() as host:
        blocks = _grown(bench, host)
        for count in (1, 3):
            _check(
                _ancestors(host, host.chain.last_accepted.id, count=count),
                blocks[:count],
                "GetAncestors ignores the limit of blocks",
                f"max_blocks_num = {count}",
                "stop after max_blocks_num blocks",
                at_most=True,
            )


@contract("ancestors", severity=Severity.MISBEHAVES, source=_SOURCE, needs_blocks=True)
def size_is_limited(bench: Bench) -> None:
    """GetAncestors returns at most `max_blocks_size` bytes, with 4 more for each block."""
    with bench.chain() as host:
        blocks = _grown(bench, host)
        size = sum(len(raw) + _OVERHEAD_BYTES for raw in blocks[:3])
        for limit, count in ((size, 3), (size - 1, 2)):
            _check(
                _ancestors(host, host.chain.last_accepted.id, size=limit),
                blocks[:count],
                "GetAncestors ignores the limit of bytes, or the 4 extra bytes of each block",
                f"max_blocks_size = {limit}; 3 blocks need {size}",
                "add len(bytes) + 4 for each block, and stop when the sum would exceed max_blocks_size",
                at_most=True,
            )


@contract("ancestors", severity=Severity.BETTER_NOT, source=_SOURCE, needs_blocks=True)
def first_block_is_returned_always(bench: Bench) -> None:
    """GetAncestors returns the block itself even if no byte or no time is left."""
    with bench.chain() as host:
        blocks = _grown(bench, host)
        # The proposervm subtracts what it has used, so both can be negative.
        for limits in ({"size": 0}, {"size": -1}, {"time_ns": 0}, {"time_ns": -1}):
            _check(
                _ancestors(host, host.chain.last_accepted.id, **limits),
                blocks[:1],
                "GetAncestors does not return exactly the first block when nothing is left",
                ", ".join(f"{name} = {value}" for name, value in limits.items()),
                "return the first block whatever the limits are, then check them",
            )


@contract("ancestors", severity=Severity.MISBEHAVES, source=_SOURCE, needs_blocks=True)
def time_is_in_nanoseconds(bench: Bench) -> None:
    """`max_blocks_retrival_time` is in nanoseconds."""
    with bench.chain() as host:
        blocks = _grown(bench, host)
        for time_ns, wanted in ((1, blocks[:1]), (AMPLE_TIME_NS, blocks)):
            _check(
                _ancestors(host, host.chain.last_accepted.id, count=len(blocks), time_ns=time_ns),
                wanted,
                "GetAncestors takes its time limit in a unit other than nanoseconds",
                f"max_blocks_retrival_time = {time_ns}",
                "read the limit as nanoseconds: a node sends 50,000,000 for 50 ms",
            )


@contract("ancestors", severity=Severity.MISBEHAVES, source=_SOURCE, needs_blocks=True)
def undecided_blocks_have_ancestors(bench: Bench) -> None:
    """GetAncestors of a verified block returns it and its ancestors."""
    with bench.chain() as host:
        below = host.chain.last_accepted
        first = bench.propose(host)
        second = bench.build_another(host, "the VM builds no block on an undecided one")
        host.chain.verify(second)
        host.chain.prefer(second.id)
        _check(
            _ancestors(host, second.id, count=3),
            [second.raw, first.raw, below.raw],
            "GetAncestors does not know verified blocks",
            "the ID of a verified block on another one",
            "look up verified blocks too, until they are decided",
        )
