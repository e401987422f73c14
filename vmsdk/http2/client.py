"""The client's side of a connection, which carries one call at a time."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

from vmsdk.http2 import frames
from vmsdk.http2.frames import (
    ACK,
    DEFAULT_WINDOW_BYTES,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    HEAD_BYTES,
    MAX_WINDOW_BYTES,
    PREFACE,
    Fault,
    frame,
)
from vmsdk.http2.hpack import MAX_LIST_BYTES, Decoder, Header

READ_BYTES = 64 << 10
SEND_BYTES = 256 << 10
"""How much of a long request is sent in one piece."""
REFILL_BYTES = MAX_WINDOW_BYTES // 2
"""After how much data the server may send as much more on the connection."""
MAX_BLOCK_BYTES = 64 << 10
"""The encoded headers of a response."""
MAX_EMPTY_FRAMES = 1_000
"""Frames of a call in a row that bring nothing."""

# Windows lacks this flag.
_DONT_WAIT: int | None = getattr(socket, "MSG_DONTWAIT", None)

_GREETING = (
    PREFACE
    + frames.settings(
        [
            (frames.HEADER_TABLE_SIZE, 0),
            (frames.ENABLE_PUSH, 0),
            (frames.INITIAL_WINDOW_SIZE, MAX_WINDOW_BYTES),
            (frames.MAX_HEADER_LIST_SIZE, MAX_LIST_BYTES),
        ]
    )
    + frame(frames.WINDOW_UPDATE, 0, 0, frames.number(MAX_WINDOW_BYTES - DEFAULT_WINDOW_BYTES))
)


class Gone(Exception):
    """The connection has ended before the response has: the server may have executed the call."""


class Unprocessed(Exception):
    """The server has not executed the call, and will not: it may be repeated."""


class Reset(Exception):
    """The server has ended the call without a response."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the server ended the call with HTTP/2's code {code:#x}")
        self.code = code


class ClientConnection:
    """A connection to a server. Not thread-safe: its calls are made one after the other.

    Takes over *sock*, which is connected. Its methods raise `Fault` or `HPACKError` when the server
    breaks HTTP/2, and `OSError`; the connection is of no use then, nor after `Gone`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._decoder = Decoder()
        self._unread = b""
        self._at = 0
        self._taken_bytes = 0
        self._empty_frames = 0
        self._window = DEFAULT_WINDOW_BYTES
        self._initial_window = DEFAULT_WINDOW_BYTES
        self._frame_bytes = FRAME_BYTES
        self._is_greeted = False
        self._block: tuple[int, int, bytearray] | None = None
        self._last_stream: int | None = None
        # The call.
        self._stream = -1
        self._stream_window = 0
        self._headers: tuple[Header, ...] | None = None
        self._trailers: tuple[Header, ...] | None = None
        self._data: list[bytes] = []
        self._is_ended = True
        self._is_sent = True
        self.is_unread = False
        """Whether a request is sent whose response nobody waits for yet."""

    def greet(self) -> None:
        """Exchange the settings. Raises `Gone` if the server leaves before it has sent its own."""
        self._socket.sendall(_GREETING)
        while not self._is_greeted:
            self._wait()

    def is_usable(self) -> bool:
        """Take what has arrived since the last call, and tell whether there may be another one."""
        if not self._is_ended or not self._is_sent or self._stream > frames.STREAM_BITS - 2:
            return False
        try:
            while self._last_stream is None:
                if _DONT_WAIT is None and not select.select([self._socket], [], [], 0)[0]:
                    return True
                self._wait(_DONT_WAIT or 0)
        except BlockingIOError:
            return self._last_stream is None
        except (OSError, ValueError, Fault, Gone):
            pass
        return False

    def request(self, block: bytes, message: bytes) -> None:
        """Begin a call with the headers in *block* and send *message*.

        Raises `Unprocessed` if the connection ends before all is sent.
        """
        self._stream += 2
        self._stream_window = self._initial_window
        self._headers = self._trailers = None
        self._data = []
        self._empty_frames = 0
        self._is_ended = self._is_sent = False
        head = frame(frames.HEADERS, END_HEADERS, self._stream, block)
        data = frames.message_head.pack(0, len(message)) + message
        try:
            if len(data) <= min(self._window, self._stream_window, self._frame_bytes):
                self._window -= len(data)
                self._socket.sendall(head + frame(frames.DATA, END_STREAM, self._stream, data))
                self._is_sent = True
            else:
                self._socket.sendall(head)
                self._send(memoryview(data))
        except (ConnectionError, Gone) as error:
            raise Unprocessed(f"the connection ended before the request was sent ({error})") from None
        self.is_unread = True

    def _send(self, left: memoryview) -> None:
        # It reads only when there is no room. A server that stopped reading until the client reads
        # would wait for ever, but until it has the request it sends a few frames of a few bytes,
        # which the socket's buffer holds; and the node's server reads and writes in two goroutines.
        while left:
            pieces = []
            size = 0
            while left and size < SEND_BYTES:
                room = min(len(left), self._window, self._stream_window, self._frame_bytes)
                if room <= 0:
                    break
                self._window -= room
                self._stream_window -= room
                flags = END_STREAM if room == len(left) else 0
                pieces.append(frame(frames.DATA, flags, self._stream, left[:room]))
                left = left[room:]
                size += room
            if pieces:
                self._socket.sendall(b"".join(pieces))
            elif not self._is_ended:
                self._wait()
            if self._is_ended:
                return  # the server answers without the rest; this was the connection's last call
        self._is_sent = True

    def response(self) -> tuple[tuple[Header, ...], tuple[Header, ...], bytes]:
        """Wait for the response: its headers, its trailers, and its data.

        Raises `Unprocessed`, `Reset` or `Gone`.
        """
        self.is_unread = False
        while not self._is_ended:
            self._wait()
        data = self._data[0] if len(self._data) == 1 else b"".join(self._data)
        self._data = []
        return self._headers or (), self._trailers or (), data

    def shut_down(self) -> None:
        """Wake the thread that waits for this connection, whose wait fails. Any thread may call."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it isn't connected

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._socket.close()

    __del__ = close

    # Receiving ------------------------------------------------------------------------------------

    def _wait(self, flags: int = 0) -> None:
        """Take at least some bytes, and the frames that are whole with them."""
        data = self._socket.recv(READ_BYTES, flags)
        if not data:
            raise Gone("the server closed the connection")
        self._unread = self._unread[self._at :] + data if self._at < len(self._unread) else data
        self._at = 0
        for kind, flags, stream, payload in self._frames():
            self._take(kind, flags, stream, payload)

    def _frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        while len(self._unread) - self._at >= HEAD_BYTES:
            high, low, kind, flags, stream = frames.head.unpack_from(self._unread, self._at)
            length = high << 8 | low
            if not self._is_greeted and (kind != frames.SETTINGS or flags or length % 6):
                raise Fault(frames.PROTOCOL_ERROR, f"it begins with {self._unread[self._at :][:24]!r}")
            if length > FRAME_BYTES:
                raise Fault(
                    frames.FRAME_SIZE_ERROR, f"a frame of {length} bytes, where {FRAME_BYTES} are allowed"
                )
            end = self._at + HEAD_BYTES + length
            if len(self._unread) < end:
                return
            payload = self._unread[self._at + HEAD_BYTES : end]
            self._at = end
            yield kind, flags, stream & frames.STREAM_BITS, payload

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and kind != frames.CONTINUATION:
            raise Fault(frames.PROTOCOL_ERROR, "a frame amid headers")
        if kind == frames.DATA:
            self._take_data(flags, stream, payload)
        elif kind == frames.HEADERS:
            self._take_headers(flags, stream, payload)
        elif kind == frames.CONTINUATION:
            self._take_continuation(flags, stream, payload)
        elif kind == frames.RST_STREAM:
            _expect_length(kind, payload, 4)
            if stream == self._stream and not self._is_ended:
                self._take_reset(int.from_bytes(payload, "big"))
        elif kind == frames.WINDOW_UPDATE:
            self._take_window(stream, payload)
        elif kind == frames.PING:
            _expect_length(kind, payload, 8)
            if not flags & ACK:
                self._acknowledge(frame(frames.PING, ACK, 0, payload))
        elif kind == frames.SETTINGS:
            self._take_settings(flags, stream, payload)
        elif kind == frames.GOAWAY:
            self._take_goaway(payload)
        elif kind == frames.PUSH_PROMISE:
            raise Fault(frames.PROTOCOL_ERROR, "a push, which is forbidden")

    def _acknowledge(self, data: bytes) -> None:
        # A server that has closed the connection may have sent the whole response before; if not,
        # the next read fails.
        with suppress(OSError):
            self._socket.sendall(data)

    def _take_data(self, flags: int, stream: int, payload: bytes) -> None:
        self._taken_bytes += len(payload)
        if self._taken_bytes >= REFILL_BYTES:
            self._acknowledge(frame(frames.WINDOW_UPDATE, 0, 0, frames.number(self._taken_bytes)))
            self._taken_bytes = 0
        if flags & frames.PADDED:
            payload = frames.without_padding(payload)
        if stream != self._stream or self._is_ended:
            raise Fault(frames.PROTOCOL_ERROR, f"data of stream {stream}, where there is no call")
        if self._headers is None:
            raise Fault(frames.PROTOCOL_ERROR, "data before the headers")
        if payload:
            self._data.append(payload)
        else:
            self._count_empty()
        if flags & END_STREAM:
            self._is_ended = True

    def _take_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & frames.PADDED:
            payload = frames.without_padding(payload)
        if flags & frames.HAS_PRIORITY:
            payload = payload[5:]
        if flags & END_HEADERS:
            self._take_block(flags, stream, payload)
        else:
            self._block = (stream, flags, bytearray(payload))

    def _take_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream:
            raise Fault(frames.PROTOCOL_ERROR, "a continuation of nothing")
        _, first_flags, block = self._block
        block += payload
        if not payload:
            self._count_empty()
        if len(block) > MAX_BLOCK_BYTES:
            raise Fault(frames.ENHANCE_YOUR_CALM, f"headers of more than {MAX_BLOCK_BYTES} bytes")
        if flags & END_HEADERS:
            self._block = None
            self._take_block(first_flags, stream, bytes(block))

    def _take_block(self, flags: int, stream: int, block: bytes) -> None:
        headers = self._decoder.decode(block)
        if stream != self._stream or self._is_ended:
            raise Fault(frames.PROTOCOL_ERROR, f"headers of stream {stream}, where there is no call")
        is_last = bool(flags & END_STREAM)
        if self._headers is None:
            if not is_last and any(name == b":status" and value[:1] == b"1" for name, value in headers):
                self._count_empty()
                return  # only for information: the response's own headers follow
            self._headers = headers
        elif not is_last:
            raise Fault(frames.PROTOCOL_ERROR, "headers in the middle of a message")
        if is_last:
            self._trailers = headers
            self._is_ended = True

    def _count_empty(self) -> None:
        self._empty_frames += 1
        if self._empty_frames > MAX_EMPTY_FRAMES:
            raise Fault(frames.ENHANCE_YOUR_CALM, f"more than {MAX_EMPTY_FRAMES} frames without content")

    def _take_reset(self, code: int) -> None:
        self._is_ended = True
        if code == frames.REFUSED_STREAM:
            raise Unprocessed("the server refused the call")
        raise Reset(code)

    def _take_window(self, stream: int, payload: bytes) -> None:
        _expect_length(frames.WINDOW_UPDATE, payload, 4)
        more = int.from_bytes(payload, "big") & frames.STREAM_BITS
        if stream == 0:
            self._window += more
        elif stream == self._stream:
            self._stream_window += more
        if not more:
            raise Fault(frames.PROTOCOL_ERROR, "a window update of 0 bytes")
        if (window := max(self._window, self._stream_window)) > MAX_WINDOW_BYTES:
            raise Fault(frames.FLOW_CONTROL_ERROR, f"a window of {window} bytes")

    def _take_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream or len(payload) % 6:
            raise Fault(frames.PROTOCOL_ERROR, "malformed settings")
        if flags & ACK:
            return
        for name, value in frames.setting.iter_unpack(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                if value > MAX_WINDOW_BYTES:
                    raise Fault(frames.FLOW_CONTROL_ERROR, f"a window of {value} bytes")
                self._stream_window += value - self._initial_window
                self._initial_window = value
            elif name == frames.MAX_FRAME_SIZE:
                if not FRAME_BYTES <= value < 1 << 24:
                    raise Fault(frames.PROTOCOL_ERROR, f"frames of {value} bytes")
                self._frame_bytes = value
        self._is_greeted = True
        self._acknowledge(frame(frames.SETTINGS, ACK, 0, b""))

    def _take_goaway(self, payload: bytes) -> None:
        try:
            last, _ = struct.unpack_from(">II", payload)
        except struct.error:
            raise Fault(frames.FRAME_SIZE_ERROR, "a GOAWAY that is cut off") from None
        self._last_stream = last & frames.STREAM_BITS
        if not self._is_ended and self._stream > self._last_stream:
            raise Unprocessed("the server is leaving")


def _expect_length(kind: int, payload: bytes, length: int) -> None:
    if len(payload) != length:
        raise Fault(
            frames.FRAME_SIZE_ERROR, f"a frame of type {kind} with {len(payload)} bytes, not {length}"
        )
