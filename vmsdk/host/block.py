"""Blocks as a VM reports them to a node, with a node's checks of the VM's responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp as TimestampPB
from typing_extensions import Self

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.errors import InvalidInput, StateSyncNotImplemented
from vmsdk.host.errors import CallFailed, InvalidResponse
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

_SENTINEL_TEXTS = {
    pb.ERROR_CLOSED: "closed",
    pb.ERROR_NOT_FOUND: "not found",
    pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED: str(StateSyncNotImplemented()),
}


@dataclass(frozen=True)
class Block:
    """A block as the VM reported it."""

    id: ID
    parent_id: ID
    height: int
    timestamp: Timestamp
    raw: bytes
    verify_with_context: bool = False
    """Whether the VM needs the P-chain height to verify the block."""
    status: int | None = None
    """Protocol 35 only: 1 processing, 2 rejected, 3 accepted."""

    def __repr__(self) -> str:
        return f"<Block {self.height} {self.id}>"

    @classmethod
    def last_accepted(cls, method: str, response: pb.InitializeResponse | pb.SetStateResponse) -> Self:
        """Make the last accepted block from the response to Initialize or SetState."""
        return cls(
            id=check_id(method, response.last_accepted_id),
            parent_id=check_id(method, response.last_accepted_parent_id),
            height=response.height,
            timestamp=check_timestamp(method, response),
            raw=response.bytes,
            status=pb.STATUS_ACCEPTED,
        )

    @classmethod
    def built(cls, response: pb.BuildBlockResponse) -> Self:
        """Make the block from the response to BuildBlock."""
        return cls._of("BuildBlock", response, response.id, response.bytes, pb.STATUS_PROCESSING)

    @classmethod
    def parsed(cls, method: str, response: pb.ParseBlockResponse, data: bytes) -> Self:
        """Make the block from the response to ParseBlock, or from one item of BatchedParseBlock."""
        return cls._of(method, response, response.id, data, response.status)

    @classmethod
    def found(cls, response: pb.GetBlockResponse, asked: ID) -> Self | None:
        """Make the block from the response to GetBlock, or None if the VM does not have it."""
        if is_not_found("GetBlock", response.err):
            return None
        return cls._of("GetBlock", response, asked, response.bytes, response.status)

    @classmethod
    def _of(
        cls,
        method: str,
        response: pb.BuildBlockResponse | pb.ParseBlockResponse | pb.GetBlockResponse,
        block_id: bytes,
        raw: bytes,
        status: int,
    ) -> Self:
        return cls(
            id=check_id(method, block_id),
            parent_id=check_id(method, response.parent_id),
            height=response.height,
            timestamp=check_timestamp(method, response),
            raw=raw,
            verify_with_context=response.verify_with_context,
            status=status,
        )


def check_id(method: str, value: bytes) -> ID:
    """Return the ID in a response. Raises `InvalidResponse` unless it has 32 bytes."""
    try:
        return ID(value)
    except InvalidInput as error:
        raise InvalidResponse(method, str(error)) from None


def check_timestamp(method: str, message: _Timed) -> Timestamp:
    """Return the time in a response. Raises `InvalidResponse` if it is absent or out of range."""
    if not message.HasField("timestamp"):
        raise InvalidResponse(method, "invalid timestamp: proto: invalid nil Timestamp")
    value: TimestampPB = message.timestamp
    try:
        return Timestamp(value.seconds, value.nanos)
    except InvalidInput as error:
        raise InvalidResponse(method, str(error)) from None


def is_not_found(method: str, error: int) -> bool:
    """Whether *error* is NOT_FOUND. Raises `CallFailed` if it is any other error."""
    if error == pb.ERROR_UNSPECIFIED:
        return False
    if error == pb.ERROR_NOT_FOUND:
        return True
    raise sentinel(method, error)


def sentinel(method: str, error: int) -> CallFailed:
    """Return the exception for an `err` number in a response."""
    if error not in _SENTINEL_TEXTS:
        # A node ignores such a number and continues with an empty value.
        return InvalidResponse(method, f"unknown error number {error}")
    return CallFailed(method, "OK", _SENTINEL_TEXTS[pb.Error.ValueType(error)])
