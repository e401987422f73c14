"""An author's blocks and summaries as the fields of the node's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from google.protobuf.timestamp_pb2 import Timestamp as TimestampMessage

from vmsdk.ids import ID
from vmsdk.rpc.blockmemory import BlockMemory
from vmsdk.rpc.returned import Unusable
from vmsdk.timestamp import Timestamp, TimestampLike

if TYPE_CHECKING:
    from vmsdk.block import Block
    from vmsdk.statesync import StateSummary

MAX_HEIGHT = 2**64 - 1


class LastAcceptedFields(TypedDict):
    """What Initialize and SetState tell of the last accepted block."""

    last_accepted_id: bytes
    last_accepted_parent_id: bytes
    height: int
    bytes: bytes
    timestamp: TimestampMessage


def last_accepted_fields(blocks: BlockMemory) -> LastAcceptedFields:
    """The last accepted block as the VM knows it now. Raises `Unusable`."""
    block = blocks.load_last_accepted()
    return {
        "last_accepted_id": own_id(block),
        "last_accepted_parent_id": parent_id(block),
        "height": height(block),
        "bytes": content(block),
        "timestamp": timestamp(block.timestamp),
    }


def own_id(thing: Block | StateSummary) -> bytes:
    """The ID of a block or a summary: 32 bytes. Raises `Unusable`."""
    value = thing.id
    if not isinstance(value, bytes) or len(value) != ID.LENGTH:
        raise _unusable(thing, "id", value, "be 32 bytes, an ID")
    return value


def parent_id(block: Block) -> bytes:
    """The parent's ID: 32 bytes. Raises `Unusable`."""
    value = block.parent_id
    if not isinstance(value, bytes) or len(value) != ID.LENGTH:
        raise _unusable(block, "parent_id", value, "be 32 bytes, an ID")
    return value


def height(thing: Block | StateSummary) -> int:
    """The height of a block or a summary: 64 bits, unsigned. Raises `Unusable`."""
    value = thing.height
    if not isinstance(value, int) or not 0 <= value <= MAX_HEIGHT:
        raise _unusable(thing, "height", value, "be a whole number from 0 to 2**64 - 1")
    return value


def content(thing: Block | StateSummary) -> bytes:
    """The bytes of a block or a summary. Raises `Unusable`: protobuf would take None for none at all."""
    value = thing.raw
    if not isinstance(value, bytes):
        raise _unusable(thing, "raw", value, "be bytes")
    return value


def timestamp(value: TimestampLike) -> TimestampMessage:
    """A time as a message, which is present in an answer even at 1970-01-01. Raises `InvalidTimestamp`."""
    moment = Timestamp.of(value)
    return TimestampMessage(seconds=moment.seconds, nanos=moment.nanos)


def _unusable(thing: object, attribute: str, value: object, rule: str) -> Unusable:
    return Unusable(f"{type(thing).__name__}.{attribute} is", value, rule)
