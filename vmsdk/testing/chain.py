"""The chain that tests drive: one node, one VM, in this process or as a plugin."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from typing_extensions import Self

from vmsdk.errors import VMError
from vmsdk.host.appnetwork import Peer
from vmsdk.host.errors import ChainMisused, HostError
from vmsdk.host.identity import DEFAULT_NODE_ID, NodeIdentity
from vmsdk.ids import ID, NodeID
from vmsdk.state import Event
from vmsdk.testing.blocks import Block, BlockTree
from vmsdk.testing.faults import garbage
from vmsdk.testing.node import WAIT_TIMEOUT_S, Node, RelayTo

EVENT_TIMEOUT_S = 5.0
"""How long `Chain.build` waits for the VM to report work."""
_RECHECK_S = 0.05
_REPORTED_LINES = 40


class Chain(Node):
    """One chain on one node, which a test drives like the node's consensus engine.

    *vm* is the class of the VM, a function that makes one, or the command of a plugin. With
    *process*, a class runs as a plugin in its own process, as on a node; a command always does.
    *genesis* and *upgrade* are bytes, text, or a value that is encoded as JSON. *issue* submits a
    transaction by HTTP; without it, `submit` calls the VM's own method of that name. *fields* are
    those of `vmsdk.host.config.ChainConfig`.

    As a context manager, it starts and closes itself. Errors of the VM are those of
    `vmsdk.host.errors`.
    """

    # Life -----------------------------------------------------------------------------------------

    def start(self, *, blocks: Iterable[bytes] = (), summaries: Iterable[bytes] = ()) -> Self:
        """Start the VM and bring the chain to normal operation. Peers offer *blocks* and
        *summaries*. Undecided blocks are forgotten, as by a node.
        """
        super().start(blocks=blocks, summaries=summaries)
        self._tree.forget_undecided()
        self._tree.set_status(self._chain.last_accepted, "accepted")
        return self

    def close(self) -> None:
        """Stop, and remove the chain's data and its peers."""
        with contextlib.ExitStack() as closing:
            closing.callback(super().close)
            for peer in self._peers:
                closing.callback(peer.close)

    # Blocks ---------------------------------------------------------------------------------------

    def submit(self, *txs: Any) -> Any:
        """Submit transactions; returns what the VM returns for the last one, such as its ID.

        Raises what the VM raises to refuse one.
        """
        result = None
        for tx in txs:
            result = self._submit(tx)
        return result

    def build(self, *, wait: bool = True) -> Block:
        """Wait until the VM reports work; build a block on the preferred one, verify and prefer it.

        Without *wait*, the block is built immediately. Raises `CallFailed` if nothing is built, and
        `ChainMisused` if the VM reports no work within 5 s.
        """
        chain = self._chain
        if wait and chain.next_event(EVENT_TIMEOUT_S) is not Event.BUILD_BLOCK:
            if chain.engine.fault is not None:
                raise chain.engine.fault
            raise ChainMisused(
                f"the VM has reported no work within {EVENT_TIMEOUT_S:g} s: does has_pending_work return "
                "True, and was ctx.notify() called? To build a block anyway, use build(wait=False)"
            )
        block = self._tree.add(chain.build_block(), "built")
        self.verify(block)
        chain.prefer(block.id)
        return block

    def fork(self, parent: Block, txs: Iterable[Any]) -> Block:
        """Return a verified block on *parent* that contains *txs*, built by another validator: a
        second VM with the same state and no other transactions.
        """
        if isinstance(txs, (bytes, str)) or not isinstance(txs, Iterable):
            raise TypeError(f"txs is a list of transactions, not {txs!r}: for one, write [tx]")
        with self._validator(_checked(parent)) as other:
            other.submit(*txs)
            raw = other._chain.build_block().raw
        return self.verify(raw)

    def parse(self, raw: bytes) -> Block:
        """Parse the bytes of a block. Raises `CallFailed` if the VM refuses them."""
        if not isinstance(raw, bytes):
            raise TypeError(f"parse takes the bytes of a block, such as block.raw, not {raw!r}")
        return self._tree.add(self._chain.parse_block(raw), "parsed")

    def verify(self, block: Block | bytes) -> Block:
        """Parse the bytes of a block, as from a peer, and verify it.

        Raises `CallFailed` if the VM refuses it.
        """
        if isinstance(block, ID) or not isinstance(block, bytes):
            block = _checked(block).raw
        known = self.parse(block)
        self._chain.verify(known.found)
        return self._tree.set_status(known.found, "processing")

    def prefer(self, block: Block) -> None:
        """Make the VM build on *block*."""
        self._chain.prefer(_checked(block).id)

    def accept(self, block: Block) -> list[Block]:
        """Accept *block*, after its undecided ancestors. Returns those rejected, parents first."""
        path = [_checked(block)]
        while path[0].parent_id != self._chain.last_accepted.id and path[0].height > 0:
            path.insert(0, path[0].parent)
        rejected: list[Block] = []
        for each in path:
            losers = self._chain.accept(each.found)
            self._tree.set_status(each.found, "accepted")
            rejected.extend(self._tree.set_status(loser, "rejected") for loser in losers)
        return rejected

    def produce(self, *txs: Any) -> Block:
        """Submit *txs*, then build, verify and accept a block."""
        self.submit(*txs)
        block = self.build()
        self.accept(block)
        return block

    @property
    def last(self) -> Block:
        """The last accepted block."""
        return self._tree.blocks[self.host.chain.last_accepted.id]

    @property
    def height(self) -> int:
        """The height of the last accepted block."""
        return self.host.chain.last_accepted.height

    @property
    def accepted(self) -> list[Block]:
        """The blocks that this test has seen accepted, by height. Needs no running VM."""
        return self._tree.accepted()

    @property
    def processing(self) -> list[Block]:
        """The verified, undecided blocks; parents come first."""
        return [self._tree.blocks[each.id] for each in self.host.chain.processing]

    def block(self, block_id: ID) -> Block:
        """Return a block by its ID. Raises `LookupError` if neither the node nor the VM has it."""
        if block_id not in self._tree.blocks:
            found = self._chain.get_block(block_id)
            if found is None:
                raise LookupError(f"there is no block {block_id}")
            self._tree.add(found, "accepted")
        return self._tree.blocks[block_id]

    def block_at(self, height: int) -> Block:
        """Return the accepted block at *height*, by the VM's index. Raises `LookupError`."""
        if not 0 <= height < 1 << 64:
            raise LookupError(f"there is no block at height {height}: heights have 64 bits, without a sign")
        block_id = self._chain.get_block_id_at_height(height)
        if block_id is None:
            raise LookupError(f"there is no accepted block at height {height}")
        return self.block(block_id)

    def blocks(self) -> list[Block]:
        """Return the accepted blocks that the VM still has, from the lowest to the last."""
        found: list[Block] = []
        with contextlib.suppress(LookupError):
            for height in range(self.height, -1, -1):
                found.append(self.block_at(height))
        return found[::-1]

    # Peers ----------------------------------------------------------------------------------------

    def peer(self, *, state_sync: bool = False) -> Chain:
        """Start another node of the chain, which bootstraps this one's accepted blocks, and connect
        the two.

        With *state_sync*, it is first offered this VM's last state summary.
        """
        other = self._another(len(self._peers) + 1)
        self._peers.append(other)
        summaries = []
        if state_sync:
            last = self._chain.state_sync.last()
            if last is None:
                raise ChainMisused("the VM offers no state summary yet")
            summaries.append(last.raw)
        other._connected.append(self)
        self._connected.append(other)
        other.start(blocks=[block.raw for block in self.blocks() if block.height > 0], summaries=summaries)
        self._chain.connect(RelayTo(other, self))
        return other

    def follow(self, other: Chain) -> None:
        """Verify and accept the blocks that *other* has accepted since."""
        for height in range(self.height + 1, other.height + 1):
            self.accept(self.verify(other.block_at(height).raw))

    def wait_until(self, condition: Callable[[], object], timeout_s: float = WAIT_TIMEOUT_S) -> None:
        """Wait until *condition* returns a true value. Raises `TimeoutError`.

        It is called after each message between peers, and every 50 ms.
        """
        if not callable(condition):
            raise TypeError(
                f"wait_until calls its condition repeatedly, so it takes a function, not {condition!r}: "
                "write wait_until(lambda: …)"
            )
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the condition is not met after {timeout_s:g} s")
            with self._delivered:
                self._delivered.wait(_RECHECK_S)

    def cancel_waits(self, count: int = 100) -> None:
        """Make the node cancel its wait for events, and wait again, *count* times."""
        for _ in range(_positive(count)):
            self._chain.ask_again()

    def send_garbage(self, count: int = 100, *, seed: int = 0) -> None:
        """Send the VM *count* faulty messages, requests and blocks, as a hostile peer may.

        Raises `ChainFatal` if one stops the chain, and `CallFailed` if the VM is unhealthy
        afterwards.
        """
        _positive(count)
        chain = self._chain
        stranger = NodeID(bytes(19) + b"\xff")
        chain.connect(Peer(stranger))
        network = self.host.services.network
        for number, message in enumerate(garbage(seed, count)):
            if number % 3 == 0:
                chain._messages.app_gossip(stranger, message)
            elif number % 3 == 1:
                with contextlib.suppress(VMError):
                    network.request(stranger, message).result(WAIT_TIMEOUT_S)
            else:
                with contextlib.suppress(HostError):
                    chain.parse_block(message)
            if chain.engine.fault is not None:
                raise chain.engine.fault
        chain.disconnect(stranger)
        chain.health()

    # For reports ----------------------------------------------------------------------------------

    def tree(self) -> str:
        """Return the blocks as a tree, in text, with the status of each."""
        return self._tree.text(self.host.chain.preference if self.is_running else None)

    def missing_faults(self) -> list[str]:
        """Describe the faults of the chain and its peers that were asked for and did not happen."""
        missing = self.faults.missing()
        for peer in self._peers:
            missing += peer.missing_faults()
        return missing

    def report(self, name: str = "chain") -> list[tuple[str, str]]:
        """Return titled texts for a failed test: the blocks, the last calls and the VM's log, then
        those of its peers.
        """
        last_lines = list(self.log)[-_REPORTED_LINES:]
        parts = {"blocks": self.tree(), "last calls": "\n".join(self.wire), "log": "\n".join(last_lines)}
        texts = [(f"{name}: {title}", text) for title, text in parts.items() if text]
        for number, peer in enumerate(self._peers, 1):
            texts += peer.report(f"{name}, peer {number}")
        return texts

    # Inside ---------------------------------------------------------------------------------------

    @cached_property
    def _tree(self) -> BlockTree:
        return BlockTree(self.block)

    @cached_property
    def _peers(self) -> list[Chain]:
        return []

    def _submit(self, tx: Any) -> Any:
        if self._issue is not None:
            return self._issue(self.http, tx)
        if self._remote is not None:
            raw = tx if isinstance(tx, bytes) else getattr(tx, "raw", None)
            if not isinstance(raw, bytes):
                raise TypeError(f"submit takes bytes, or a transaction whose raw is bytes, not {tx!r}")
            return self._remote.call("submit", raw)
        submit = None if self._is_command else getattr(self.vm, "submit", None)
        if submit is None:
            raise ChainMisused(
                "the VM has no method submit(tx) that this process can call: give the chain a function "
                "issue(client, tx), which submits by HTTP (pytest: define a fixture called issue)"
            )
        return submit(tx)

    def _another(self, number: int) -> Chain:
        identity = NodeIdentity(NodeID(DEFAULT_NODE_ID[:-1] + bytes([DEFAULT_NODE_ID[-1] + number])))
        return Chain(
            self._given,
            genesis=self.genesis_data,
            upgrade=self.upgrade,
            process=not self.in_process,
            issue=self._issue,
            protocol=self._protocol,
            **{**self._fields, "identity": identity},
        )

    @contextmanager
    def _validator(self, parent: Block) -> Iterator[Chain]:
        """Another validator, which has accepted the same blocks and prefers *parent*."""
        path: list[Block] = []
        while parent.id != self._chain.last_accepted.id:
            if parent.height <= self.height:
                raise ChainMisused(f"can't build on {parent!r}: it is below the last accepted block")
            path.insert(0, parent)
            parent = parent.parent
        with contextlib.closing(self._another(100)) as other:
            other.use_this_process()
            self.disk.copy_to(other.disk)
            other.start()
            for each in path:
                other.prefer(other.verify(each.raw))
            yield other


def _positive(count: int) -> int:
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"count is a positive number, not {count!r}")
    return count


def _checked(block: object) -> Block:
    """Return *block*. Raises `TypeError` for anything else, such as its ID or its bytes."""
    if isinstance(block, Block):
        return block
    if isinstance(block, bytes):  # An ID is bytes, too.
        cure = "for an ID, write chain.block(block_id); for its bytes, chain.parse(raw)"
    else:
        cure = "chain.build, fork, parse and block return one"
    raise TypeError(f"this takes a block, not {block!r}: {cure}")
