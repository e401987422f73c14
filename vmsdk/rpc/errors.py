"""The one map from exceptions to the wire."""

from __future__ import annotations

import grpc

from vmsdk._pb.vm import vm_pb2
from vmsdk.errors import Closed, InvalidBlock, NodeError, NotFound, NothingToBuild, StateSyncNotImplemented

# A status text travels in an HTTP/2 header, percent-encoded; peers refuse headers over 8 KiB.
MAX_DETAILS_BYTES = 4_096

_SENTINELS: tuple[tuple[type[Exception], vm_pb2.Error.ValueType], ...] = (
    (Closed, vm_pb2.ERROR_CLOSED),
    (NotFound, vm_pb2.ERROR_NOT_FOUND),
    (StateSyncNotImplemented, vm_pb2.ERROR_STATE_SYNC_NOT_IMPLEMENTED),
)
SENTINELS = tuple(kind for kind, _ in _SENTINELS)
"""What a method with an `err` field tells as a number in an OK answer, wherever it was raised.

An exception that is merely raised *from* one of these is not one of them, as with the node's own hosts.
"""

ANSWERS = (InvalidBlock, NothingToBuild)
"""Ordinary outcomes, worth a debug line."""


def sentinel_number(error: BaseException) -> vm_pb2.Error.ValueType:
    """The `vm.Error` number of a sentinel. Raises *error* itself when it is none."""
    for kind, number in _SENTINELS:
        if isinstance(error, kind):
            return number
    raise error


def status(error: BaseException) -> tuple[grpc.StatusCode, str]:
    """The gRPC status that tells *error* to the node.

    Unknown with the error's text, as a Go VM says it; a failed call to the node keeps its code.
    """
    code = grpc.StatusCode.UNKNOWN
    if isinstance(error, NodeError):
        code = grpc.StatusCode.__members__.get(error.code, code)
        if code is grpc.StatusCode.OK:
            code = grpc.StatusCode.UNKNOWN
    return code, details(error)


def details(error: BaseException) -> str:
    """The text of *error*, cut to what a header can carry; the kind of error when it has no text."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an author's __str__ may do anything; the call must be answered
        text = ""
    text = text or type(error).__name__
    raw = text.encode("utf-8", "replace")
    if len(raw) <= MAX_DETAILS_BYTES:
        return raw.decode("utf-8")
    return raw[: MAX_DETAILS_BYTES - 3].decode("utf-8", "ignore") + "..."
