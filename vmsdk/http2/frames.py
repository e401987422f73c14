"""Frames, and what gRPC puts into them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Iterator, Sequence

from vmsdk.http2.hpack import Header

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES = 9
FRAME_BYTES = 16 << 10
"""The longest payload, until the other side allows more. Source: RFC 9113, 4.2."""
DEFAULT_WINDOW_BYTES = (1 << 16) - 1
MAX_WINDOW_BYTES = (1 << 31) - 1
"""How much may be sent before the receiver says that it has read some. Source: RFC 9113, 6.9."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)

END_STREAM = ACK = 0x1
END_HEADERS, PADDED, HAS_PRIORITY = 0x4, 0x8, 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(5, 10)
ENHANCE_YOUR_CALM = 0xB

HEADER_TABLE_SIZE, ENABLE_PUSH = 0x1, 0x2
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 0x4, 0x5, 0x6

MAX_TEXT_BYTES = 4 << 10
"""The longest text of a status. Escaped, a byte becomes three."""

STREAM_BITS = (1 << 31) - 1
"""The bits in use of a stream's number or a window's increment, which have four bytes."""

head = struct.Struct(">HBBBI")
"""A frame's length in two parts, its type, its flags, and its stream."""
setting = struct.Struct(">HI")
message_head = struct.Struct(">BI")
"""Before each message of gRPC: whether it is compressed, and its length."""


class Fault(Exception):
    """The other side has broken HTTP/2. The connection ends with the error *code*."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes | memoryview) -> bytes:
    """A frame."""
    length = len(payload)
    return b"".join((head.pack(length >> 8, length & 0xFF, kind, flags, stream), payload))


def number(value: int) -> bytes:
    """The payload of RST_STREAM and WINDOW_UPDATE."""
    return value.to_bytes(4, "big")


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(setting.pack(*each) for each in values))


def without_padding(payload: bytes) -> bytes:
    """*payload* without its padding. Raises `Fault` if there is more padding than payload."""
    if not payload or payload[0] >= len(payload):
        raise Fault(PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]


# gRPC ---------------------------------------------------------------------------------------------


def metadata(headers: Iterable[Header]) -> Iterator[tuple[str, str | bytes]]:
    """The headers other than HTTP's own. If a name ends in `-bin`, its value is bytes."""
    for name, value in headers:
        if name.endswith(b"-bin"):
            yield name.decode("latin-1"), base64.b64decode(value + b"=" * (-len(value) % 4))
        elif not name.startswith(b":"):
            yield name.decode("latin-1"), value.decode("latin-1")


def trailers(code: int, text: bytes, extra: Sequence[tuple[str, str | bytes]] | None) -> list[Header]:
    """The trailers of a call: its status, with *extra* metadata.

    They must fit into one frame, so a long *text* is cut.
    """
    found = [(b"grpc-status", b"%d" % code)]
    if text:
        found.append((b"grpc-message", _percent_encoded(text[:MAX_TEXT_BYTES])))
    for name, value in extra or ():
        data = value.encode() if isinstance(value, str) else bytes(value)
        if name.endswith("-bin"):
            data = base64.b64encode(data).rstrip(b"=")
        found.append((name.lower().encode(), data))
    return found


def _percent_encoded(text: bytes) -> bytes:
    return b"".join(_ESCAPED[byte] for byte in text)


_ESCAPED = [
    bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in range(256)
]
