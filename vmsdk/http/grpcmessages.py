"""Messages of gRPC in a request's body: five bytes of flag and length before each.

Source: the gRPC project's PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import zlib

_PREFIX_BYTES = 5
# What zlib calls a gzip header, and either of zlib's own and none.
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

ENCODINGS = ("identity", "deflate", "gzip")
"""The compressions of a request that are understood."""


class MessageRefused(Exception):
    """A message that is not taken. *code* is gRPC's."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        super().__init__(reason)


RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12
INTERNAL = 13


def frame(payload: bytes) -> bytes:
    """One message, uncompressed."""
    return b"\0" + len(payload).to_bytes(4, "big") + payload


class MessageReader:
    """Finds the messages in the parts of a body. Raises `MessageRefused`."""

    def __init__(self, encoding: str, max_bytes: int) -> None:
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that *data* completes."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= _PREFIX_BYTES:
            size = int.from_bytes(self._buffer[1:_PREFIX_BYTES], "big")
            self._check_size(size)
            if len(self._buffer) < _PREFIX_BYTES + size:
                break
            payload = bytes(self._buffer[_PREFIX_BYTES : _PREFIX_BYTES + size])
            messages.append(self._inflate(payload) if self._buffer[0] else payload)
            del self._buffer[: _PREFIX_BYTES + size]
        return messages

    def end(self) -> None:
        """The body has ended."""
        if self._buffer:
            raise MessageRefused(INTERNAL, "the request ends within a message")

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            reason = f"Received message larger than max ({size} vs. {self._max_bytes})"
            raise MessageRefused(RESOURCE_EXHAUSTED, reason)

    def _inflate(self, payload: bytes) -> bytes:
        bits = _WINDOW_BITS.get(self._encoding)
        if bits is None:
            reason = f"a message is compressed by {self._encoding!r}: understood are {', '.join(ENCODINGS)}"
            raise MessageRefused(UNIMPLEMENTED, reason)
        inflate = zlib.decompressobj(bits)
        try:
            message = inflate.decompress(payload, self._max_bytes + 1)
        except zlib.error as error:
            raise MessageRefused(INTERNAL, f"a compressed message is broken: {error}") from None
        self._check_size(len(message))
        return message
