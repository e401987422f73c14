"""FeedVM: a chain of short messages with a FastAPI app: REST, a WebSocket feed, and an OpenAPI
page.
"""

from __future__ import annotations

import struct
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from feedapi import MAX_MESSAGE_BYTES, create_app
from subscribers import Subscribers

import vmsdk
from vmsdk.http import subpaths

_HEADER = struct.Struct(">32sQq")
_LAST_ACCEPTED = b"last"
_HEIGHT = b"height/"


@dataclass(frozen=True)
class Message(vmsdk.Block):
    """The parent's ID (32 bytes), the height (u64), Unix seconds (i64), all big-endian, then UTF-8
    text.
    """

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

    def accept(self) -> None:
        self.vm.store(self)
        if self.text in self.vm.pending:
            self.vm.pending.remove(self.text)
        self.vm.subscribers.publish(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return {"id": str(self.id), "height": self.height, "timestamp": self.timestamp, "text": self.text}


class FeedVM(vmsdk.ChainVM):
    """Builds one block for each message that is posted."""

    version = "1.0.0"

    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        # What was posted and is in no accepted block, oldest first.
        self.pending: deque[str] = deque()
        self.subscribers = Subscribers()
        last = ctx.db.get(_LAST_ACCEPTED)
        if last is None:
            text = genesis.decode(errors="replace") or "in the beginning"
            self.store(Message(self, vmsdk.ID.EMPTY, height=0, timestamp=0, text=text))
        else:
            self.last = self.get_block(vmsdk.ID(last))

    def store(self, message: Message) -> None:
        key = _height_key(message.height)
        with self.ctx.db.batch() as batch:
            batch[key] = message.raw
            batch[message.id] = key
            batch[_LAST_ACCEPTED] = message.id
        self.last = message

    def post(self, text: str) -> None:
        """Queue *text* for a block. With `Context.lock` held."""
        self.pending.append(text)
        self.ctx.notify()

    # Blocks ---------------------------------------------------------------------------------------

    def last_accepted(self) -> vmsdk.ID:
        return self.last.id

    def get_block(self, block_id: vmsdk.ID) -> Message:
        return self.parse_block(self.ctx.db[self.ctx.db[block_id]])

    def get_block_id_at_height(self, height: int) -> vmsdk.ID:
        return vmsdk.ID.of(self.ctx.db[_height_key(height)])

    def messages(self, start: int, limit: int) -> list[Message]:
        """Up to *limit* accepted messages from height *start* on: one call to the node, without a
        lock.
        """
        with self.ctx.db.iterate(prefix=_HEIGHT, start=_height_key(start)) as pairs:
            return [self.parse_block(raw) for _, raw in islice(pairs, limit)]

    def parse_block(self, data: bytes) -> Message:
        if not _HEADER.size < len(data) <= _HEADER.size + MAX_MESSAGE_BYTES:
            raise vmsdk.InvalidBlock(f"{len(data)} bytes are not a message")
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
        parent = self.ctx.preferred
        now = max(vmsdk.Timestamp.now().seconds, parent.timestamp)
        return Message(self, parent.id, parent.height + 1, now, text)

    def has_pending_work(self) -> bool:
        return self.next_text() is not None

    def next_text(self) -> str | None:
        """The oldest text that is in no undecided block. The same text may be posted twice."""
        held = Counter(message.text for message in self.ctx.processing)
        for text in self.pending:
            if not held[text]:
                return text
            held[text] -= 1
        return None

    # HTTP -----------------------------------------------------------------------------------------

    def create_handlers(self) -> dict[str, Any]:
        return {subpaths("/api"): create_app(self)}


def _height_key(height: int) -> bytes:
    return _HEIGHT + height.to_bytes(8, "big")


if __name__ == "__main__":
    vmsdk.serve(FeedVM())
