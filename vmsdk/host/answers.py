"""The node's checks of what a VM answers."""

from __future__ import annotations

from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp as TimestampPB

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.errors import InvalidHashLength, InvalidTimestamp, StateSyncNotImplemented
from vmsdk.host.block import Block
from vmsdk.host.errors import CallFailed, InvalidAnswer
from vmsdk.ids import ID
from vmsdk.timestamp import Timestamp

_Timed: TypeAlias = (
    pb.InitializeResponse
    | pb.SetStateResponse
    | pb.BuildBlockResponse
    | pb.ParseBlockResponse
    | pb.GetBlockResponse
    | pb.BlockVerifyResponse
)

_TEXTS = {
    pb.ERROR_CLOSED: "closed",
    pb.ERROR_NOT_FOUND: "not found",
    pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED: str(StateSyncNotImplemented()),
}


def block_id(method: str, value: bytes) -> ID:
    """The ID in an answer. Raises `InvalidAnswer` unless it is 32 bytes."""
    try:
        return ID(value)
    except InvalidHashLength as error:
        raise InvalidAnswer(method, str(error)) from None


def timestamp(method: str, message: _Timed) -> Timestamp:
    """The time in an answer. Raises `InvalidAnswer` if it is absent or out of range."""
    if not message.HasField("timestamp"):
        raise InvalidAnswer(method, "invalid timestamp: proto: invalid nil Timestamp")
    value: TimestampPB = message.timestamp
    try:
        return Timestamp(value.seconds, value.nanos)
    except InvalidTimestamp as error:
        raise InvalidAnswer(method, str(error)) from None


def last_accepted(method: str, answer: pb.InitializeResponse | pb.SetStateResponse) -> Block:
    """The last accepted block in the answer to Initialize or SetState."""
    return Block(
        id=block_id(method, answer.last_accepted_id),
        parent_id=block_id(method, answer.last_accepted_parent_id),
        height=answer.height,
        timestamp=timestamp(method, answer),
        raw=answer.bytes,
        status=pb.STATUS_ACCEPTED,
    )


def built(answer: pb.BuildBlockResponse) -> Block:
    """The block in the answer to BuildBlock."""
    return Block(
        id=block_id("BuildBlock", answer.id),
        parent_id=block_id("BuildBlock", answer.parent_id),
        height=answer.height,
        timestamp=timestamp("BuildBlock", answer),
        raw=answer.bytes,
        verify_with_context=answer.verify_with_context,
        status=pb.STATUS_PROCESSING,
    )


def parsed(method: str, answer: pb.ParseBlockResponse, data: bytes) -> Block:
    """The block in the answer to ParseBlock, or in one part of the answer to BatchedParseBlock."""
    return Block(
        id=block_id(method, answer.id),
        parent_id=block_id(method, answer.parent_id),
        height=answer.height,
        timestamp=timestamp(method, answer),
        raw=data,
        verify_with_context=answer.verify_with_context,
        status=answer.status,
    )


def found(answer: pb.GetBlockResponse, asked: ID) -> Block | None:
    """The block in the answer to GetBlock; None if the VM says that it is missing."""
    if is_not_found("GetBlock", answer.err):
        return None
    return Block(
        id=asked,
        parent_id=block_id("GetBlock", answer.parent_id),
        height=answer.height,
        timestamp=timestamp("GetBlock", answer),
        raw=answer.bytes,
        verify_with_context=answer.verify_with_context,
        status=answer.status,
    )


def is_not_found(method: str, error: int) -> bool:
    """Whether *error* is NOT_FOUND; False for none. Raises `CallFailed` for any other."""
    if error == pb.ERROR_UNSPECIFIED:
        return False
    if error == pb.ERROR_NOT_FOUND:
        return True
    raise sentinel(method, error)


def sentinel(method: str, error: int) -> CallFailed:
    """The error that an `err` number in an answer stands for."""
    if error not in _TEXTS:
        # A node would take this for "no error, no value", and go on with nothing.
        return InvalidAnswer(method, f"unknown error number {error}")
    return CallFailed(method, "OK", _TEXTS[pb.Error.ValueType(error)])
