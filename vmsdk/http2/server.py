"""The server's side of a connection."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from vmsdk.http2 import frames
from vmsdk.http2.endpoint import READ_BYTES, Endpoint
from vmsdk.http2.frames import (
    DEFAULT_WINDOW_BYTES,
    END_HEADERS,
    END_STREAM,
    MAX_WINDOW_BYTES,
    PREFACE,
    Fault,
    frame,
)
from vmsdk.http2.hpack import MAX_LIST_BYTES, Header, HPACKError, encode

MAX_PENDING_BYTES = 64 << 10
"""The most data that waits for a client that doesn't read. With more, its connection ends."""

_RESPONSE = encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
_OK = encode([(b"grpc-status", b"0")])
# Without a dynamic table, calls of the same method begin with the same bytes. All windows have the
# largest size: the sizes of messages are not limited here.
_GREETING = frames.settings(
    [
        (frames.HEADER_TABLE_SIZE, 0),
        (frames.INITIAL_WINDOW_SIZE, MAX_WINDOW_BYTES),
        (frames.MAX_HEADER_LIST_SIZE, MAX_LIST_BYTES),
    ]
) + frame(frames.WINDOW_UPDATE, 0, 0, frames.number(MAX_WINDOW_BYTES - DEFAULT_WINDOW_BYTES))


class Broken(Exception):
    """The client has cancelled the call or disconnected."""


class Stream:
    """A call, with what the client has sent of it so far."""

    __slots__ = (
        "call",
        "connection",
        "data",
        "has_begun_response",
        "headers",
        "id",
        "is_complete",
        "is_reset",
        "widened",
    )

    def __init__(self, connection: Connection, number: int, headers: tuple[Header, ...]) -> None:
        self.connection = connection
        self.id = number
        self.headers = headers
        self.data: bytes | bytearray = b""
        self.is_complete = False
        """Whether the client has sent the whole call."""
        self.is_reset = False
        """Whether the client has cancelled it or disconnected."""
        self.widened = 0
        """How many bytes its window is wider than the initial one."""
        self.has_begun_response = False
        self.call: Any = None
        """For the server's own use."""

    def add(self, payload: bytes) -> None:
        """Add data. If there is more than the message at the start, `message` refuses it. The
        excess is not kept until then.
        """
        data = self.data
        if not data:
            self.data = payload
            return
        if len(data) >= frames.message_head.size:
            _, length = frames.message_head.unpack_from(data)
            if len(data) > frames.message_head.size + length:
                return
        if isinstance(data, bytearray):
            data += payload
        else:
            self.data = bytearray(data + payload)

    def message(self) -> bytes:
        """The call's message. Raises `ValueError` unless there is exactly one, uncompressed."""
        data = self.data
        if len(data) >= frames.message_head.size:
            is_compressed, length = frames.message_head.unpack_from(data)
            if is_compressed:
                raise ValueError("compressed messages are not supported")
            if length == len(data) - frames.message_head.size:
                return bytes(memoryview(data)[frames.message_head.size :])
        raise ValueError("the method takes exactly one message")


class Connection(Endpoint):
    """A client's connection. One thread at a time may receive; any may respond.

    Takes over *sock*, which is in blocking mode.
    """

    def __init__(
        self, sock: socket.socket, peer: str, on_pending: Callable[[Connection], object] = lambda _: None
    ) -> None:
        """*on_pending* is called when something can't be sent because the client doesn't read:
        `receive` sends it once the socket is writable.
        """
        super().__init__()
        self._socket = sock
        self._on_pending = on_pending
        self.descriptor = sock.fileno()
        self.peer = peer
        """The client's address as gRPC writes it."""
        self.is_received_from = False
        """For the server: whether a thread receives, or handles what it has received."""
        self.is_ended = False
        """Whether nothing more can be received."""
        self.calls = 0
        """For the server: how many calls have not ended. The client may have cancelled some."""
        self.has_called = False
        """For the server: whether it has accepted a call from the client."""
        self._streams: dict[int, Stream] = {}
        self._last_stream = 0
        self._most_widened = 0
        """An upper bound of `widened` of the open streams."""
        self._is_leaving = False
        self._changed: dict[int, Stream] = {}
        """The calls that the data received begins, completes or resets."""
        # Guards the windows, and is notified when they widen.
        self._windows = threading.Condition(threading.Lock())
        # Held while the socket is used, so that it isn't closed meanwhile and frames aren't mixed.
        self._receiving = threading.Lock()
        self._sending = threading.Lock()
        self._pending: deque[bytes] = deque()
        self._enqueue(_GREETING)

    @property
    def has_pending(self) -> bool:
        """Whether data waits for the client to read."""
        return bool(self._pending)

    # Receiving ------------------------------------------------------------------------------------

    def receive(self) -> Sequence[Stream]:
        """Read what has arrived. Returns the calls that it begins, completes or resets.

        At the end of the connection, `is_ended` is true and all calls are reset.
        """
        with self._receiving:
            self._receive()
            changed, self._changed = self._changed, {}
            return [*changed.values()]

    def _receive(self) -> None:
        try:
            self._flush()
            data = self._socket.recv(READ_BYTES, socket.MSG_DONTWAIT)
            if not data:
                raise Broken
            self._take_frames(data)
        except BlockingIOError:
            pass  # another thread has read it
        except (OSError, Broken):
            self.end()
        except Fault as fault:
            self._give_up(fault.code, str(fault))
        except HPACKError as error:
            self._give_up(frames.COMPRESSION_ERROR, str(error))
        if self.is_ended:
            self._changed.update((stream.id, stream) for stream in self.abandoned())

    def _take_greeting(self, data: bytes) -> int:
        if not PREFACE.startswith(data[: len(PREFACE)]):
            raise Broken  # not HTTP/2, so a GOAWAY would be useless
        if len(data) < len(PREFACE):
            return -1
        self._is_greeted = True
        return len(PREFACE)

    def _take_block(self, flags: int, stream: int, block: bytes) -> None:
        headers = self._decoder.decode(block)
        if not stream & 1:
            raise Fault(frames.PROTOCOL_ERROR, f"headers of stream {stream}")
        call = self._streams.get(stream)
        if call is not None:
            if call.is_complete or not flags & END_STREAM:
                raise Fault(frames.PROTOCOL_ERROR, f"unexpected headers of stream {stream}")
        elif stream <= self._last_stream:
            return  # of a call that has ended here
        else:
            self._last_stream = stream
            if self._is_leaving:
                self._enqueue(_reset(stream, frames.REFUSED_STREAM))
                return
            call = self._streams[stream] = Stream(self, stream, headers)
        call.is_complete = bool(flags & END_STREAM)
        self._changed[stream] = call

    def _take_body(self, flags: int, stream: int, payload: bytes) -> None:
        if not 0 < stream <= self._last_stream:
            raise Fault(frames.PROTOCOL_ERROR, f"data of stream {stream}, which has not begun")
        call = self._streams.get(stream)
        if call is None:
            return  # of a call that has ended here
        if call.is_complete:
            raise Fault(frames.STREAM_CLOSED, f"data of stream {stream} after its end")
        call.add(payload)
        if flags & END_STREAM:
            call.is_complete = True
            self._changed[stream] = call

    def _take_reset(self, stream: int, code: int) -> None:
        if stream > self._last_stream:
            raise Fault(frames.PROTOCOL_ERROR, f"the end of stream {stream}, which has not begun")
        call = self._streams.get(stream)
        if call is not None:
            self._drop(call)
            self._changed[stream] = call

    def _take_goaway(self, payload: bytes) -> None:
        pass  # the client makes no more calls, and closes the connection itself

    def _widen(self, stream: int, more: int) -> int:
        if stream > self._last_stream:
            raise Fault(frames.PROTOCOL_ERROR, f"a window of stream {stream}, which has not begun")
        with self._windows:
            call = self._streams.get(stream)
            if stream == 0:
                self._window = window = self._window + more
            elif call is not None:
                call.widened += more
                self._most_widened = max(self._most_widened, call.widened)
                window = self._initial_window + call.widened
            else:
                return 0  # of a call that has ended here
            self._windows.notify_all()
            return window

    def _change_initial_window(self, value: int) -> int:
        with self._windows:
            self._initial_window = value
            self._windows.notify_all()
            if value + self._most_widened > MAX_WINDOW_BYTES:
                # That stream may have ended, or sent data since. A copy, since threads that respond
                # remove streams.
                self._most_widened = max((call.widened for call in [*self._streams.values()]), default=0)
            return value + self._most_widened

    def _acknowledge(self, data: bytes) -> None:
        self._enqueue(data)

    def _drop(self, stream: Stream) -> None:
        """End *stream* without a response."""
        with self._windows:
            stream.is_reset = True
            self._streams.pop(stream.id, None)
            self._windows.notify_all()

    # Sending --------------------------------------------------------------------------------------

    def send(self, stream: Stream, message: bytes) -> None:
        """Send one message of a response. Waits until the client accepts it.

        Raises `Broken` if the client has cancelled the call or disconnected.
        """
        self._send(self._last_frames(stream, message))

    def respond(self, stream: Stream, message: bytes | None, status: Iterable[Header] = ()) -> None:
        """Send the rest of a response: *message*, if any, and the trailers *status*, OK by default.
        Waits and raises like `send`.
        """
        end = encode(status) if status else _OK
        data = b"" if message is None else self._last_frames(stream, message)
        if not stream.has_begun_response:
            stream.has_begun_response = True
            end = _RESPONSE + end
        data += frame(frames.HEADERS, END_HEADERS | END_STREAM, stream.id, end)
        if not stream.is_complete:
            data += _reset(stream.id, frames.NO_ERROR)  # the client need not send the rest
        self._streams.pop(stream.id, None)
        if message is None:
            self._send_soon(data)  # a refusal must not block the thread that receives
        else:
            self._send(data)

    def cancel(self, stream: Stream) -> None:
        """End a call without a response. Raises `Broken`."""
        self._drop(stream)
        self._send_soon(_reset(stream.id, frames.CANCEL))

    def leave(self) -> None:
        """Take no more calls. Raises `Broken`."""
        if not self._is_leaving:
            self._is_leaving = True
            self._send_soon(self._goaway(frames.NO_ERROR, ""))

    def _last_frames(self, stream: Stream, message: bytes) -> bytes:
        """Send a message's frames except the last, and return that one."""
        data = b""
        if not stream.has_begun_response:
            stream.has_begun_response = True
            data = frame(frames.HEADERS, END_HEADERS, stream.id, _RESPONSE)
        rest = memoryview(frames.message_head.pack(0, len(message)) + message)
        while True:
            room = self._take_room(stream, len(rest))
            data += frame(frames.DATA, 0, stream.id, rest[:room])
            rest = rest[room:]
            if not rest:
                return data
            self._send(data)
            data = b""

    def _take_room(self, stream: Stream, wanted: int) -> int:
        """Take up to *wanted* bytes from the windows; waits for room. Returns how many."""
        with self._windows:
            while True:
                if stream.is_reset or self.is_ended:
                    raise Broken
                stream_window = self._initial_window + stream.widened
                room = min(wanted, self._window, stream_window, self._frame_bytes)
                if room > 0:
                    self._window -= room
                    stream.widened -= room
                    return room
                self._windows.wait()

    def _send(self, data: bytes) -> None:
        try:
            with self._sending:
                self._socket.sendall(self._taken_pending() + data)
        except OSError:
            raise Broken from None  # the thread that receives finds out, too
        if self._pending:
            self._flush()
            if self._pending:
                self._on_pending(self)

    def _send_soon(self, data: bytes) -> None:
        """Send without waiting for a client that doesn't read."""
        self._enqueue(data)
        if self._pending:
            self._on_pending(self)

    def _enqueue(self, data: bytes) -> None:
        """Send as much as the socket accepts at once. `receive` sends the rest."""
        self._pending.append(data)
        self._flush()
        if self._pending and sum(map(len, tuple(self._pending))) > MAX_PENDING_BYTES:
            self.end()
            raise Broken

    def _flush(self) -> None:
        # A thread that is sending now looks for pending data when it is done.
        while self._pending and self._sending.acquire(blocking=False):
            data = self._taken_pending()
            try:
                data = data[self._socket.send(data, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                pass
            except OSError:
                data = b""  # the thread that receives finds out, too
            finally:
                if data:
                    self._pending.appendleft(data)
                self._sending.release()
            if data:
                return

    def _taken_pending(self) -> bytes:
        """With the lock held: all that is pending. Other threads may be adding to it."""
        taken = []
        while self._pending:
            taken.append(self._pending.popleft())
        return b"".join(taken)

    # The end --------------------------------------------------------------------------------------

    def end(self) -> None:
        """Receive nothing more, reset all calls, and end all waits for the client."""
        with self._windows:
            self.is_ended = True
            for stream in [*self._streams.values()]:
                stream.is_reset = True
            self._windows.notify_all()
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the client disconnected first

    def abandoned(self) -> list[Stream]:
        """After `end`: the remaining calls."""
        streams = [*self._streams.values()]
        for stream in streams:
            stream.is_reset = True
        return streams

    def close(self) -> None:
        """End, and release the socket."""
        self.end()
        # Its descriptor may soon be another socket's.
        with self._receiving, self._sending:
            self._socket.close()

    def release(self) -> None:
        """In a forked child: close this process's copy of the socket."""
        self._socket.close()

    def _give_up(self, code: int, text: str) -> None:
        self._pending.append(self._goaway(code, text))
        self._flush()
        self.end()

    def _goaway(self, code: int, text: str) -> bytes:
        payload = frames.number(self._last_stream) + frames.number(code) + text.encode()
        return frame(frames.GOAWAY, 0, 0, payload)


def _reset(number: int, code: int) -> bytes:
    return frame(frames.RST_STREAM, 0, number, frames.number(code))
