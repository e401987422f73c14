"""The client's side of a connection. It carries one call at a time."""

from __future__ import annotations

import select
import socket
import struct
from contextlib import suppress

from vmsdk.http2 import frames
from vmsdk.http2.endpoint import READ_BYTES, Endpoint
from vmsdk.http2.frames import (
    DEFAULT_WINDOW_BYTES,
    END_HEADERS,
    END_STREAM,
    HEAD_BYTES,
    MAX_WINDOW_BYTES,
    PREFACE,
    Fault,
    frame,
)
from vmsdk.http2.hpack import MAX_LIST_BYTES, Header

SEND_BYTES = 256 << 10
"""How much of a long request is sent by one system call."""

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
    """The connection ended before the response: the server may have executed the call."""


class Unprocessed(Exception):
    """The server has not executed the call, and won't: it may be repeated."""


class Reset(Exception):
    """The server has reset the call's stream, with the HTTP/2 error *code*."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the server ended the call with the HTTP/2 error {code:#x}")
        self.code = code


class ClientConnection(Endpoint):
    """A connection to a server. Not thread-safe: calls are made one after the other.

    Takes over *sock*. Its methods raise `Fault` or `HPACKError` if the server breaks HTTP/2, and
    `OSError`. After these and after `Gone`, the connection can no longer be used.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._socket = sock
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
        """Whether a request has been sent whose response nobody waits for yet."""

    def greet(self) -> None:
        """Exchange settings. Raises `Gone` if the server disconnects before sending its own."""
        self._socket.sendall(_GREETING)
        while not self._is_greeted:
            self._wait()

    def is_usable(self) -> bool:
        """Read what has arrived since the last call. Returns whether another one can be made."""
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
        """Start a call with the headers in *block*, and send *message*.

        Raises `Unprocessed` if the connection ends before the request is sent.
        """
        self._stream += 2
        self._stream_window = self._initial_window
        self._headers = self._trailers = None
        self._data = []
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
        # It reads only if a window is full. A server that stopped reading until the client reads
        # would wait forever. But before it has the request, it sends only a few short frames, which
        # fit into the socket's buffer, and the node's server reads and writes in two goroutines.
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
                return  # the server responded without the rest; this connection takes no more calls
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
        """Make the wait of the thread that reads fail. Thread-safe."""
        with suppress(OSError):  # it isn't connected
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._socket.close()

    __del__ = close

    # Receiving ------------------------------------------------------------------------------------

    def _wait(self, flags: int = 0) -> None:
        """Read at least one byte, and handle the frames that it completes."""
        data = self._socket.recv(READ_BYTES, flags)
        if not data:
            raise Gone("the server closed the connection")
        self._take_frames(data)

    def _take_greeting(self, data: bytes) -> int:
        if len(data) < HEAD_BYTES:
            return -1
        high, low, kind, flags, _ = frames.head.unpack_from(data)
        if kind != frames.SETTINGS or flags or (high << 8 | low) % frames.setting.size:
            raise Fault(frames.PROTOCOL_ERROR, f"it begins with {data[:24]!r}")
        return 0

    def _take_settings(self, flags: int, stream: int, payload: bytes) -> None:
        super()._take_settings(flags, stream, payload)
        self._is_greeted = True

    def _take_body(self, flags: int, stream: int, payload: bytes) -> None:
        if stream != self._stream or self._is_ended:
            raise Fault(frames.PROTOCOL_ERROR, f"data of stream {stream}, where there is no call")
        if self._headers is None:
            raise Fault(frames.PROTOCOL_ERROR, "data before the headers")
        if payload:
            self._data.append(payload)
        if flags & END_STREAM:
            self._is_ended = True

    def _take_block(self, flags: int, stream: int, block: bytes) -> None:
        headers = self._decoder.decode(block)
        if stream != self._stream or self._is_ended:
            raise Fault(frames.PROTOCOL_ERROR, f"headers of stream {stream}, where there is no call")
        is_last = bool(flags & END_STREAM)
        if self._headers is None:
            if not is_last and any(name == b":status" and value[:1] == b"1" for name, value in headers):
                self._count_empty()
                return  # an informational response: the final one follows
            self._headers = headers
        elif not is_last:
            raise Fault(frames.PROTOCOL_ERROR, "headers in the middle of a message")
        if is_last:
            self._trailers = headers
            self._is_ended = True

    def _take_reset(self, stream: int, code: int) -> None:
        if stream != self._stream or self._is_ended:
            return
        self._is_ended = True
        if code == frames.REFUSED_STREAM:
            raise Unprocessed("the server refused the call")
        raise Reset(code)

    def _take_goaway(self, payload: bytes) -> None:
        try:
            last, _ = struct.unpack_from(">II", payload)
        except struct.error:
            raise Fault(frames.FRAME_SIZE_ERROR, "a GOAWAY that is cut off") from None
        self._last_stream = last & frames.STREAM_BITS
        if not self._is_ended and self._stream > self._last_stream:
            raise Unprocessed("the server is shutting down")

    def _widen(self, stream: int, more: int) -> int:
        if stream == 0:
            self._window += more
            return self._window
        if stream == self._stream:
            self._stream_window += more
            return self._stream_window
        return 0

    def _change_initial_window(self, value: int) -> int:
        self._stream_window += value - self._initial_window
        self._initial_window = value
        return value if self._is_ended else self._stream_window

    def _acknowledge(self, data: bytes) -> None:
        # A server that has closed the connection may have sent the whole response. If not, the next
        # read fails.
        with suppress(OSError):
            self._socket.sendall(data)
