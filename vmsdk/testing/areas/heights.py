"""The height index: which block was accepted at each height."""

from __future__ import annotations

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.block import Block
from vmsdk.host.node import Host
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import Severity, Violation, contract
from vmsdk.testing.wire import call, must_succeed

_SOURCE = "vms/proposervm/height_indexed_vm.go"
_MAX_HEIGHT = 2**64 - 1


def _at(host: Host, height: int) -> pb.GetBlockIDAtHeightResponse:
    response: pb.GetBlockIDAtHeightResponse = call(
        host, "GetBlockIDAtHeight", pb.GetBlockIDAtHeightRequest(height=height)
    )
    return response


def check_found(host: Host, blocks: list[Block], when: str) -> None:
    """Raise `Violation` unless the height index has each of the accepted *blocks*."""
    for block in blocks:
        response = _at(host, block.height)
        if response.err or response.blk_id != block.id:
            raise Violation(
                f"the height index lacks an accepted block {when}",
                sent=f"GetBlockIDAtHeight({block.height})",
                got=f"err {response.err}, ID {response.blk_id.hex()}, but {block.id.hex()} is accepted",
                node="it can't serve the block to peers, nor find where it stopped",
                cure="write the block's ID by its height in the batch that accepts it, genesis included",
            )


def _check_missing(host: Host, height: int, why: str) -> None:
    with must_succeed(
        "GetBlockIDAtHeight fails instead of reporting NOT_FOUND",
        sent=f"GetBlockIDAtHeight({height}), {why}",
        node="it treats this as a fault of the VM",
        cure="return the status OK with err = ERROR_NOT_FOUND",
    ):
        response = _at(host, height)
    if response.err != pb.ERROR_NOT_FOUND:
        raise Violation(
            "GetBlockIDAtHeight finds a block that is not accepted",
            sent=f"GetBlockIDAtHeight({height}), {why}",
            got=f"err {response.err}, ID {response.blk_id.hex() or 'empty'}",
            node="it reports the block to its peers as accepted",
            cure="return err = ERROR_NOT_FOUND unless a block was accepted at this height",
        )


@contract("heights", severity=Severity.STOPS, source=_SOURCE)
def genesis_is_found(bench: Bench) -> None:
    """The height index has the last accepted block and the chain's first block from the start."""
    with bench.chain() as host:
        check_found(host, [host.chain.last_accepted], "at the start")
        # A chain may begin above height 0.
        first = host.chain.last_accepted
        while first.height:
            parent = host.chain.get_block(first.parent_id)
            if parent is None or parent.height >= first.height:
                break
            first = parent
        check_found(host, [first], "at the start")


@contract("heights", severity=Severity.MISBEHAVES, source=_SOURCE)
def heights_above_the_tip_are_not_found(bench: Bench) -> None:
    """A height above the last accepted block is `err = NOT_FOUND`, not an error."""
    with bench.chain() as host:
        tip = host.chain.last_accepted.height
        for height in (tip + 1, tip + 1_000_000, 2**63, _MAX_HEIGHT):
            _check_missing(host, height, f"above the last accepted {tip}")
        bench.alive(host)


@contract("heights", severity=Severity.MISBEHAVES, source=_SOURCE, needs_blocks=True)
def heights_are_consecutive(bench: Bench) -> None:
    """Each block has its parent's height plus one."""
    with bench.chain() as host:
        parent = host.chain.last_accepted
        for block in bench.grow(host, 2):
            if block.height != parent.height + 1:
                raise Violation(
                    "a block's height does not follow its parent's",
                    sent=f"BuildBlock on {parent!r}",
                    got=f"height {block.height}",
                    node="it finds blocks by consecutive heights, so it can't bootstrap this chain",
                    cure="give a block its parent's height plus one",
                )
            parent = block


@contract("heights", severity=Severity.MISBEHAVES, source=_SOURCE, needs_blocks=True)
def accepted_blocks_are_found(bench: Bench) -> None:
    """The height index has a block as soon as it is accepted."""
    with bench.chain() as host:
        blocks = [host.chain.last_accepted, *bench.grow(host, 3)]
        check_found(host, blocks, "after its acceptance")


@contract("heights", severity=Severity.MISBEHAVES, source=_SOURCE, needs_blocks=True)
def undecided_blocks_are_not_found(bench: Bench) -> None:
    """A verified block is not in the height index until it is accepted."""
    with bench.chain() as host:
        block = bench.build(host)
        _check_missing(host, block.height, "where a block was only built")
        host.chain.verify(block)
        host.chain.prefer(block.id)
        _check_missing(host, block.height, "where a block is verified and undecided")


@contract("heights", severity=Severity.MISBEHAVES, source=_SOURCE, needs_blocks=True)
def rejected_blocks_change_no_height(bench: Bench) -> None:
    """After a rejection, the height index still has the accepted block at that height."""
    with bench.chain() as host:
        winner, loser = bench.siblings(host)
        host.chain.prefer(winner.id)
        host.chain.accept(winner)  # This rejects the other.
        check_found(host, [winner], f"after its sibling {loser.id} was rejected")
