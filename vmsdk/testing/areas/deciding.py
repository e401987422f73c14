"""How blocks are accepted and rejected."""

from __future__ import annotations

import time

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.errors import CallFailed, InvalidResponse, PluginGone
from vmsdk.host.node import Host
from vmsdk.state import Event
from vmsdk.testing.areas.blocks import (
    accept_as_peer,
    check_reported,
    elsewhere,
    error_name,
)
from vmsdk.testing.areas.heights import check_found
from vmsdk.testing.bench import ASK_AGAIN_S, EVENT_TIMEOUT_S, Bench
from vmsdk.testing.contract import (
    ENGINE,
    TOPOLOGICAL,
    VM_CLIENT,
    VM_SERVER,
    Severity,
    Skipped,
    Violation,
    contract,
)
from vmsdk.testing.wire import attempt, difference, get, must_succeed, parse, quiet_database, storage

_POST_FORK_BLOCK = "vms/proposervm/post_fork_block.go"
_FORK_DEPTH = 5
# How long a VM may take to find the work of a rejected block.
_AGAIN_S = 5.0


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
                got="a changed database",
                node="it accepts a block once; if it did so twice, nodes would differ",
                cure="accept only a block that is verified and undecided",
            )
        check_found(host, blocks, "after it was accepted again")
        bench.grow(host, 1)


@contract("blocks", severity=Severity.STOPS, source=ENGINE, needs_blocks=True)
def peers_accept_each_others_blocks(bench: Bench) -> None:
    """A node accepts blocks of another node from their bytes, even while bootstrapping."""
    *early, late = bench.first_blocks(3)
    bench.command = elsewhere(bench.command)
    with bench.alone(blocks=[block.raw for block in early]) as peer:
        if peer.chain.last_accepted.id != early[-1].id:
            raise Violation(
                "a bootstrapping node accepts blocks other than those that were built",
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
            accept_as_peer(peer, late)


@contract("blocks", severity=Severity.STOPS, source=TOPOLOGICAL, needs_blocks=True)
def siblings_are_decided_in_both_orders(bench: Bench) -> None:
    """Either of two verified siblings can be accepted, in whatever order they were verified."""
    with bench.alone() as host:
        accepted = []
        for order in (1, -1):
            winner, loser = bench.siblings(host)[::order]
            host.chain.prefer(winner.id)
            host.chain.accept(winner)
            check_reported(host, winner, "the accepted one of two siblings")
            accepted.append(winner)
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
        check_found(host, accepted, "after its sibling was rejected")
    # Another node has never seen the rejected blocks, and must reach the same state.
    with bench.alone() as peer:
        accept_as_peer(peer, *accepted)


@contract("blocks", severity=Severity.STOPS, source=TOPOLOGICAL, needs_blocks=True)
def forks_of_five_blocks_are_decided(bench: Bench) -> None:
    """A branch of five blocks is accepted, and another of five rejected, parents first."""
    with storage() as kept:
        with bench.start(**kept) as host:
            branches = [[block] for block in bench.siblings(host)]
            for branch in branches:
                for _ in range(_FORK_DEPTH - 1):
                    host.chain.prefer(branch[-1].id)
                    block = bench.build(host)
                    host.chain.verify(block)
                    branch.append(block)
            losers, winners = branches
            for block in [*losers, *winners]:
                check_reported(host, block, "a verified block")
            for block in winners:
                host.chain.accept(block)
                check_reported(host, block, "an accepted block")
            check_found(host, winners, "after another branch was rejected")
        with bench.alone(**kept) as host:
            if host.chain.last_accepted.id != winners[-1].id:
                raise Violation(
                    "after a fork and a restart, another block is the last accepted one",
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
            cure="return the status OK with err = ERROR_NOT_FOUND, or the block if the VM still has it",
        ):
            found = get(host, loser.id)
        if found == pb.GetBlockResponse(err=pb.ERROR_NOT_FOUND):
            return
        wrong = f"err {error_name(found.err)}" if found.err else difference(loser, found, "GetBlock")
        if wrong:
            raise Violation(
                "GetBlock returns a rejected block differently",
                sent=f"BlockReject of {loser!r}, then GetBlock of it",
                got=wrong,
                node="it treats it as another block",
                cure="return the block unchanged, or err = ERROR_NOT_FOUND and no other field",
            )


@contract("blocks", severity=Severity.BETTER_NOT, source=_POST_FORK_BLOCK, needs_blocks=True)
def blocks_may_stay_undecided(bench: Bench) -> None:
    """A node may never decide a verified block: its transactions are then built again."""
    with bench.alone() as host:
        for rejects in (True, False):
            winner, _ = bench.siblings(host)
            host.chain.prefer(winner.id)
            host.chain.accept(winner, rejects=rejects)
            # The first round shows whether the VM builds rejected transactions again.
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
        if host.chain.next_event(min(rest_s, ASK_AGAIN_S)) is Event.BUILD_BLOCK:
            try:
                host.chain.produce()
                return True
            except InvalidResponse:
                raise
            except CallFailed:
                continue  # The event may be older than the accepted block, or the VM not ready yet.
        host.chain.ask_again()
    return False
