"""What clients do to the plugin's gRPC server on the wire, frame by frame."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count, repeat
from pathlib import Path
from typing import Any

import grpc
import hpack
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.wire.rpc.conftest import eventually
from vmsdk.http2 import endpoint, frames
from vmsdk.http2.server import MAX_PENDING_BYTES, Connection
from vmsdk.rpc import pollserver
from vmsdk.rpc.lane import Lane, LaneMethod
from vmsdk.rpc.pollserver import PollServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the server needs epoll")

PATIENCE_S = 60.0
ECHOES = 8
REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/test/echo"),
    (b":authority", b"vm"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
]


class Echo(grpc.GenericRpcHandler):
    """Returns each message; `hold` does so once `go_on` is set."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.left = threading.Semaphore(0)
        self.go_on = threading.Event()
        self._methods = {
            "/test/echo": LaneMethod(lambda data, context: data, bytes, bytes, Lane("echo", limit=ECHOES)),
            "/test/hold": LaneMethod(self._hold, bytes, bytes, Lane("hold", limit=8)),
        }

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return self._methods.get(details.method)

    def _hold(self, data: bytes, context: Any) -> bytes:
        context.add_callback(self.left.release)
        self.begun.release()
        assert self.go_on.wait(PATIENCE_S)
        return data


def message(data: bytes, compressed: int = 0) -> bytes:
    return frames.message_head.pack(compressed, len(data)) + data


def raw(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return frames.frame(kind, flags, stream, payload)


class Client:
    """A connection on which frames are sent and received one by one."""

    def __init__(self, address: str, *, greets: bool = True) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(address)
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self._unread = b""
        if greets:
            self.socket.sendall(frames.PREFACE)
            self.send(SettingsFrame(0))
            assert [self.settings(), type(self.next())] == [{1: 0, 4: 2**31 - 1, 6: 16384}, WindowUpdateFrame]
            self.await_acknowledgement()

    def send(self, *sent: Frame) -> None:
        self.socket.sendall(b"".join(each.serialize() for each in sent))

    def headers(self, stream: int, path: bytes = b"/test/echo", *flags: str, **how: Any) -> Frame:
        block = self.encoder.encode([(n, path if n == b":path" else v) for n, v in REQUEST])
        return HeadersFrame(stream, block, flags=("END_HEADERS", *flags), **how)

    def call(self, stream: int, data: bytes = b"data", path: bytes = b"/test/echo") -> None:
        body = message(data)
        pieces = [DataFrame(stream, body[at : at + 16_384]) for at in range(0, len(body), 16_384)]
        pieces[-1].flags.add("END_STREAM")
        self.send(self.headers(stream, path), *pieces)

    def next(self) -> Any:
        """The next frame; None at the end of the connection."""
        while True:
            if len(self._unread) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(self._unread[:9]))
                if len(self._unread) >= 9 + length:
                    frame.parse_body(memoryview(self._unread[9 : 9 + length]))
                    self._unread = self._unread[9 + length :]
                    return frame
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._unread += data

    def settings(self) -> dict[int, int]:
        frame = self.next()
        assert isinstance(frame, SettingsFrame)
        return dict(frame.settings)

    def await_acknowledgement(self) -> None:
        frame = self.next()
        assert isinstance(frame, SettingsFrame)
        assert "ACK" in frame.flags

    def response(self, stream: int) -> tuple[bytes, dict[bytes, bytes]]:
        """The message and the headers of a whole response."""
        data = b""
        found: dict[bytes, bytes] = {}
        while True:
            frame = self.next()
            if isinstance(frame, RstStreamFrame | WindowUpdateFrame | PingFrame | SettingsFrame):
                continue
            assert frame is not None, (data, found)
            assert frame.stream_id == stream, frame
            if isinstance(frame, HeadersFrame):
                found.update(self.decoder.decode(frame.data, raw=True))
            else:
                data += frame.data
            if "END_STREAM" in frame.flags:
                return data, found

    def goaway(self) -> int:
        """The error with which the server ends the connection."""
        while not isinstance(frame := self.next(), GoAwayFrame):
            assert frame is not None, "the connection ended without a GOAWAY"
        assert self.next() is None
        return int(frame.error_code)

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def address(echo: Echo, tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "socket")
    plugin = PollServer(reserved=1)
    plugin.add_generic_rpc_handlers((echo,))
    plugin.add_insecure_port(f"unix:{path}")
    plugin.start()
    yield path
    echo.go_on.set()
    assert plugin.stop(None).wait(PATIENCE_S)


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    client = Client(address)
    yield client
    client.close()


def expect_echo(client: Client, stream: int, data: bytes = b"data") -> None:
    body, found = client.response(stream)
    assert body == message(data)
    assert (found[b":status"], found[b"grpc-status"]) == (b"200", b"0")


# What is right ------------------------------------------------------------------------------------


def test_a_request_may_come_byte_by_byte(client: Client) -> None:
    body = DataFrame(1, message(b"data"), flags=("END_STREAM",))
    for byte in client.headers(1).serialize() + body.serialize():
        client.socket.sendall(bytes((byte,)))
    expect_echo(client, 1)


def test_a_request_may_be_cut_into_frames_with_padding_priority_and_continuations(client: Client) -> None:
    block = client.encoder.encode(REQUEST)
    data = message(b"data")
    client.send(
        HeadersFrame(1, block[:3], flags=("PADDED", "PRIORITY"), pad_length=200, stream_weight=3),
        ContinuationFrame(1, block[3:5]),
        ContinuationFrame(1, b""),
        ContinuationFrame(1, block[5:], flags=("END_HEADERS",)),
        PriorityFrame(1, depends_on=0, stream_weight=1),
        DataFrame(1, data[:2], flags=("PADDED",), pad_length=255),
        DataFrame(1, b""),
    )
    client.socket.sendall(raw(0xBB, 0xFF, 1, b"of a type to come"))
    client.send(DataFrame(1, data[2:]), DataFrame(1, b"", flags=("END_STREAM",)))
    expect_echo(client, 1)


def test_a_request_may_end_with_headers(client: Client) -> None:
    trailers = HeadersFrame(1, client.encoder.encode([(b"x", b"y")]), flags=("END_HEADERS", "END_STREAM"))
    client.send(client.headers(1), DataFrame(1, message(b"data")), trailers)
    expect_echo(client, 1)


def test_calls_that_come_at_once_are_all_answered_though_the_first_is_held(
    client: Client, echo: Echo
) -> None:
    body = [DataFrame(stream, message(b"data"), flags=("END_STREAM",)) for stream in (1, 3, 5, 7)]
    client.send(
        client.headers(1, b"/test/hold"),
        body[0],
        client.headers(3, b"/test/hold"),
        body[1],
        client.headers(5),
        body[2],
        client.headers(7),
        body[3],
    )
    assert echo.begun.acquire(timeout=PATIENCE_S)
    assert echo.begun.acquire(timeout=PATIENCE_S)
    answered = set()
    for _ in range(2 * 3):
        frame = client.next()
        answered.add(frame.stream_id)
    assert answered == {5, 7}
    echo.go_on.set()


def test_a_ping_is_answered_while_a_call_runs(client: Client, echo: Echo) -> None:
    client.call(1, path=b"/test/hold")
    assert echo.begun.acquire(timeout=PATIENCE_S)
    client.send(PingFrame(0, b"12345678"), PingFrame(0, b"answered", flags=("ACK",)))
    frame = client.next()
    assert (type(frame), frame.opaque_data, set(frame.flags)) == (PingFrame, b"12345678", {"ACK"})
    echo.go_on.set()
    expect_echo(client, 1)


@pytest.mark.parametrize("limit", ["stream", "connection"])
def test_no_more_is_sent_than_the_client_takes(client: Client, limit: str) -> None:
    data = bytes(range(256)) * 400
    if limit == "stream":
        client.send(SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 3}))
        client.await_acknowledgement()
    else:
        client.send(SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 20}))
        client.await_acknowledgement()
    client.call(1, data)
    window = 3 if limit == "stream" else (1 << 16) - 1
    body = b""
    assert isinstance(client.next(), HeadersFrame)
    while len(body) < window:
        body += client.next().data
    assert len(body) == window
    # A ping comes back, but no more data.
    client.send(PingFrame(0, b"anything"))
    assert isinstance(client.next(), PingFrame)
    number = 1 if limit == "stream" else 0
    client.send(WindowUpdateFrame(number, 1))
    frame = client.next()
    body += frame.data
    assert len(frame.data) == 1
    client.send(WindowUpdateFrame(0, 1 << 20), SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 21}))
    rest, found = client.response(1)
    assert body + rest == message(data)
    assert found[b"grpc-status"] == b"0"


def test_frames_are_as_long_as_the_client_allows(client: Client) -> None:
    most = 1 << 15
    client.send(
        SettingsFrame(0, {SettingsFrame.MAX_FRAME_SIZE: most, SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 20}),
        WindowUpdateFrame(0, 1 << 20),
    )
    client.await_acknowledgement()
    client.send(
        client.headers(1),
        *(DataFrame(1, piece) for piece in (message(bytes(40_000))[:16_000], bytes(16_000))),
        DataFrame(1, bytes(8_005), flags=("END_STREAM",)),
    )
    lengths = [len(client.next().data) for _ in range(4)]
    assert lengths[1:3] == [most, 40_005 - most]


def test_long_frames_of_responses_that_are_sent_at_once_do_not_mix(client: Client) -> None:
    windows = {SettingsFrame.MAX_FRAME_SIZE: 1 << 20, SettingsFrame.INITIAL_WINDOW_SIZE: (1 << 31) - 1}
    client.send(SettingsFrame(0, settings=windows), WindowUpdateFrame(0, 1 << 30))
    client.await_acknowledgement()
    sent = {stream: bytes([stream]) * (1 << 20) for stream in range(1, 2 * ECHOES, 2)}
    for stream, data in sent.items():
        client.call(stream, data)
    found = dict.fromkeys(sent, b"")
    left = {*sent}
    while left:
        frame = client.next()
        if isinstance(frame, DataFrame):
            found[frame.stream_id] += frame.data
        if "END_STREAM" in frame.flags:
            left.remove(frame.stream_id)
    assert found == {stream: message(data) for stream, data in sent.items()}


def test_the_client_may_go_on_sending_past_half_of_the_window(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "REFILL_BYTES", 10_000)
    client.call(1, bytes(8_000))
    assert client.response(1)[0] == message(bytes(8_000))
    client.call(3, bytes(8_000))
    frame = client.next()
    assert (type(frame), frame.window_increment) == (WindowUpdateFrame, 16_010)
    assert client.response(3)[0] == message(bytes(8_000))


# What a call can get wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00\x00", message(b"a") + message(b"b"), message(b"ab")[:-1], message(b"a", compressed=1)],
    ids=["nothing", "half a head", "two", "cut off", "compressed"],
)
def test_a_call_without_exactly_one_plain_message_is_refused(client: Client, body: bytes) -> None:
    client.send(client.headers(1), DataFrame(1, body, flags=("END_STREAM",)))
    data, found = client.response(1)
    assert (data, found[b"grpc-status"]) == (b"", b"12")
    assert b"message" in found[b"grpc-message"]
    client.call(3)
    expect_echo(client, 3)


def test_a_call_of_an_unknown_method_is_refused_before_its_end(client: Client) -> None:
    client.send(client.headers(1, b"/test/nothing"))
    assert client.response(1)[1][b"grpc-status"] == b"12"
    frame = client.next()
    assert (type(frame), frame.error_code) == (RstStreamFrame, 0)
    # What the client has still sent is of no interest.
    client.send(DataFrame(1, message(b"late")), RstStreamFrame(1), WindowUpdateFrame(1, 5))
    client.call(3)
    expect_echo(client, 3)


def test_a_client_that_leaves_cancels_its_call_alone(client: Client, echo: Echo) -> None:
    client.call(1, path=b"/test/hold")
    client.call(3, path=b"/test/hold")
    for _ in range(2):
        assert echo.begun.acquire(timeout=PATIENCE_S)
    client.send(RstStreamFrame(1, error_code=8))
    assert echo.left.acquire(timeout=PATIENCE_S)
    echo.go_on.set()
    expect_echo(client, 3)
    assert echo.left.acquire(timeout=PATIENCE_S)


def test_the_end_of_a_connection_cancels_its_calls(client: Client, echo: Echo, address: str) -> None:
    client.call(1, path=b"/test/hold")
    assert echo.begun.acquire(timeout=PATIENCE_S)
    client.send(client.headers(3))
    client.close()
    assert echo.left.acquire(timeout=PATIENCE_S)


@pytest.mark.parametrize("leave", ["reset", "close"])
def test_responses_that_wait_for_room_free_their_threads_when_the_client_leaves(
    client: Client, address: str, leave: str
) -> None:
    client.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1}))
    client.await_acknowledgement()
    streams = range(1, 2 * ECHOES, 2)
    for stream in streams:
        client.call(stream)
    for _ in streams:
        while not isinstance(client.next(), DataFrame):
            pass
    if leave == "reset":
        client.send(*(RstStreamFrame(stream, error_code=8) for stream in streams))
    else:
        client.close()
    other = Client(address)
    other.call(1)
    expect_echo(other, 1)
    other.close()


def test_calls_that_are_reset_as_they_come_leave_nothing(client: Client) -> None:
    # That nothing is left is what lets the server stop at the end of each test.
    for stream in range(1, 2_001, 2):
        body = DataFrame(stream, message(b"data"), flags=("END_STREAM",))
        client.send(client.headers(stream), body, RstStreamFrame(stream))
    client.call(2_001)
    while (frame := client.next()).stream_id != 2_001:
        assert frame.stream_id < 2_001
    assert client.response(2_001)[0] == message(b"data")


# What a connection can get wrong ------------------------------------------------------------------

BLOCK = hpack.Encoder().encode(REQUEST)
END = ("END_HEADERS", "END_STREAM")


FAULTS: dict[str, tuple[int, bytes]] = {
    "a frame that is too long": (6, raw(0, 0, 1, bytes(16_385))),
    "data of a stream that has not begun": (1, DataFrame(1, b"x").serialize()),
    "data of stream 0": (1, raw(0, 0, 0, b"x")),
    "data after the end": (5, raw(1, 5, 1, BLOCK.replace(b"echo", b"hold")) + DataFrame(1, b"x").serialize()),
    "headers of stream 0": (1, raw(1, 5, 0, BLOCK)),
    "headers of the server's stream": (1, raw(1, 5, 2, BLOCK)),
    "headers that can't be decoded": (9, raw(1, 5, 1, b"\x80")),
    "headers shorter than their priority": (6, raw(1, 0x25, 1, b"abc")),
    "headers in the middle of a request": (1, raw(1, 4, 1, BLOCK) + raw(1, 4, 1, b"\x83")),
    "more padding than data": (1, raw(1, 4, 1, BLOCK) + raw(0, 8, 1, b"\x05abc")),
    "a continuation of nothing": (1, raw(9, 4, 1, BLOCK)),
    "a continuation of another stream": (1, raw(1, 0, 1, BLOCK) + raw(9, 4, 3, b"")),
    "another frame amid headers": (1, raw(1, 0, 1, BLOCK) + raw(6, 0, 0, bytes(8))),
    "endless headers": (11, raw(1, 0, 1, BLOCK) + raw(9, 0, 1, bytes(16_384)) * 4),
    "endless empty continuations": (11, raw(1, 0, 1, BLOCK) + raw(9, 0, 1, b"") * 1_001),
    "endless empty data": (11, raw(1, 4, 1, BLOCK) + raw(0, 0, 1, b"") * 1_001),
    "a reset of a stream that has not begun": (1, RstStreamFrame(1).serialize()),
    "a reset of stream 0": (1, raw(3, 0, 0, bytes(4))),
    "a short reset": (6, raw(1, 4, 1, BLOCK) + raw(3, 0, 1, bytes(3))),
    "settings of a stream": (1, raw(4, 0, 1, b"")),
    "settings that are cut off": (6, raw(4, 0, 0, bytes(5))),
    "an acknowledgement with settings": (6, raw(4, 1, 0, bytes(6))),
    "a window that is too large": (3, raw(4, 0, 0, frames.setting.pack(4, 1 << 31))),
    "frames that are too short": (1, raw(4, 0, 0, frames.setting.pack(5, 100))),
    "a window of nothing": (1, raw(8, 0, 0, bytes(4))),
    "a window that overflows": (3, WindowUpdateFrame(0, (1 << 31) - 1).serialize()),
    "a window of a stream that has not begun": (1, WindowUpdateFrame(1, 5).serialize()),
    "a short window": (6, raw(8, 0, 0, bytes(3))),
    "a short ping": (6, raw(6, 0, 0, bytes(7))),
    "a ping of a stream": (1, raw(6, 0, 1, bytes(8))),
    "a push": (1, PushPromiseFrame(1, promised_stream_id=2, data=BLOCK, flags=("END_HEADERS",)).serialize()),
    "a short priority": (6, raw(2, 0, 1, bytes(4))),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_client_that_breaks_http2_loses_its_connection_alone(
    client: Client, address: str, name: str
) -> None:
    code, data = FAULTS[name]
    client.socket.sendall(data)
    assert client.goaway() == code
    other = Client(address)
    other.call(1)
    expect_echo(other, 1)
    other.close()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n\r\nSMX"])
def test_what_is_not_http2_is_hung_up_on(address: str, data: bytes) -> None:
    client = Client(address, greets=False)
    client.socket.sendall(data)
    while client.next() is not None:
        pass
    client.close()


def test_a_client_that_reads_nothing_ends_its_connection_and_holds_nobody_up(
    client: Client, address: str
) -> None:
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        send_all(client.socket, repeat(PingFrame(0, b"flooding").serialize() * 1_000))
    other = Client(address)
    other.call(1)
    expect_echo(other, 1)
    other.close()


def test_refusals_hold_nobody_up_though_their_client_reads_nothing(client: Client, address: str) -> None:
    wild = [client, Client(address), Client(address)]
    for each in wild:
        calls = (each.headers(stream, b"/test/nothing").serialize() for stream in range(1, 1_000_000, 2))
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            send_all(each.socket, calls)
    other = Client(address)
    other.call(1)
    expect_echo(other, 1)
    for each in (*wild, other):
        each.close()


def test_a_refusal_reaches_a_client_that_reads_late(client: Client) -> None:
    client.socket.setblocking(False)
    count = 0
    while count < 700 and sends(client.socket, client.headers(2 * count + 1, b"/test/nothing").serialize()):
        count += 1
    client.socket.settimeout(PATIENCE_S)
    refused = [client.next().stream_id for _ in range(2 * count)]  # each with a RST_STREAM
    assert sorted(refused) == sorted(2 * [*range(1, 2 * count, 2)])


def test_acknowledgements_wait_for_a_client_that_reads_late(client: Client) -> None:
    # More than both sides of the socket hold, and less than what ends the connection, even if the
    # server keeps up with the client.
    client.socket.setblocking(False)
    count, most = 0, MAX_PENDING_BYTES // len(PingFrame(0, bytes(8)).serialize())
    while count < most and sends(client.socket, PingFrame(0, count.to_bytes(8, "big")).serialize()):
        count += 1
    client.socket.settimeout(PATIENCE_S)
    assert [int.from_bytes(client.next().opaque_data, "big") for _ in range(count)] == list(range(count))
    client.call(1)
    expect_echo(client, 1)


# Floods -------------------------------------------------------------------------------------------


def calls_and_resets() -> Iterator[bytes]:
    for stream in range(3, 20_003, 2):
        yield raw(1, 4, stream, BLOCK) + raw(0, 1, stream, message(b"x")) + raw(3, 0, stream, bytes(4))


FLOODS: dict[str, Callable[[], Iterable[bytes]]] = {
    "pings": lambda: repeat(raw(6, 0, 0, bytes(8)), 50_000),
    "settings": lambda: repeat(raw(4, 0, 0, frames.setting.pack(4, 9) * 2_000), 50),
    "windows of a byte": lambda: repeat(raw(8, 0, 0, frames.number(1)), 50_000),
    "data of a byte": lambda: repeat(raw(0, 0, 1, b"x"), 50_000),
    "more data than the message": lambda: repeat(raw(0, 0, 1, bytes(16_384)), 500),
    "calls that are reset": calls_and_resets,
    "calls without an end": lambda: (raw(1, 4, stream, BLOCK) for stream in range(3, 20_003, 2)),
    "a long block": lambda: [raw(1, 0, 3, b""), *repeat(raw(9, 0, 3, bytes(16_384)), 50)],
    "continuations of a byte": lambda: [raw(1, 0, 3, b""), *repeat(raw(9, 0, 3, b"\x82"), 70_000)],
    "a block that grows": lambda: [raw(1, 5, 3, b"\x40\x01a\x7f\xa1\x1e" + bytes(4_000) + b"\xbe" * 9_000)],
    "sizes of the table": lambda: repeat(raw(1, 4, 1, b"\x20" * 16_000), 50),
    "priorities": lambda: repeat(raw(2, 0, 1, bytes(5)), 50_000),
    "unknown frames": lambda: repeat(raw(99, 0, 1, bytes(16_384)), 500),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_holds_nobody_else_up(client: Client, address: str, name: str) -> None:
    def read() -> None:
        while True:
            try:
                if client.next() is None:
                    return
            except TimeoutError:
                pass  # some floods get no response

    client.send(client.headers(1))
    client.socket.sendall(raw(0, 0, 1, message(b"")))
    reader = threading.Thread(target=read)
    reader.start()
    other = Client(address)
    pieces = FLOODS[name]()
    stream = 1
    with suppress(OSError):  # hung up on
        for number, piece in enumerate(pieces):
            client.socket.sendall(piece)
            if number % 5_000 == 0:
                other.call(stream)
                expect_echo(other, stream)
                stream += 2
    with suppress(OSError):
        client.socket.shutdown(socket.SHUT_RDWR)
    reader.join(PATIENCE_S)
    other.call(stream)
    expect_echo(other, stream)
    other.close()


def test_what_is_longer_than_its_message_is_not_kept() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        connection = Connection(theirs, "unix:")
        ours.sendall(frames.PREFACE + frames.settings([]) + raw(1, 4, 1, BLOCK))
        (stream,) = connection.receive()
        for _ in range(20):
            ours.sendall(raw(0, 0, 1, message(b"ab")[:6]))
            assert not connection.receive()
            assert len(stream.data) <= 2 * 6
        connection.close()


def test_a_connection_has_so_many_calls_even_if_it_resets_them(
    client: Client, echo: Echo, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pollserver, "MAX_CALLS", 3)
    for stream in (1, 3, 5):
        client.call(stream, path=b"/test/hold")
        assert echo.begun.acquire(timeout=PATIENCE_S)
    client.send(RstStreamFrame(1, error_code=8))
    assert echo.left.acquire(timeout=PATIENCE_S)
    client.call(7)
    data, found = client.response(7)
    assert (data, found[b"grpc-status"]) == (b"", b"8")
    other = Client(address)
    other.call(1)
    expect_echo(other, 1)
    other.close()
    echo.go_on.set()
    ended: set[int] = set()
    while ended != {3, 5}:
        frame = client.next()
        if "END_STREAM" in frame.flags:
            ended.add(frame.stream_id)
    streams = count(9, 2)

    def is_served() -> bool:
        stream = next(streams)
        client.call(stream)
        return client.response(stream)[1][b"grpc-status"] == b"0"

    # Their responses are there a moment before the calls no longer count.
    eventually(is_served)


def test_the_oldest_connection_without_a_call_makes_room(
    client: Client, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pollserver, "MAX_CONNECTIONS", 3)
    client.call(1)
    expect_echo(client, 1)
    first, second = Client(address), Client(address)
    third = Client(address)
    assert first.next() is None
    for each in (second, third):
        each.call(1)
        expect_echo(each, 1)
    refused = Client(address, greets=False)
    while refused.next() is not None:
        pass
    for each in (client, second, third):
        each.call(3)
        expect_echo(each, 3)
    for each in (first, second, third, refused):
        each.close()


def send_all(sock: socket.socket, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        sock.sendall(piece)


def sends(sock: socket.socket, data: bytes) -> bool:
    try:
        return sock.send(data) == len(data)
    except BlockingIOError:
        return False


anything = st.one_of(
    st.binary(max_size=60),
    st.builds(
        raw,
        st.integers(0, 11),
        st.integers(0, 255),
        st.integers(0, 9),
        st.binary(max_size=40) | st.just(BLOCK),
    ),
)


@given(st.lists(anything, max_size=12))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=150,
)
def test_whatever_a_client_sends_others_are_served(address: str, sent: list[bytes]) -> None:
    wild, other = Client(address), Client(address)
    wild.socket.sendall(b"".join(sent))
    other.call(1)
    expect_echo(other, 1)
    wild.close()
    other.close()


# The end ------------------------------------------------------------------------------------------


def test_a_server_that_stops_says_so_and_refuses_new_calls(tmp_path: Path) -> None:
    echo = Echo()
    plugin = PollServer()
    plugin.add_generic_rpc_handlers((echo,))
    plugin.add_insecure_port(f"unix:{tmp_path / 'socket'}")
    plugin.start()
    client = Client(str(tmp_path / "socket"))
    client.call(1, path=b"/test/hold")
    assert echo.begun.acquire(timeout=PATIENCE_S)
    stopped = plugin.stop(PATIENCE_S)
    frame = client.next()
    assert (type(frame), frame.last_stream_id, frame.error_code) == (GoAwayFrame, 1, 0)
    client.call(3)
    frame = client.next()
    assert (type(frame), frame.stream_id, frame.error_code) == (RstStreamFrame, 3, frames.REFUSED_STREAM)
    echo.go_on.set()
    expect_echo(client, 1)
    assert client.next() is None
    assert stopped.wait(PATIENCE_S)
    client.close()


FORKING = """
import os, sys, time
from vmsdk.rpc.pollserver import PollServer
server = PollServer()
server.add_insecure_port("unix:" + sys.argv[1])
server.start()
os.write(1, b"serves\\n")
sys.stdin.readline()
child = os.fork()
if not child:
    os.write(1, b"%d\\n" % len(os.listdir("/proc/self/fd")))
    time.sleep(600)
os.write(1, b"%d\\n" % child)
os._exit(0) if sys.stdin.readline() else None
"""


def test_a_forked_child_keeps_no_connection_open(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with subprocess.Popen(
        [sys.executable, "-c", FORKING, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"serves\n"
        client = Client(path)
        process.stdin.write(b"fork\n")
        # In either order: the child's descriptors, with that of the listing, and its number.
        printed = sorted(int(process.stdout.readline()) for _ in range(2))
        process.stdin.write(b"end\n")
        process.wait(PATIENCE_S)
        try:
            assert client.next() is None
            assert printed[0] == 4
        finally:
            os.kill(printed[1], 9)
            client.close()
