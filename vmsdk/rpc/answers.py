"""An author's blocks as the fields of the node's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from google.protobuf.timestamp_pb2 import Timestamp as TimestampMessage

from vmsdk.errors import VMError
from vmsdk.ids import ID
from vmsdk.rpc.blockmemory import BlockMemory
from vmsdk.timestamp import Timestamp, TimestampLike

if TYPE_CHECKING:
    from vmsdk.block import Block

MAX_HEIGHT = 2**64 - 1


class UnusableBlock(VMError):
    """An attribute of an author's block is not what the node takes."""

    def __init__(self, block: Block, attribute: str, value: object, rule: str) -> None:
        self.attribute = attribute
        self.value = value
        shown = f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)
        super().__init__(f"{type(block).__name__}.{attribute} is {shown}: it must be {rule}")


class LastAcceptedFields(TypedDict):
    """What Initialize and SetState tell of the last accepted block."""

    last_accepted_id: bytes
    last_accepted_parent_id: bytes
    height: int
    bytes: bytes
    timestamp: TimestampMessage


def last_accepted_fields(blocks: BlockMemory) -> LastAcceptedFields:
    """The last accepted block as the VM knows it now. Raises `UnusableBlock`."""
    block = blocks.load_last_accepted()
    return {
        "last_accepted_id": block_id(block),
        "last_accepted_parent_id": parent_id(block),
        "height": height(block),
        "bytes": block.bytes,
        "timestamp": timestamp(block.timestamp),
    }


def block_id(block: Block) -> bytes:
    """The block's ID: 32 bytes. Raises `UnusableBlock`."""
    value = block.id
    if not isinstance(value, bytes) or len(value) != ID.LENGTH:
        raise UnusableBlock(block, "id", value, "32 bytes, an ID")
    return value


def parent_id(block: Block) -> bytes:
    """The parent's ID: 32 bytes. Raises `UnusableBlock`."""
    value = block.parent_id
    if not isinstance(value, bytes) or len(value) != ID.LENGTH:
        raise UnusableBlock(block, "parent_id", value, "32 bytes, an ID")
    return value


def height(block: Block) -> int:
    """The block's height: 64 bits, unsigned. Raises `UnusableBlock`."""
    value = block.height
    if not isinstance(value, int) or not 0 <= value <= MAX_HEIGHT:
        raise UnusableBlock(block, "height", value, "a whole number from 0 to 2**64 - 1")
    return value


def timestamp(value: TimestampLike) -> TimestampMessage:
    """A time as a message, which is present in an answer even at 1970-01-01. Raises `InvalidTimestamp`."""
    moment = Timestamp.of(value)
    return TimestampMessage(seconds=moment.seconds, nanos=moment.nanos)
