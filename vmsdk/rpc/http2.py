"""HTTP/2 (RFC 9113) as gRPC uses it: the server's side of one connection."""

from __future__ import annotations

import base64
import socket
import struct
import threading
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from vmsdk.rpc.hpack import Decoder, Header, HPACKError, encode

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
READ_BYTES = 32 << 10
FRAME_BYTES = 16 << 10
"""The longest frame that is taken and, until the client allows more, sent. RFC 9113, 4.2."""
WINDOW_BYTES = (1 << 31) - 1
"""What the client may send before it is told that some has been read: all that HTTP/2 allows."""
DEFAULT_WINDOW_BYTES = (1 << 16) - 1
MAX_PENDING_BYTES = 64 << 10
"""Acknowledgements that wait because the client doesn't read."""
MAX_BLOCK_BYTES = 64 << 10
"""The headers of a call, as they are sent."""
MAX_EMPTY_FRAMES = 1_000
"""Frames in a row that ask for nothing."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, HAS_PRIORITY = 0x4, 0x8, 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0x0, 0x1, 0x2, 0x3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 0x5, 0x6, 0x7, 0x8
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 0x9, 0xB

_HEADER_TABLE_SIZE, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE, _MAX_HEADER_LIST_SIZE = 0x1, 0x4, 0x5, 0x6

_frame_head = struct.Struct(">HBBBI")
_two_numbers = struct.Struct(">II")
_setting = struct.Struct(">HI")
_message_head = struct.Struct(">BI")


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    length = len(payload)
    return _frame_head.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


_RESPONSE = encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
_GOOD = encode([(b"grpc-status", b"0")])
_GREETING = (
    _frame(
        SETTINGS,
        0,
        0,
        _setting.pack(_HEADER_TABLE_SIZE, 0)
        + _setting.pack(_INITIAL_WINDOW_SIZE, WINDOW_BYTES)
        + _setting.pack(_MAX_HEADER_LIST_SIZE, FRAME_BYTES),
    )
    + _frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW_BYTES - DEFAULT_WINDOW_BYTES))
)


class Broken(Exception):
    """The connection can't be used any more."""


class _Fault(Exception):
    """The client has broken HTTP/2, so that its connection ends."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Stream:
    """One call: what the client has sent of it."""

    __slots__ = ("call", "connection", "data", "has_begun_response", "headers", "id", "is_complete", "is_reset", "window")

    def __init__(self, connection: Connection, number: int, headers: tuple[Header, ...], window: int) -> None:
        self.connection = connection
        self.id = number
        self.headers = headers
        self.window = window
        self.data = b""
        self.is_complete = False
        """Whether the client has sent everything."""
        self.is_reset = False
        """Whether the client has left."""
        self.has_begun_response = False
        self.call: Any = None
        """For the server."""


class Connection:
    """A client's connection. One thread at a time may receive; any may respond.

    Takes over *sock*, which stays in blocking mode.
    """

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self._socket = sock
        self.peer = peer
        """gRPC's text for the client's address."""
        self.streams: dict[int, Stream] = {}
        """The calls that run."""
        self.is_closed = False
        self._is_leaving = False
        self._decoder = Decoder()
        self._unread = b""
        self._has_greeted = False
        self._last_stream = 0
        self._block: tuple[int, int, bytearray] | None = None
        self._taken_bytes = 0
        self._empty_frames = 0
        # What the client can take: guarded by this condition.
        self._windows = threading.Condition(threading.Lock())
        self._window = DEFAULT_WINDOW_BYTES
        self._stream_window = DEFAULT_WINDOW_BYTES
        self._frame_bytes = FRAME_BYTES
        # Whole frames leave the socket one after the other.
        self._sending = threading.Lock()
        self._pending: deque[bytes] = deque()
        self._acknowledge(_GREETING)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def has_pending(self) -> bool:
        """Whether acknowledgements wait until the client reads."""
        return bool(self._pending)

    # Receiving ------------------------------------------------------------------------------------

    def receive(self) -> Collection[Stream]:
        """Take what has arrived, without waiting. Returns the calls that it concerns.

        At the end of the connection these are all that run, and `is_closed` is true.
        """
        changed: dict[int, Stream] = {}
        try:
            self._flush()
            data = self._socket.recv(READ_BYTES, socket.MSG_DONTWAIT)
            if not data:
                raise Broken
            self._unread = self._unread + data if self._unread else data
            self._read_frames(changed)
        except BlockingIOError:
            pass
        except (OSError, Broken):
            self.close()
        except _Fault as fault:
            self._acknowledge(self._goaway(fault.code, str(fault)))
            self.close()
        except HPACKError as error:
            self._acknowledge(self._goaway(COMPRESSION_ERROR, str(error)))
            self.close()
        if self.is_closed:
            return [*changed.values(), *(each for each in [*self.streams.values()] if each.id not in changed)]
        return changed.values()

    def _read_frames(self, changed: dict[int, Stream]) -> None:
        data, at = self._unread, 0
        if not self._has_greeted:
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise Broken
            if len(data) < len(PREFACE):
                return
            at = len(PREFACE)
            self._has_greeted = True
        while len(data) - at >= 9:
            high, low, kind, flags, stream = _frame_head.unpack_from(data, at)
            length = high << 8 | low
            if length > FRAME_BYTES:
                raise _Fault(FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            if len(data) - at - 9 < length:
                break
            payload = data[at + 9 : at + 9 + length]
            at += 9 + length
            self._take(kind, flags, stream & 0x7FFFFFFF, payload, changed)
        self._unread = data[at:]

    def _take(self, kind: int, flags: int, number: int, payload: bytes, changed: dict[int, Stream]) -> None:
        if self._block is not None and kind != CONTINUATION:
            raise _Fault(PROTOCOL_ERROR, "a frame amid headers")
        if kind == DATA:
            self._take_data(flags, number, payload, changed)
        elif kind == HEADERS:
            self._take_headers(flags, number, payload, changed)
        elif kind == CONTINUATION:
            self._take_continuation(flags, number, payload, changed)
        elif kind == RST_STREAM:
            self._expect(number, len(payload), 4, is_stream=True)
            stream = self.streams.get(number)
            if stream is not None:
                self._reset(stream)
                changed[number] = stream
        elif kind == WINDOW_UPDATE:
            self._take_window_update(number, payload)
        elif kind == PING:
            self._expect(number, len(payload), 8, is_stream=False)
            if not flags & ACK:
                self._acknowledge(_frame(PING, ACK, 0, payload))
        elif kind == SETTINGS:
            self._take_settings(flags, number, payload)
        elif kind == GOAWAY:
            if number or len(payload) < 8:
                raise _Fault(PROTOCOL_ERROR, "a bad GOAWAY")
        elif kind == PUSH_PROMISE:
            raise _Fault(PROTOCOL_ERROR, "a client pushes nothing")
        elif kind == PRIORITY:
            self._expect(number, len(payload), 5, is_stream=None)

    def _expect(self, number: int, length: int, expected: int, *, is_stream: bool | None) -> None:
        if length != expected:
            raise _Fault(FRAME_SIZE_ERROR, f"a frame of {length} bytes, not {expected}")
        if is_stream is not None and bool(number) != is_stream:
            raise _Fault(PROTOCOL_ERROR, f"a frame of stream {number}")
        if number > self._last_stream and is_stream:
            raise _Fault(PROTOCOL_ERROR, f"stream {number} has not begun")

    def _take_headers(self, flags: int, number: int, payload: bytes, changed: dict[int, Stream]) -> None:
        if not number & 1:
            raise _Fault(PROTOCOL_ERROR, f"headers of stream {number}")
        if flags & PADDED:
            payload = _unpadded(payload)
        if flags & HAS_PRIORITY:
            if len(payload) < 5:
                raise _Fault(FRAME_SIZE_ERROR, "headers without their priority")
            payload = payload[5:]
        if flags & END_HEADERS:
            self._take_block(flags, number, payload, changed)
        else:
            self._block = (number, flags, bytearray(payload))

    def _take_continuation(self, flags: int, number: int, payload: bytes, changed: dict[int, Stream]) -> None:
        if self._block is None or self._block[0] != number:
            raise _Fault(PROTOCOL_ERROR, "a continuation of nothing")
        _, first_flags, block = self._block
        block += payload
        self._empty_frames += not payload
        if len(block) > MAX_BLOCK_BYTES or self._empty_frames > MAX_EMPTY_FRAMES:
            raise _Fault(ENHANCE_YOUR_CALM, f"headers of more than {MAX_BLOCK_BYTES} bytes")
        if flags & END_HEADERS:
            self._block = None
            self._take_block(first_flags, number, bytes(block), changed)

    def _take_block(self, flags: int, number: int, block: bytes, changed: dict[int, Stream]) -> None:
        headers = self._decoder.decode(block)
        stream = self.streams.get(number)
        if stream is None:
            if number <= self._last_stream:
                return  # the end of what the client still sent to a call that has ended
            self._last_stream = number
            if self._is_leaving:
                self._acknowledge(_frame(RST_STREAM, 0, number, struct.pack(">I", REFUSED_STREAM)))
                return
            with self._windows:
                stream = self.streams[number] = Stream(self, number, headers, self._stream_window)
        elif not flags & END_STREAM:
            raise _Fault(PROTOCOL_ERROR, "headers in the middle of a message")
        if flags & END_STREAM:
            stream.is_complete = True
        changed[number] = stream

    def _take_data(self, flags: int, number: int, payload: bytes, changed: dict[int, Stream]) -> None:
        if not number or number > self._last_stream:
            raise _Fault(PROTOCOL_ERROR, f"data of stream {number}")
        self._taken_bytes += len(payload)
        if self._taken_bytes > WINDOW_BYTES // 2:
            self._acknowledge(_frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._taken_bytes)))
            self._taken_bytes = 0
        if flags & PADDED:
            payload = _unpadded(payload)
        stream = self.streams.get(number)
        if stream is None:
            return
        if stream.is_complete:
            raise _Fault(STREAM_CLOSED, f"data after the end of stream {number}")
        if payload:
            if not stream.data:
                stream.data = payload
            elif isinstance(stream.data, bytearray):
                stream.data += payload
            else:
                stream.data = bytearray(stream.data + payload)
        elif not flags & END_STREAM:
            self._empty_frames += 1
            if self._empty_frames > MAX_EMPTY_FRAMES:
                raise _Fault(ENHANCE_YOUR_CALM, "frames without data")
        if flags & END_STREAM:
            stream.is_complete = True
            changed[number] = stream

    def _take_window_update(self, number: int, payload: bytes) -> None:
        self._expect(number, len(payload), 4, is_stream=bool(number))
        more = int.from_bytes(payload, "big") & 0x7FFFFFFF
        with self._windows:
            if number == 0:
                self._window += more
                if not more or self._window > WINDOW_BYTES:
                    raise _Fault(FLOW_CONTROL_ERROR, "a window of no or too many bytes")
            else:
                stream = self.streams.get(number)
                if stream is None:
                    return
                stream.window += more
                if not more or stream.window > WINDOW_BYTES:
                    raise _Fault(FLOW_CONTROL_ERROR, "a window of no or too many bytes")
            self._windows.notify_all()

    def _take_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) % 6 or (flags & ACK and payload):
            raise _Fault(FRAME_SIZE_ERROR if not number else PROTOCOL_ERROR, "bad settings")
        if flags & ACK:
            return
        with self._windows:
            for setting, value in _setting.iter_unpack(payload):
                if setting == _INITIAL_WINDOW_SIZE:
                    if value > WINDOW_BYTES:
                        raise _Fault(FLOW_CONTROL_ERROR, f"a window of {value} bytes")
                    for stream in [*self.streams.values()]:
                        stream.window += value - self._stream_window
                    self._stream_window = value
                elif setting == _MAX_FRAME_SIZE:
                    if not FRAME_BYTES <= value < 1 << 24:
                        raise _Fault(PROTOCOL_ERROR, f"frames of {value} bytes")
                    self._frame_bytes = value
            self._windows.notify_all()
        self._acknowledge(_frame(SETTINGS, ACK, 0, b""))

    def _reset(self, stream: Stream) -> None:
        with self._windows:
            stream.is_reset = True
            self.streams.pop(stream.id, None)
            self._windows.notify_all()

    # Sending --------------------------------------------------------------------------------------

    def respond(self, stream: Stream, message: bytes | None, trailers: Iterable[Header] = ()) -> None:
        """Send what is left of a response: its message, if any, and the status among *trailers*;
        without any, that all is well. Waits until the client has room for the message.

        Raises `Broken` if the client has left.
        """
        end = encode(trailers) if trailers else _GOOD
        if message is None and not stream.has_begun_response:
            stream.has_begun_response = True
            frames = _frame(HEADERS, END_HEADERS | END_STREAM, stream.id, _RESPONSE + end)
        else:
            begin = b"" if message is None else self._message(stream, message)
            frames = begin + _frame(HEADERS, END_HEADERS | END_STREAM, stream.id, end)
        if not stream.is_complete:
            # The client need not send the rest.
            frames += _frame(RST_STREAM, 0, stream.id, struct.pack(">I", NO_ERROR))
        self.streams.pop(stream.id, None)
        self._send(frames)

    def send(self, stream: Stream, message: bytes) -> None:
        """Send one message of several. Waits and raises like `respond`."""
        self._send(self._message(stream, message))

    def _message(self, stream: Stream, message: bytes) -> bytes:
        """The last frames of the message that are to be sent; those before them are sent."""
        begin = b""
        if not stream.has_begun_response:
            stream.has_begun_response = True
            begin = _frame(HEADERS, END_HEADERS, stream.id, _RESPONSE)
        data = _message_head.pack(0, len(message)) + message
        left = memoryview(data)
        while True:
            room = self._take_room(stream, len(left))
            begin += _frame(DATA, 0, stream.id, left[:room])  # type: ignore[arg-type]
            left = left[room:]
            if not left:
                return begin
            self._send(begin)
            begin = b""

    def _take_room(self, stream: Stream, wanted: int) -> int:
        """How many bytes of a message the client takes now, *wanted* at most."""
        with self._windows:
            while True:
                if stream.is_reset or self.is_closed:
                    raise Broken
                room = min(wanted, self._window, stream.window, self._frame_bytes)
                if room > 0:
                    self._window -= room
                    stream.window -= room
                    return room
                self._windows.wait()

    def _send(self, frames: bytes) -> None:
        try:
            with self._sending:
                if self._pending:
                    frames = b"".join(self._pending) + frames
                    self._pending.clear()
                self._socket.sendall(frames)
        except OSError:
            # Whoever receives finds the connection closed.
            raise Broken from None
        if self._pending:
            self._flush()

    def _acknowledge(self, frames: bytes) -> None:
        """Send *frames* without waiting; what the client doesn't take stays pending."""
        self._pending.append(frames)
        self._flush()
        if sum(map(len, self._pending)) > MAX_PENDING_BYTES:
            raise Broken

    def _flush(self) -> None:
        # A thread that sends in these moments looks at what is pending when it is done.
        while self._pending and self._sending.acquire(blocking=False):
            try:
                frames = self._pending[0]
                sent = self._socket.send(frames, socket.MSG_DONTWAIT)
                self._pending.popleft()
                if sent < len(frames):
                    self._pending.appendleft(frames[sent:])
                    return
            except BlockingIOError:
                return
            except OSError:
                self._pending.clear()  # whoever receives finds the connection closed
            finally:
                self._sending.release()

    # The end --------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Take no more calls."""
        self._is_leaving = True
        self._acknowledge(self._goaway(NO_ERROR, ""))

    def _goaway(self, code: int, text: str) -> bytes:
        return _frame(GOAWAY, 0, 0, _two_numbers.pack(self._last_stream, code) + text.encode())

    def cancel(self, stream: Stream) -> None:
        """End a call without a response."""
        self._reset(stream)
        self._acknowledge(_frame(RST_STREAM, 0, stream.id, struct.pack(">I", CANCEL)))

    def close(self) -> None:
        """Close the connection. Its calls are reset; threads that send stop waiting. Idempotent."""
        with self._windows:
            self.is_closed = True
            for stream in [*self.streams.values()]:
                stream.is_reset = True
            self._windows.notify_all()
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the client was quicker
        self._socket.close()


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise _Fault(PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]


def request(stream: Stream) -> bytes:
    """The one message of a whole request. Raises `ValueError` when there is not exactly one."""
    data = stream.data
    if len(data) < 5:
        raise ValueError("the method takes exactly one message")
    is_compressed, length = _message_head.unpack_from(data)
    if length != len(data) - 5:
        raise ValueError("the method takes exactly one message")
    if is_compressed:
        raise ValueError("compressed messages are not understood")
    return bytes(memoryview(data)[5:])


def metadata(headers: Iterable[Header]) -> Iterator[tuple[str, str | bytes]]:
    """What gRPC calls metadata: headers that are not HTTP's."""
    for name, value in headers:
        if name[:1] == b":":
            continue
        if name.endswith(b"-bin"):
            yield name.decode("latin-1"), base64.b64decode(value + b"=" * (-len(value) % 4))
        else:
            yield name.decode("latin-1"), value.decode("latin-1")


def trailers(code: int, text: bytes, extra: Sequence[tuple[str, str | bytes]] | None) -> list[Header]:
    """A call's status as its last headers."""
    found = [(b"grpc-status", b"%d" % code)]
    if text:
        found.append((b"grpc-message", _percent_encoded(text)))
    for name, value in extra or ():
        data = value.encode() if isinstance(value, str) else bytes(value)
        if name.endswith("-bin"):
            data = base64.b64encode(data).rstrip(b"=")
        found.append((name.lower().encode(), data))
    return found


def _percent_encoded(text: bytes) -> bytes:
    if text.isascii() and b"%" not in text and text.decode().isprintable():
        return text
    return b"".join(bytes((each,)) if 0x20 <= each <= 0x7E and each != 0x25 else b"%%%02X" % each for each in text)
