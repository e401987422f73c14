"""FeedVM: a chain of short messages with a FastAPI app: REST, a WebSocket feed, an OpenAPI page."""

from __future__ import annotations

import os
from typing import Annotated, Any

from feedapi import create_app

import vmsdk
from vmsdk import chain
from vmsdk.chain.encoding import Fixed, Max
from vmsdk.http import subpaths

MAX_MESSAGE_BYTES = 280
SALT_BYTES = 8


class Message(chain.Transaction):
    text: Annotated[str, Max(MAX_MESSAGE_BYTES)]
    salt: Annotated[bytes, Fixed(SALT_BYTES)]
    """Random, so that the same text can be posted twice."""


class FeedVM(chain.Chain):
    """Anyone may post a message of 1 to 280 bytes of UTF-8."""

    version = "1.0.0"
    transaction = Message

    def check(self, message: Message) -> None:
        if not message.text:
            raise chain.Invalid("a message has at least one character")

    def execute(self, state: chain.State, message: Message, block: chain.Header) -> None:
        key = b"posted/" + message.id
        if key in state:
            raise chain.Invalid("the message is already in the chain", id=message.id)
        state[key] = b""

    def post(self, text: str) -> vmsdk.ID:
        """Queue a message for a block. From any thread."""
        return self.submit(Message(text, os.urandom(SALT_BYTES)))

    def to_json(self, block: chain.Block) -> dict[str, Any]:
        texts = [self.decode(raw).text for raw in block.transactions]
        return {"id": str(block.id), "height": block.height, "timestamp": block.timestamp, "messages": texts}

    def create_handlers(self) -> dict[str, Any]:
        return {subpaths("/api"): create_app(self)}


if __name__ == "__main__":
    vmsdk.serve(FeedVM())
