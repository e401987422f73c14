"""Strict decoding of what the node sends."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp as TimestampMessage

from vmsdk.errors import InvalidHashLength, InvalidTimestamp
from vmsdk.ids import ID, NodeID
from vmsdk.rpc.dispatch import InvalidRequest
from vmsdk.timestamp import Timestamp


def identifier(raw: bytes) -> ID:
    """An ID of exactly 32 bytes. Raises `InvalidRequest` with the node's own text."""
    try:
        return ID(raw)
    except InvalidHashLength as error:
        raise InvalidRequest(str(error)) from None


def node_identifier(raw: bytes) -> NodeID:
    """A node ID of exactly 20 bytes. Raises `InvalidRequest` with the node's own text."""
    try:
        return NodeID(raw)
    except InvalidHashLength as error:
        raise InvalidRequest(str(error)) from None


def timestamp(message: TimestampMessage) -> Timestamp:
    """A time within the years 1 to 9999. Raises `InvalidRequest`."""
    try:
        return Timestamp(message.seconds, message.nanos)
    except InvalidTimestamp as error:
        raise InvalidRequest(str(error)) from None
