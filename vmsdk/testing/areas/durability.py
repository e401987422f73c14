"""Durability: what a chain keeps across restarts and kills."""

from __future__ import annotations

from vmsdk.host.block import Block
from vmsdk.host.node import Host
from vmsdk.state import State
from vmsdk.testing.areas.ancestors import AMPLE_BYTES, AMPLE_TIME_NS
from vmsdk.testing.areas.blocks import check_reported
from vmsdk.testing.areas.heights import check_found
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import CHAIN_STATE, Severity, Violation, contract
from vmsdk.testing.wire import must_succeed, short, storage

_PROPOSERVM = "vms/proposervm/vm.go"


def _check_kept(host: Host, blocks: list[Block], after: str) -> None:
    """Raise `Violation` unless the last of *blocks* is the last accepted, and all are found."""
    tip = host.chain.last_accepted
    if tip.id != blocks[-1].id:
        above = tip.height > blocks[-1].height
        raise Violation(
            f"the last accepted block is another one {after}",
            sent=f"BlockAccept up to {blocks[-1]!r}, and Initialize in a new process",
            got=f"{tip!r}",
            node="it stops the chain: its height index should never be lower than the VM's"
            if above
            else "it fetches the blocks from its peers again",
            cure="write the last accepted ID in the batch that accepts a block, and nowhere else",
        )
    for field in ("parent_id", "height", "timestamp", "raw"):
        ours, theirs = getattr(blocks[-1], field), getattr(tip, field)
        if ours != theirs:
            raise Violation(
                f"the {field} of the last accepted block is another one {after}",
                sent=f"BlockAccept up to {blocks[-1]!r}, and Initialize in a new process",
                got=f"{short(theirs) if isinstance(theirs, bytes) else theirs}",
                node="it treats it as another block, or serves peers what they can't parse",
                cure="return the stored block's own fields from Initialize and SetState",
            )
    for block in blocks:
        check_reported(
            host, block, f"an accepted block {after}", "write a block's bytes in the batch that accepts it"
        )
    check_found(host, blocks, after)
    served = host.chain.get_ancestors(
        tip.id, max_blocks=len(blocks), max_bytes=AMPLE_BYTES, max_time_ns=AMPLE_TIME_NS
    )
    if served != [block.raw for block in reversed(blocks)]:
        raise Violation(
            f"GetAncestors lacks accepted blocks {after}",
            sent=f"GetAncestors of {tip!r} with at most {len(blocks)} blocks",
            got=f"{len(served)} blocks, not the {len(blocks)} accepted ones",
            node="it serves no blocks to bootstrapping peers",
            cure="read ancestors from what BlockAccept has stored",
        )


@contract("durability", severity=Severity.STOPS, source=CHAIN_STATE)
def genesis_survives_a_restart(bench: Bench) -> None:
    """A chain without blocks starts again."""
    with storage() as kept:
        with bench.start(**kept) as host:
            blocks = [host.chain.last_accepted]
        with bench.alone(**kept) as host:
            _check_kept(host, blocks, "after a restart")


@contract("durability", severity=Severity.MISBEHAVES, source=CHAIN_STATE, needs_blocks=True)
def blocks_survive_a_restart(bench: Bench) -> None:
    """After a restart, accepted blocks are found by ID, by height and by GetAncestors."""
    with storage() as kept:
        with bench.start(**kept) as host:
            blocks = [host.chain.last_accepted, *bench.grow(host, 3)]
        with bench.start(**kept) as host:
            _check_kept(host, blocks, "after a restart")
            blocks += bench.grow(host, 1)
        with bench.initialized(**kept) as host:  # What Initialize returns: above, SetState has replaced it.
            _check_kept(host, blocks, "after a second restart")


@contract("durability", severity=Severity.MISBEHAVES, source=CHAIN_STATE, needs_blocks=True)
def blocks_survive_a_kill(bench: Bench) -> None:
    """A block is still there after a SIGKILL once BlockAccept has returned."""
    with storage() as kept:
        with bench.alone(**kept) as host:
            blocks = [host.chain.last_accepted, *bench.grow(host, 2)]
        with bench.alone(**kept) as host:
            _check_kept(host, blocks, "after a kill")
            blocks += bench.grow(host, 1)
            _check_kept(host, blocks, "after a kill")


@contract("durability", severity=Severity.MISBEHAVES, source=CHAIN_STATE, needs_blocks=True)
def bootstrapped_blocks_survive_a_kill(bench: Bench) -> None:
    """After a SIGKILL, bootstrapping continues where it stopped and reaches the same block."""
    blocks = bench.first_blocks(4)
    with storage() as kept:
        with bench.connected(**kept) as host:
            genesis = host.chain.initialize()
            host.chain.set_state(State.BOOTSTRAPPING)
            host.chain.bootstrap(block.raw for block in blocks[:2])
            host.kill()
        with bench.connected(**kept) as host:
            host.chain.initialize()
            _check_kept(host, [genesis, *blocks[:2]], "after a kill while bootstrapping")
            host.chain.set_state(State.BOOTSTRAPPING)
            host.chain.bootstrap(block.raw for block in blocks)
            host.chain.begin_normal_operation()
            _check_kept(host, [genesis, *blocks], "after a kill while bootstrapping")


@contract("durability", severity=Severity.STOPS, source=_PROPOSERVM, needs_blocks=True)
def undecided_blocks_are_forgotten(bench: Bench) -> None:
    """A verified block leaves no trace after a kill, so that it can be verified again."""
    with storage() as kept:
        with bench.alone(**kept) as host:
            blocks = [host.chain.last_accepted, *bench.grow(host, 1)]
            undecided = bench.propose(host)
        with bench.alone(**kept) as host:
            _check_kept(host, blocks, "after a kill with an undecided block")
            with must_succeed(
                "a block that was undecided when the VM was killed is invalid now",
                sent=f"BlockVerify of {undecided!r}, a kill, and BlockVerify again",
                node="it refuses what its peers accept",
                cure="change accepted state in BlockAccept, never in BlockVerify",
            ):
                host.chain.verify(host.chain.parse_block(undecided.raw))
            host.chain.accept(undecided)


@contract("durability", severity=Severity.MISBEHAVES, source=_PROPOSERVM, needs_blocks=True)
def rejected_blocks_are_forgotten(bench: Bench) -> None:
    """A rejected block leaves no trace: the accepted sibling is the last block after a kill."""
    with storage() as kept:
        with bench.alone(**kept) as host:
            genesis = host.chain.last_accepted
            first, second = bench.siblings(host)
            host.chain.prefer(first.id)
            host.chain.prefer(second.id)
            host.chain.accept(first)
        with bench.alone(**kept) as host:
            _check_kept(host, [genesis, first], "after a sibling was rejected and the VM killed")
