"""Converts between the node's messages and an author's objects, and checks every value."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypedDict, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp as TimestampMessage

from vmsdk.block import Block
from vmsdk.errors import InvalidInput, VMError
from vmsdk.ids import ID, NodeID
from vmsdk.statesync import StateSummary
from vmsdk.timestamp import Timestamp

MAX_HEIGHT = 2**64 - 1

T = TypeVar("T")
R = TypeVar("R")


class InvalidRequest(VMError):
    """The node's request violates the protocol. The text is the node's own if it has one."""


# From the node -----------------------------------------------------------------------------------


def identifier(raw: bytes) -> ID:
    """An ID of exactly 32 bytes. Raises `InvalidRequest` with the node's own text."""
    try:
        return ID(raw)
    except InvalidInput as error:
        raise InvalidRequest(str(error)) from None


def node_identifier(raw: bytes) -> NodeID:
    """A node ID of exactly 20 bytes. Raises `InvalidRequest` with the node's own text."""
    try:
        return NodeID(raw)
    except InvalidInput as error:
        raise InvalidRequest(str(error)) from None


def moment(message: TimestampMessage) -> Timestamp:
    """A time within the years 1 to 9999. Raises `InvalidRequest`."""
    try:
        return Timestamp(message.seconds, message.nanos)
    except InvalidInput as error:
        raise InvalidRequest(str(error)) from None


# From an author's methods -------------------------------------------------------------------------


def unusable(what: str, value: object, rule: str) -> VMError:
    """The error for an author's *value*, and the *rule* that it breaks."""
    return VMError(f"{what} {shown(value)}: it must {rule}")


def block(method: str, value: object, otherwise: str = "NotFound") -> Block:
    """Return *value*, which *method* returned, if it is a block. Raises `VMError`."""
    if not isinstance(value, Block):
        raise unusable(f"{method} returned", value, f"return a vmsdk.Block, or raise {otherwise}")
    return value


def summary(method: str, value: object, otherwise: str = "NotFound") -> StateSummary:
    """Return *value*, which *method* returned, if it is a summary. Raises `VMError`."""
    if not isinstance(value, StateSummary):
        raise unusable(f"{method} returned", value, f"return a vmsdk.StateSummary, or raise {otherwise}")
    return value


def block_id(method: str, value: object, otherwise: str = "NotFound") -> ID:
    """Return *value*, which *method* returned, as an ID. Raises `VMError` unless it is 32 bytes."""
    if isinstance(value, bytes) and len(value) == ID.LENGTH:
        return ID(value)
    rule = "return an ID of 32 bytes" + (f", or raise {otherwise}" if otherwise else "")
    raise unusable(f"{method} returned", value, rule)


def truth(method: str, value: object) -> bool:
    """Whether *value*, which *method* returned, is true. Raises `VMError` for None, functions,
    generators and coroutines.
    """
    if value is None or callable(value) or hasattr(value, "__next__") or hasattr(value, "__await__"):
        raise unusable(f"{method} returned", value, "return True or False")
    return bool(value)


def found(method: str, function: Callable[[T], R], key: T) -> R:
    """Return `function(key)`. Raises `VMError` for a `LookupError` that isn't `NotFound`, but which
    the author may have confused with it.
    """
    try:
        return function(key)
    except VMError:
        raise
    except LookupError as error:
        kind = type(error).__name__
        raise VMError(
            f"{method} raised {kind}: {error}. If nothing is found, raise vmsdk.NotFound"
        ) from error


def call(method: str, function: Callable[..., object], *arguments: object) -> None:
    """Call *function*, which must return None. Raises `VMError` if it doesn't."""
    value = function(*arguments)
    if value is not None:
        raise unusable(f"{method} returned", value, "return None, and raise an exception to refuse")


# From an author's blocks and summaries ------------------------------------------------------------


class LastAcceptedFields(TypedDict):
    """The last accepted block in the responses to Initialize and SetState."""

    last_accepted_id: bytes
    last_accepted_parent_id: bytes
    height: int
    bytes: bytes
    timestamp: TimestampMessage


def last_accepted_fields(block: Block) -> LastAcceptedFields:
    """*block* as the last accepted one. Raises `VMError` if an attribute is unusable."""
    return {
        "last_accepted_id": own_id(block),
        "last_accepted_parent_id": parent_id(block),
        "height": height(block),
        "bytes": content(block),
        "timestamp": timestamp(block),
    }


def own_id(thing: Block | StateSummary) -> bytes:
    """The ID of a block or a summary: 32 bytes. Raises `VMError`."""
    return _id(thing, "id")


def parent_id(block: Block) -> bytes:
    """The parent's ID: 32 bytes. Raises `VMError`."""
    return _id(block, "parent_id", " (of a genesis block: vmsdk.ID.EMPTY)")


def height(thing: Block | StateSummary) -> int:
    """The height of a block or a summary: 64 bits, unsigned. Raises `VMError`."""
    value = _attribute(thing, "height", rule := "be a whole number from 0 to 2**64 - 1")
    if not isinstance(value, int) or not 0 <= value <= MAX_HEIGHT:
        raise unusable(f"{type(thing).__name__}.height is", value, rule)
    return value


def content(thing: Block | StateSummary) -> bytes:
    """The bytes of a block or a summary. Raises `VMError`: protobuf would encode None as empty."""
    value = _attribute(thing, "raw", rule := "be bytes")
    if not isinstance(value, bytes):
        raise unusable(f"{type(thing).__name__}.raw is", value, rule)
    return value


def timestamp(block: Block) -> TimestampMessage:
    """The block's time, present in a response even at 1970-01-01. Raises like `moment_of`."""
    at = moment_of(block)
    return TimestampMessage(seconds=at.seconds, nanos=at.nanos)


def moment_of(block: Block) -> Timestamp:
    """The block's time. Raises `InvalidInput` for a number out of range, which may come from a
    peer, and `VMError` for anything else.
    """
    rule = "be a Timestamp, a datetime with a time zone, or an int of Unix seconds"
    value: Any = _attribute(block, "timestamp", rule)
    try:
        return Timestamp.of(value)
    except InvalidInput as error:
        if isinstance(value, int):
            raise InvalidInput(f"{type(block).__name__}.timestamp", str(error)) from None
        raise unusable(f"{type(block).__name__}.timestamp is", value, rule) from None


def _id(thing: object, name: str, cure: str = "") -> bytes:
    value = _attribute(thing, name, rule := f"be 32 bytes, an ID{cure}")
    if not isinstance(value, bytes) or len(value) != ID.LENGTH:
        raise unusable(f"{type(thing).__name__}.{name} is", value, rule)
    return value


def _attribute(thing: object, name: str, rule: str) -> object:
    try:
        return getattr(thing, name)
    except AttributeError:
        if hasattr(type(thing), name):  # a property that failed: its own error says more
            raise
        if name == "raw" and hasattr(thing, "bytes"):
            rule += ", and is not called `bytes`"
        raise VMError(f"{type(thing).__name__}.{name} is missing: it must {rule}") from None


def shown(value: object) -> str:
    """*value* for an error's text, cut to 100 characters."""
    if isinstance(value, bytes):
        return str(value) if isinstance(value, ID) else f"{len(value)} bytes"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - an author's __repr__ may do anything
        text = f"a {type(value).__name__}"
    text = re.sub(r" at 0x[0-9a-f]+", "", text)
    return text if len(text) <= 100 else text[:97] + "..."
