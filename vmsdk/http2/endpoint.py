"""How both sides of a connection handle the frames that they receive."""

from __future__ import annotations

from abc import ABC, abstractmethod

from vmsdk.http2 import frames
from vmsdk.http2.frames import (
    ACK,
    DEFAULT_WINDOW_BYTES,
    END_HEADERS,
    FRAME_BYTES,
    HEAD_BYTES,
    MAX_WINDOW_BYTES,
    STREAM_BITS,
    Fault,
    frame,
)
from vmsdk.http2.hpack import Decoder

READ_BYTES = 64 << 10
REFILL_BYTES = MAX_WINDOW_BYTES // 2
"""How much data to receive before the connection's window is refilled."""
MAX_BLOCK_BYTES = 64 << 10
"""The longest encoded headers of a request or a response."""
MAX_EMPTY_FRAMES = 1_000
"""The most frames without content, with no data in between."""


class Endpoint(ABC):
    """One side of a connection: parses what it receives.

    `_take_frames` raises `Fault` or `HPACKError` if the other side breaks HTTP/2, and whatever the
    subclass's methods raise. The connection can't be used after that.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._unread = b""
        self._is_greeted = False
        """Whether the other side has sent its preface."""
        self._block: tuple[int, int, bytearray] | None = None
        """Incomplete headers: their stream, their flags, and what has arrived."""
        self._taken_bytes = 0
        self._empty_frames = 0
        # What the other side accepts.
        self._window = DEFAULT_WINDOW_BYTES
        self._initial_window = DEFAULT_WINDOW_BYTES
        self._frame_bytes = FRAME_BYTES

    def _take_frames(self, data: bytes) -> None:
        """Handle the frames that *data* completes, and keep the rest."""
        if self._unread:
            data = self._unread + data
        at = 0
        if not self._is_greeted:
            at = self._take_greeting(data)
            if at < 0:
                self._unread = data
                return
        while len(data) - at >= HEAD_BYTES:
            high, low, kind, flags, stream = frames.head.unpack_from(data, at)
            length = high << 8 | low
            if length > FRAME_BYTES:
                raise Fault(
                    frames.FRAME_SIZE_ERROR, f"a frame of {length} bytes, where {FRAME_BYTES} are allowed"
                )
            end = at + HEAD_BYTES + length
            if end > len(data):
                break
            self._take(kind, flags, stream & STREAM_BITS, data[at + HEAD_BYTES : end])
            at = end
        self._unread = data[at:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and kind != frames.CONTINUATION:
            raise Fault(frames.PROTOCOL_ERROR, "another frame amid headers")
        if not payload and kind != frames.DATA:
            self._count_empty()
        if kind == frames.DATA:
            self._take_data(flags, stream, payload)
        elif kind == frames.HEADERS:
            self._take_headers(flags, stream, payload)
        elif kind == frames.CONTINUATION:
            self._take_continuation(flags, stream, payload)
        elif kind == frames.RST_STREAM:
            _check(kind, payload, 4, stream, is_of_a_stream=True)
            self._take_reset(stream, int.from_bytes(payload, "big"))
        elif kind == frames.WINDOW_UPDATE:
            _check(kind, payload, 4, stream, is_of_a_stream=bool(stream))
            self._take_window(stream, int.from_bytes(payload, "big") & STREAM_BITS)
        elif kind == frames.PING:
            _check(kind, payload, 8, stream, is_of_a_stream=False)
            if not flags & ACK:
                self._acknowledge(frame(frames.PING, ACK, 0, payload))
        elif kind == frames.SETTINGS:
            self._take_settings(flags, stream, payload)
        elif kind == frames.GOAWAY:
            self._take_goaway(payload)
        elif kind == frames.PRIORITY:
            _check(kind, payload, 5, stream, is_of_a_stream=True)
        elif kind == frames.PUSH_PROMISE:
            raise Fault(frames.PROTOCOL_ERROR, "a push, which is forbidden")
        # Unknown types must be ignored.

    def _take_data(self, flags: int, stream: int, payload: bytes) -> None:
        self._taken_bytes += len(payload)
        if self._taken_bytes >= REFILL_BYTES:
            self._acknowledge(frame(frames.WINDOW_UPDATE, 0, 0, frames.number(self._taken_bytes)))
            self._taken_bytes = 0
        if flags & frames.PADDED:
            payload = frames.without_padding(payload)
        if payload:
            self._empty_frames = 0
        else:
            self._count_empty()
        self._take_body(flags, stream, payload)

    def _take_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & frames.PADDED:
            payload = frames.without_padding(payload)
        if flags & frames.HAS_PRIORITY:
            if len(payload) < 5:
                raise Fault(frames.FRAME_SIZE_ERROR, "headers without the priority that they announce")
            payload = payload[5:]
        if flags & END_HEADERS:
            self._take_block(flags, stream, payload)
        else:
            self._block = (stream, flags, bytearray(payload))

    def _take_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream:
            raise Fault(frames.PROTOCOL_ERROR, "a continuation without headers")
        _, first_flags, block = self._block
        block += payload
        if len(block) > MAX_BLOCK_BYTES:
            raise Fault(frames.ENHANCE_YOUR_CALM, f"headers of more than {MAX_BLOCK_BYTES} bytes")
        if flags & END_HEADERS:
            self._block = None
            self._take_block(first_flags, stream, bytes(block))

    def _count_empty(self) -> None:
        self._empty_frames += 1
        if self._empty_frames > MAX_EMPTY_FRAMES:
            raise Fault(frames.ENHANCE_YOUR_CALM, f"more than {MAX_EMPTY_FRAMES} frames without content")

    def _take_window(self, stream: int, more: int) -> None:
        if not more:
            raise Fault(frames.PROTOCOL_ERROR, "a window update of 0 bytes")
        _check_window(self._widen(stream, more))

    def _take_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise Fault(frames.PROTOCOL_ERROR, "settings of a stream")
        if len(payload) % frames.setting.size or (flags & ACK and payload):
            raise Fault(frames.FRAME_SIZE_ERROR, f"settings of {len(payload)} bytes")
        if flags & ACK:
            return
        for name, value in frames.setting.iter_unpack(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                _check_window(value)
                _check_window(self._change_initial_window(value))
            elif name == frames.MAX_FRAME_SIZE:
                if not FRAME_BYTES <= value < 1 << 24:
                    raise Fault(frames.PROTOCOL_ERROR, f"frames of {value} bytes")
                self._frame_bytes = value
        self._acknowledge(frame(frames.SETTINGS, ACK, 0, b""))

    # For each side --------------------------------------------------------------------------------

    @abstractmethod
    def _take_greeting(self, data: bytes) -> int:
        """Check the other side's preface. Returns where frames begin; -1 if it is incomplete."""

    @abstractmethod
    def _take_block(self, flags: int, stream: int, block: bytes) -> None:
        """Handle complete encoded headers. The decoder must decode each block."""

    @abstractmethod
    def _take_body(self, flags: int, stream: int, payload: bytes) -> None:
        """Handle data."""

    @abstractmethod
    def _take_reset(self, stream: int, code: int) -> None:
        """Handle the reset of a stream."""

    @abstractmethod
    def _take_goaway(self, payload: bytes) -> None:
        """Handle the end of the connection: the other side accepts no more calls, or makes none."""

    @abstractmethod
    def _widen(self, stream: int, more: int) -> int:
        """Widen the window of *stream*, or of the connection if it is 0, by *more* bytes. Returns
        its size.
        """

    @abstractmethod
    def _change_initial_window(self, value: int) -> int:
        """Set the initial window of streams, existing ones too, to *value* bytes. Returns the size
        of the widest window.
        """

    @abstractmethod
    def _acknowledge(self, data: bytes) -> None:
        """Send a frame in response to one."""


def _check_window(window: int) -> None:
    if window > MAX_WINDOW_BYTES:
        raise Fault(frames.FLOW_CONTROL_ERROR, f"a window of {window} bytes")


def _check(kind: int, payload: bytes, length: int, stream: int, *, is_of_a_stream: bool) -> None:
    if len(payload) != length:
        text = f"a frame of type {kind} with {len(payload)} bytes, not {length}"
        raise Fault(frames.FRAME_SIZE_ERROR, text)
    if bool(stream) != is_of_a_stream:
        raise Fault(frames.PROTOCOL_ERROR, f"a frame of type {kind} of stream {stream}")
