"""Servers that break the protocol, leave, or are slow: a scripted server sends frame by frame."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.wire.services.scripted_node import DEADLINE_S, ScriptedNode, answers
from vmsdk._pb.rpcdb import rpcdb_pb2 as pb
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk.errors import NodeError
from vmsdk.http2 import frames
from vmsdk.http2.frames import END_HEADERS, END_STREAM, PREFACE, frame
from vmsdk.http2.hpack import encode
from vmsdk.services.call import Call
from vmsdk.services.channel import Channel, connect

MESSAGE = pb.GetResponse(value=b"hello").SerializeToString()
DATA = struct.pack(">BI", 0, len(MESSAGE)) + MESSAGE
BOTH = END_HEADERS | END_STREAM
HEADERS = encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
OK = encode([(b"grpc-status", b"0")])


class Peer:
    """The server's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")
        self.stream = 0
        self.data = b""

    def greet(self, *settings: tuple[int, int]) -> None:
        assert self.file.read(len(PREFACE)) == PREFACE
        self.send(frames.settings(settings))

    def read(self) -> tuple[int, int, int, bytes]:
        data = self.file.read(9)
        if not data:
            raise EOFError
        high, low, kind, flags, stream = frames.head.unpack(data)
        return kind, flags, stream, self.file.read(high << 8 | low)

    def take_request(self) -> int:
        """Wait for the end of a request. Returns its stream."""
        self.data = b""
        while True:
            kind, flags, stream, payload = self.read()
            if kind == frames.DATA:
                self.data += payload
                if flags & END_STREAM:
                    return stream

    def finish(self) -> None:
        """Leave in good order: closed with bytes unread, a socket takes back what it has sent."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
            while self.file.read(1 << 16):
                pass
        except OSError:
            pass  # the client has closed it with bytes unread
        self.file.close()

    def send(self, *parts: bytes) -> None:
        self.sock.sendall(b"".join(parts))

    def answer(self, stream: int) -> None:
        self.send(
            frame(frames.HEADERS, END_HEADERS, stream, HEADERS),
            frame(frames.DATA, 0, stream, DATA),
            frame(frames.HEADERS, BOTH, stream, OK),
        )


@contextmanager
def serving(*scripts: Callable[[Peer], None]) -> Iterator[Channel]:
    """A channel to a server that treats its first connection by the first script, and so on."""
    errors: list[BaseException] = []

    def run(script: Callable[[Peer], None], sock: socket.socket) -> None:
        with sock:
            peer = Peer(sock)
            try:
                script(peer)
            except (EOFError, OSError):
                pass
            except BaseException as error:  # noqa: BLE001 - the test raises it
                errors.append(error)
            finally:
                peer.finish()

    def serve() -> None:
        threads = []
        for script in scripts:
            sock, _ = listener.accept()
            if stop.is_set():
                sock.close()
                break
            threads.append(threading.Thread(target=run, args=(script, sock), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert not any(thread.is_alive() for thread in threads)

    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            with connect(f"127.0.0.1:{address[1]}") as channel:
                yield channel
        finally:
            stop.set()
            socket.create_connection(address).close()  # for scripts without a connection
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
    assert not errors


def get(channel: Channel, key: bytes = b"key") -> bytes:
    return Call(channel, Database.Get)(pb.GetRequest(key=key)).value


def healthy(peer: Peer) -> None:
    peer.greet()
    while True:
        peer.answer(peer.take_request())


def failing(reply: Callable[[Peer, int], None]) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.greet()
        reply(peer, peer.take_request())

    return script


def test_calls_share_a_connection() -> None:
    with serving(healthy) as channel:
        assert [get(channel) for _ in range(3)] == [b"hello"] * 3


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (lambda peer, stream: None, "UNAVAILABLE"),
        (lambda peer, stream: peer.send(frame(frames.HEADERS, END_HEADERS, stream, HEADERS)), "UNAVAILABLE"),
        (lambda peer, stream: peer.send(frame(frames.RST_STREAM, 0, stream, frames.number(2))), "INTERNAL"),
        (lambda peer, stream: peer.send(frame(frames.RST_STREAM, 0, stream, frames.number(8))), "CANCELLED"),
        (lambda peer, stream: peer.send(b"\xff" * 100), "INTERNAL"),
        (lambda peer, stream: peer.send(frame(frames.DATA, 0, stream, DATA)), "INTERNAL"),
        (lambda peer, stream: peer.send(frame(frames.HEADERS, END_HEADERS, stream, b"\xff")), "INTERNAL"),
        (lambda peer, stream: peer.send(frame(frames.HEADERS, 0, stream, bytes(9)) * 2), "INTERNAL"),
        (
            lambda peer, stream: peer.send(
                frame(frames.HEADERS, 0, stream, b""), frame(frames.CONTINUATION, 0, stream, bytes(16000)) * 5
            ),
            "INTERNAL",
        ),
        (
            lambda peer, stream: peer.send(
                frame(frames.HEADERS, BOTH, stream, encode([(b":status", b"503")]))
            ),
            "UNAVAILABLE",
        ),
        (
            lambda peer, stream: peer.send(
                frame(frames.HEADERS, BOTH, stream, HEADERS + encode([(b"grpc-status", b"x")]))
            ),
            "UNKNOWN",
        ),
        (
            lambda peer, stream: peer.send(frame(frames.HEADERS, BOTH, stream, HEADERS + OK)),
            "INTERNAL",
        ),
    ],
    ids=[
        "leaves", "leaves amid a response", "resets", "cancels", "garbage", "data first", "bad headers",
        "a frame amid headers", "headers without end", "HTTP 503", "a bad status", "no message",
    ],
)  # fmt: skip
def test_a_fault_fails_the_call_which_is_not_repeated(reply: Callable[[Peer, int], None], code: str) -> None:
    with serving(failing(reply), healthy) as channel:
        with pytest.raises(NodeError) as caught:
            get(channel)
        assert caught.value.code == code
        assert get(channel) == b"hello"


@pytest.mark.parametrize(
    "refusal",
    [
        lambda peer, stream: peer.send(frame(frames.RST_STREAM, 0, stream, frames.number(7))),
        lambda peer, stream: peer.send(frame(frames.GOAWAY, 0, 0, struct.pack(">II", 0, 0))),
    ],
    ids=["REFUSED_STREAM", "GOAWAY"],
)
def test_a_refused_call_is_made_again(refusal: Callable[[Peer, int], None]) -> None:
    with serving(failing(refusal), healthy) as channel:
        assert get(channel) == b"hello"


def test_a_call_that_is_refused_twice_fails() -> None:
    def refuse(peer: Peer, stream: int) -> None:
        peer.send(frame(frames.RST_STREAM, 0, stream, frames.number(7)))

    with serving(failing(refuse), failing(refuse)) as channel, pytest.raises(NodeError) as caught:
        get(channel)
    assert caught.value.code == "UNAVAILABLE"


def test_an_idle_connection_that_has_ended_is_replaced() -> None:
    def answer_once(peer: Peer) -> None:
        peer.greet()
        peer.answer(peer.take_request())

    def answer_and_leave(peer: Peer) -> None:
        answer_once(peer)
        peer.send(frame(frames.GOAWAY, 0, 0, struct.pack(">II", 1, 0)))

    with serving(answer_and_leave, healthy) as channel:
        assert get(channel) == b"hello"
        assert get(channel) == b"hello"


def test_a_response_of_many_kinds_of_frames() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        stream = peer.take_request()
        peer.send(
            frame(frames.PING, 0, 0, b"12345678"),
            frame(frames.HEADERS, 0, stream, HEADERS[:3]),
            frame(frames.CONTINUATION, 0, stream, HEADERS[3:9]),
            frame(frames.CONTINUATION, END_HEADERS, stream, HEADERS[9:]),
            frame(frames.DATA, frames.PADDED, stream, b"\x03" + DATA[:4] + bytes(3)),
            *(frame(frames.DATA, 0, stream, DATA[at : at + 1]) for at in range(4, len(DATA))),
            frame(0x77, 0, stream, b"unknown"),
            frame(frames.HEADERS, BOTH, stream, OK),
        )
        while True:
            if peer.read()[:2] == (frames.PING, frames.ACK):
                return

    with serving(script) as channel:
        assert get(channel) == b"hello"


def test_a_request_keeps_to_windows_of_one_byte() -> None:
    key = bytes(range(200))

    def script(peer: Peer) -> None:
        peer.greet((frames.INITIAL_WINDOW_SIZE, 1))
        while True:
            kind, flags, stream, payload = peer.read()
            if kind == frames.DATA:
                assert len(payload) == 1
                peer.data += payload
                if flags & END_STREAM:
                    break
                peer.send(frame(frames.WINDOW_UPDATE, 0, stream, frames.number(1)))
        assert pb.GetRequest.FromString(peer.data[5:]).key == key
        peer.answer(stream)

    with serving(script) as channel:
        assert get(channel, key) == b"hello"


def test_a_server_that_speaks_something_else_fails_the_call() -> None:
    def script(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.file.read()

    with serving(script) as channel, pytest.raises(NodeError, match="does not speak HTTP/2") as caught:
        get(channel)
    assert caught.value.code == "UNAVAILABLE"


def test_messages_of_64_MiB() -> None:
    value = os.urandom(1 << 20) * 64
    node = ScriptedNode({Database.Get: lambda request, context: pb.GetResponse(value=request.key)})
    with node, connect(node.address) as channel:
        assert get(channel, value) == value


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_its_own_connections() -> None:
    with serving(healthy) as channel:
        assert get(channel) == b"hello"
        kept = {os.fstat(each._socket.fileno()).st_ino for each in channel._connections}
        child = os.fork()
        if not child:
            status = 1
            try:
                inodes = set()
                for name in os.listdir("/dev/fd"):
                    try:
                        inodes.add(os.fstat(int(name)).st_ino)
                    except OSError:
                        pass
                status = 2 if kept & inodes else 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert get(channel) == b"hello"


def test_many_threads_call_at_once() -> None:
    with (
        ScriptedNode({Database.Get: answers(pb.GetResponse(value=b"hello"))}) as node,
        connect(node.address) as channel,
    ):
        found: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: found.extend(get(channel) for _ in range(20))) for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert found == [b"hello"] * 800
