"""FeedVM: a chain of short messages with a FastAPI app: REST, a WebSocket that feeds blocks, and an
OpenAPI page.
"""

from __future__ import annotations

import struct
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from feedapi import MAX_MESSAGE_BYTES, create_app
from subscribers import Subscribers

import vmsdk
from vmsdk.http import subpaths

_HEADER = struct.Struct(">32sQq")
_LAST_ACCEPTED = b"last"


@dataclass(frozen=True)
class Message(vmsdk.Block):
    """32 bytes of parent, the height (u64), Unix seconds (i64), all big-endian, then the text in UTF-8."""

    vm: FeedVM = field(repr=False, compare=False)
    parent_id: vmsdk.ID
    height: int
    timestamp: int
    text: str

    @cached_property
    def raw(self) -> bytes:
        return _HEADER.pack(self.parent_id, self.height, self.timestamp) + self.text.encode()

    @cached_property
    def id(self) -> vmsdk.ID:
        return vmsdk.ID.of(self.raw)

    def verify(self) -> None:
        parent = self.vm.ctx.get_block(self.parent_id)
        if self.height != parent.height + 1:
            raise vmsdk.InvalidBlock(f"height {self.height} does not follow the parent's {parent.height}")
        self.vm.processing.add(self)

    def accept(self) -> None:
        self.vm.store(self)
        self.vm.processing.discard(self)
        if self.text in self.vm.pending:
            self.vm.pending.remove(self.text)
        self.vm.subscribers.publish(self.to_json())

    def reject(self) -> None:
        self.vm.processing.discard(self)

    def to_json(self) -> dict[str, Any]:
        return {"id": str(self.id), "height": self.height, "timestamp": self.timestamp, "text": self.text}


class FeedVM(vmsdk.ChainVM):
    """Builds one block for each message that is posted."""

    version = "1.0.0"

    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        self.ctx = ctx
        # What was posted and is in no accepted block, the oldest first.
        self.pending: deque[str] = deque()
        # Verified blocks that the node has not decided.
        self.processing: set[Message] = set()
        self.subscribers = Subscribers()
        last = ctx.db.get(_LAST_ACCEPTED)
        if last is None:
            text = genesis.decode(errors="replace") or "in the beginning"
            self.store(Message(self, vmsdk.ID.EMPTY, height=0, timestamp=0, text=text))
        else:
            self.last = self.get_block(vmsdk.ID(last))
        self.preferred = self.last.id

    def store(self, message: Message) -> None:
        with self.ctx.db.batch() as batch:
            batch[message.id] = message.raw
            batch[_height_key(message.height)] = message.id
            batch[_LAST_ACCEPTED] = message.id
        self.last = message

    def post(self, text: str) -> None:
        """Let a block be built of *text*. With `Context.lock` held."""
        self.pending.append(text)
        self.ctx.notify()

    # Blocks ----------------------------------------------------------------------------------------

    def last_accepted(self) -> vmsdk.ID:
        return self.last.id

    def get_block(self, block_id: vmsdk.ID) -> Message:
        return self.parse_block(self.ctx.db[block_id])

    def get_block_id_at_height(self, height: int) -> vmsdk.ID:
        return vmsdk.ID(self.ctx.db[_height_key(height)])

    def parse_block(self, data: bytes) -> Message:
        if not _HEADER.size < len(data) <= _HEADER.size + MAX_MESSAGE_BYTES:
            raise vmsdk.InvalidBlock(f"{len(data)} bytes are no message")
        parent_id, height, timestamp = _HEADER.unpack_from(data)
        try:
            text = data[_HEADER.size :].decode()
        except UnicodeDecodeError as error:
            raise vmsdk.InvalidBlock(f"the text is not UTF-8: {error}") from None
        return Message(self, vmsdk.ID(parent_id), height, timestamp, text)

    def build_block(self) -> Message:
        text = self.next_text()
        if text is None:
            raise vmsdk.NothingToBuild
        parent = self.ctx.get_block(self.preferred)
        now = max(vmsdk.Timestamp.now(), vmsdk.Timestamp.of(parent.timestamp))
        return Message(self, parent.id, parent.height + 1, now.seconds, text)

    def set_preference(self, block_id: vmsdk.ID) -> None:
        self.preferred = block_id

    def has_pending_work(self) -> bool:
        return self.next_text() is not None

    def next_text(self) -> str | None:
        """The oldest text that no block holds. A rejected block gives its own back; the same may be
        posted twice.
        """
        held = Counter(message.text for message in self.processing)
        for text in self.pending:
            if not held[text]:
                return text
            held[text] -= 1
        return None

    # HTTP ------------------------------------------------------------------------------------------

    def create_handlers(self) -> dict[str, Any]:
        return {subpaths("/api"): create_app(self)}


def _height_key(height: int) -> bytes:
    return b"height/" + height.to_bytes(8, "big")


if __name__ == "__main__":
    vmsdk.serve(FeedVM())
