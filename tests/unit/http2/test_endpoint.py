"""What arrives in pieces, on both sides of a connection."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from vmsdk.http2 import frames
from vmsdk.http2.client import ClientConnection
from vmsdk.http2.frames import END_HEADERS, END_STREAM, PREFACE, frame
from vmsdk.http2.hpack import encode
from vmsdk.http2.server import Connection

HEADERS = [(b":status", b"200")]
TRAILERS = [(b"grpc-status", b"0")]
BLOCK = encode(HEADERS)


def pairs(count: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    for _ in range(count):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            yield ours, theirs


def test_a_response_may_be_split_anywhere() -> None:
    data = (
        frame(frames.PING, 0, 0, bytes(8))
        + frame(frames.HEADERS, 0, 1, BLOCK[:3])
        + frame(frames.CONTINUATION, END_HEADERS, 1, BLOCK[3:])
        + frame(frames.DATA, frames.PADDED, 1, b"\x02data\0\0")
        + frame(frames.HEADERS, END_HEADERS | END_STREAM, 1, encode(TRAILERS))
    )
    for at, (ours, theirs) in enumerate(pairs(len(data) - 1), 1):
        theirs.sendall(frames.settings([]))
        client = ClientConnection(ours)
        client.greet()
        client.request(b"", b"")
        theirs.sendall(data[:at])
        client._wait()
        theirs.sendall(data[at:])
        assert client.response() == (tuple(HEADERS), tuple(TRAILERS), b"data")
        assert client.is_usable()


@pytest.mark.skipif(sys.platform != "linux", reason="the server needs epoll")
def test_a_request_may_be_split_anywhere() -> None:
    message = frames.message_head.pack(0, 4) + b"data"
    data = (
        PREFACE
        + frames.settings([(frames.INITIAL_WINDOW_SIZE, 9)])
        + frame(frames.HEADERS, 0, 1, BLOCK[:3])
        + frame(frames.CONTINUATION, END_HEADERS, 1, BLOCK[3:])
        + frame(frames.WINDOW_UPDATE, 0, 1, frames.number(3))
        + frame(frames.DATA, 0, 1, message[:2])
        + frame(frames.DATA, END_STREAM, 1, message[2:])
    )
    for at, (ours, theirs) in enumerate(pairs(len(data) - 1), 1):
        server = Connection(ours, "unix:")
        theirs.sendall(data[:at])
        server.receive()
        theirs.sendall(data[at:])
        (stream,) = server.receive()
        assert (stream.headers, stream.message()) == (tuple(HEADERS), b"data")
        assert stream.is_complete


MOST = (1 << 31) - 1


def initial_window(value: int) -> bytes:
    return frames.settings([(frames.INITIAL_WINDOW_SIZE, value)])


def widened(stream: int) -> bytes:
    """By as much as the window at the beginning of a connection can be."""
    return frame(frames.WINDOW_UPDATE, 0, stream, frames.number(MOST - frames.DEFAULT_WINDOW_BYTES))


def test_a_server_must_not_widen_a_stream_too_far_by_its_settings() -> None:
    for value in (frames.DEFAULT_WINDOW_BYTES, frames.DEFAULT_WINDOW_BYTES + 1):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(frames.settings([]))
            client = ClientConnection(ours)
            client.greet()
            client.request(b"", b"")
            # Not this stream, which ends: a later one may have any window.
            theirs.sendall(widened(1) + frame(frames.HEADERS, END_HEADERS | END_STREAM, 1, BLOCK))
            theirs.sendall(initial_window(MOST) + initial_window(frames.DEFAULT_WINDOW_BYTES))
            client.response()
            assert client.is_usable()
            client.request(b"", b"")
            theirs.sendall(widened(3) + initial_window(value))
            theirs.sendall(frame(frames.HEADERS, END_HEADERS | END_STREAM, 3, BLOCK))
            if value == frames.DEFAULT_WINDOW_BYTES:
                client.response()
            else:
                with pytest.raises(frames.Fault, match=f"a window of {MOST + 1} bytes") as caught:
                    client.response()
                assert caught.value.code == frames.FLOW_CONTROL_ERROR


@pytest.mark.skipif(sys.platform != "linux", reason="the server needs epoll")
def test_a_client_must_not_widen_a_stream_too_far_by_its_settings() -> None:
    for value in (frames.DEFAULT_WINDOW_BYTES, frames.DEFAULT_WINDOW_BYTES + 1):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            server = Connection(ours, "unix:")
            calls = [frame(frames.HEADERS, END_HEADERS, stream, BLOCK) for stream in (1, 3, 5)]
            reset = frame(frames.RST_STREAM, 0, 1, frames.number(frames.CANCEL))
            theirs.sendall(PREFACE + frames.settings([]) + b"".join(calls) + widened(1) + reset)
            # No open stream is widened.
            theirs.sendall(initial_window(MOST) + initial_window(frames.DEFAULT_WINDOW_BYTES))
            server.receive()
            assert not server.is_ended
            theirs.sendall(widened(3) + initial_window(value))
            server.receive()
            assert server.is_ended == (value > frames.DEFAULT_WINDOW_BYTES)
            sent = theirs.recv(1 << 16)
            end = frames.number(frames.FLOW_CONTROL_ERROR) + b"a window of %d bytes" % (MOST + 1)
            assert sent.endswith(end) == server.is_ended
