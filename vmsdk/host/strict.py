"""Checks rules that matter on a network, but that a VM may break unnoticed while it runs alone."""

from __future__ import annotations

import time
from collections.abc import Callable

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.appnetwork import MAX_MESSAGE_BYTES
from vmsdk.host.block import Block, check_id, is_not_found
from vmsdk.host.engine import Engine
from vmsdk.host.errors import CallFailed
from vmsdk.host.sqlite import KeySpace
from vmsdk.ids import ID

# A message also has what a node adds to a block: its header, its certificate and its signature.
MAX_BLOCK_BYTES = MAX_MESSAGE_BYTES - 64 * 1024

# More blocks within this time, without a request or message in between, look like endless work.
MAX_UNASKED_BLOCKS = 100
UNASKED_S = 30.0

QUIET_S = 0.5
"""After an accept, a VM may write in the background for this long, for example to prune."""

# Reading a block back makes the VM load it, so only some accepted ones are read.
_EACH_BLOCK_UP_TO = 8
_LATER_EVERY = 64

_MAX_SHOWN_KEYS = 3
_ACCEPTED = b"last accepted"


class Strict:
    """Watches the chain of *engine*, whose VM stores in *database*.

    *report* gets a text for each broken rule, once: what happened, the rule, and the fix. *own*
    stores the last accepted block across restarts. The chain calls the methods under its lock;
    `heard` may be called from any thread.
    """

    def __init__(
        self,
        engine: Engine,
        database: KeySpace,
        own: KeySpace,
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._own = own
        self._report = report
        self._clock = clock
        self._broken: set[str] = set()
        self._last_accepted: Block
        self._writes = database.record()
        self._accepted_at_s = -QUIET_S
        self._is_quiet = False
        self._unasked_blocks = 0
        self._unasked_since_s = 0.0

    def heard(self) -> None:
        """Record that the VM got a request or a message, and so may have work."""
        self._unasked_blocks = 0

    def began(self, last_accepted: Block) -> None:
        """Compare the block at which the VM has started with the one that it accepted last."""
        self._last_accepted = last_accepted
        stored = self._own.get(_ACCEPTED)
        if stored is None:
            return
        height, block_id = int.from_bytes(stored[:8], "big"), ID(stored[8:])
        # A VM may be ahead, if this process was killed before it could record the block.
        if last_accepted.height < height or (last_accepted.height == height and last_accepted.id != block_id):
            self._broke(
                "last accepted",
                f"the VM started at block {last_accepted.height}, {last_accepted.id}, but had accepted block "
                f"{height}, {block_id}: an accepted block is final. Write the block, its changes and the ID "
                "of the last accepted block in one batch, before accept returns",
            )

    def calling(self) -> None:
        """Start to watch for writes during BuildBlock or BlockVerify."""
        self._is_quiet = self._clock() - self._accepted_at_s >= QUIET_S
        self._writes.take()

    def built(self, block: Block) -> None:
        """Check a block that the VM has built: its size, and that its bytes can be parsed."""
        self._check_writes("built", block)
        if len(block.raw) > MAX_BLOCK_BYTES:
            self._broke(
                "size",
                f"block {block.height} has {len(block.raw)} bytes: nodes send each other at most "
                f"{MAX_MESSAGE_BYTES} bytes in a message, including a header and a certificate. Build "
                f"blocks of at most {MAX_BLOCK_BYTES} bytes",
            )
        rule = (
            "other nodes get only its bytes: the ID, parent, height and time of a block must follow from them"
        )
        try:
            response = self._engine.call(
                self._engine.client.ParseBlock, pb.ParseBlockRequest(bytes=block.raw)
            )
            parsed = Block.parsed("ParseBlock", response, block.raw)
        except CallFailed as error:
            self._broke("parse", f"the VM can't parse block {block.height}, which it built ({error}): {rule}")
            return
        for field in ("id", "parent_id", "height", "timestamp"):
            ours, theirs = getattr(block, field), getattr(parsed, field)
            if ours != theirs:
                self._broke(
                    "parse",
                    f"the {field} of block {block.height} is {ours} when built, and {theirs} when parsed: "
                    + rule,
                )
                return

    def verified(self, block: Block, parent: Block) -> None:
        """Check a block that the VM has verified: its height, and that nothing was written."""
        self._check_writes("verified", block)
        if block.height != parent.height + 1:
            self._broke(
                "height",
                f"block {block.height} follows block {parent.height}: nodes find blocks by height, and "
                "expect each to be one above its parent. Set the height to the parent's plus 1, and "
                "refuse any other in verify",
            )

    def accepted(self, block: Block) -> None:
        """Check that the VM has stored its accepted blocks."""
        parent, self._last_accepted = self._last_accepted, block
        self._own.put(_ACCEPTED, block.height.to_bytes(8, "big") + block.id)
        self._check_index(block.height, block.id)
        if block.height <= _EACH_BLOCK_UP_TO or block.height % _LATER_EVERY == 0:
            self._check_index(parent.height, parent.id)
            self._check_stored(parent)
        self._accepted_at_s = now_s = self._clock()
        if not self._unasked_blocks or now_s - self._unasked_since_s > UNASKED_S:
            self._unasked_blocks, self._unasked_since_s = 0, now_s
        self._unasked_blocks += 1
        if self._unasked_blocks > MAX_UNASKED_BLOCKS:
            self._broke(
                "endless",
                f"{MAX_UNASKED_BLOCKS} blocks in a row within {now_s - self._unasked_since_s:.1f} s, with no "
                "request or message in between: a VM that always reports work makes a network build blocks "
                "forever. Report work only while a transaction waits, and remove those that are in a block",
            )

    def _check_writes(self, what: str, block: Block) -> None:
        # What is deleted may be pruned in the background.
        written = sorted(key for key, (_, now) in self._writes.take().items() if now is not None)
        if written and self._is_quiet:
            shown = ", ".join("0x" + key[:32].hex() for key in written[:_MAX_SHOWN_KEYS])
            more = ", ..." if len(written) > _MAX_SHOWN_KEYS else ""
            self._broke(
                "writes",
                f"the VM wrote to its database while it {what} block {block.height} (keys {shown}{more}): "
                "until it is accepted, a block may still be rejected. Keep its changes in memory, and write "
                "them in accept",
            )

    def _check_index(self, height: int, block_id: ID) -> None:
        request = pb.GetBlockIDAtHeightRequest(height=height)
        try:
            response = self._engine.call(self._engine.client.GetBlockIDAtHeight, request)
            if is_not_found("GetBlockIDAtHeight", response.err):
                found = "nothing"
            else:
                indexed = check_id("GetBlockIDAtHeight", response.blk_id)
                found = "" if indexed == block_id else str(indexed)
        except CallFailed as error:
            found = f"an error ({error.details})"
        if found:
            self._broke(
                "index",
                f"GetBlockIDAtHeight({height}) returns {found}, but block {height} is accepted, {block_id}: "
                "nodes look up accepted blocks by height. Store the ID of each under its height in accept",
            )

    def _check_stored(self, block: Block) -> None:
        request = pb.GetBlockRequest(id=block.id)
        try:
            found = Block.found(self._engine.call(self._engine.client.GetBlock, request), block.id)
            reason = "nothing" if found is None else "" if found.raw == block.raw else "other bytes"
        except CallFailed as error:
            reason = f"an error ({error.details})"
        if reason:
            self._broke(
                "stored",
                f"GetBlock({block.id}) returns {reason}, but that is the accepted block {block.height}: new "
                "nodes get the chain's blocks from others. Store the bytes of each block in accept",
            )

    def _broke(self, rule: str, text: str) -> None:
        if rule not in self._broken:
            self._broken.add(rule)
            self._report(text)
