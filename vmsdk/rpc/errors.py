"""The one map from exceptions to the wire."""

from __future__ import annotations

import grpc

from vmsdk._pb.vm import vm_pb2
from vmsdk.errors import Closed, NodeError, NotFound, StateSyncNotImplemented

# A status text travels in an HTTP/2 header, where peers made with gRPC's C core take no more than 8 KiB, and
# each byte that is not printable ASCII takes three.
MAX_DETAILS_BYTES = 4_096
_CUT = "..."

_SENTINELS: tuple[tuple[type[Exception], vm_pb2.Error.ValueType], ...] = (
    (Closed, vm_pb2.ERROR_CLOSED),
    (NotFound, vm_pb2.ERROR_NOT_FOUND),
    (StateSyncNotImplemented, vm_pb2.ERROR_STATE_SYNC_NOT_IMPLEMENTED),
)
SENTINELS = tuple(kind for kind, _ in _SENTINELS)
"""What a method with an `err` field tells as a number in an OK answer, wherever it was raised.

An exception that is merely raised *from* one of these is not one of them, as with the node's own hosts.
"""


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
    raw = (text_of(error) or type(error).__name__).encode("utf-8", "replace")
    used = fitting = 0
    for length, byte in enumerate(raw, start=1):
        # Source: Percent-Encoded in the protocol of gRPC over HTTP/2.
        used += 1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3
        if used > MAX_DETAILS_BYTES:
            return raw[:fitting].decode("utf-8", "ignore") + _CUT
        if used <= MAX_DETAILS_BYTES - len(_CUT):
            fitting = length
    return raw.decode("utf-8")


def text_of(error: BaseException) -> str:
    """What *error* says; empty when its `__str__` fails."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - an author's __str__ may do anything; the call must be answered
        return ""
