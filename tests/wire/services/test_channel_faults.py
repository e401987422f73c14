"""Servers that break the protocol, leave, or are slow: a scripted server sends frame by frame."""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.wire.services.scripted_node import DEADLINE_S, ScriptedNode, answers
from vmsdk._pb.rpcdb import rpcdb_pb2 as pb
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk.errors import NodeError
from vmsdk.http2 import endpoint, frames
from vmsdk.http2.frames import ACK, END_HEADERS, END_STREAM, MAX_WINDOW_BYTES, PREFACE, frame
from vmsdk.http2.hpack import encode
from vmsdk.services import iterator
from vmsdk.services.call import Call
from vmsdk.services.channel import LONGEST_IDLE_S, Channel, connect
from vmsdk.services.database import DatabaseClient

MESSAGE = pb.GetResponse(value=b"hello").SerializeToString()
DATA = struct.pack(">BI", 0, len(MESSAGE)) + MESSAGE
BOTH = END_HEADERS | END_STREAM
HEADERS = encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
OK = encode([(b"grpc-status", b"0")])


class Peer:
    """The server's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(DEADLINE_S)
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

    def answer(self, stream: int, message: bytes = MESSAGE) -> None:
        self.send(
            frame(frames.HEADERS, END_HEADERS, stream, HEADERS),
            frame(frames.DATA, 0, stream, frames.message_head.pack(0, len(message)) + message),
            frame(frames.HEADERS, BOTH, stream, OK),
        )


def in_a_fork(check: Callable[[], bool]) -> int:
    """The exit status of a forked child: 0 if *check* holds there."""
    gc.freeze()  # gRPC aborts a child that collects the servers of earlier tests
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if check() else 2
        finally:
            os._exit(status)
    gc.unfreeze()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def serving(
    *scripts: Callable[[Peer], None], clock: Callable[[], float] = time.monotonic
) -> Iterator[Channel]:
    """A channel to a server that treats its first connection by the first script, and so on. There
    calls fail on any more.
    """
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
        left = [*scripts]
        while True:
            sock, _ = listener.accept()
            if stop.is_set():
                sock.close()
                break
            script = left.pop(0) if left else refuse_to_speak
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
            with Channel(f"127.0.0.1:{address[1]}", clock) as channel:
                yield channel
        finally:
            stop.set()
            socket.create_connection(address).close()
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
    assert not errors


def get(channel: Channel, key: bytes = b"key") -> bytes:
    return Call(channel, Database.Get)(pb.GetRequest(key=key)).value


def healthy(peer: Peer) -> None:
    peer.greet()
    answer_all(peer)


def answer_all(peer: Peer) -> None:
    while True:
        peer.answer(peer.take_request())


def expect_the_end(peer: Peer) -> None:
    while True:
        assert peer.read()[0] != frames.HEADERS, "another call on a connection that is of no use"


def leave(peer: Peer) -> None:
    pass


def refuse_to_speak(peer: Peer) -> None:
    peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    peer.file.read()


def failing(
    reply: Callable[[Peer, int], None], then: Callable[[Peer], None] = expect_the_end
) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.greet()
        reply(peer, peer.take_request())
        then(peer)

    return script


def test_calls_share_a_connection() -> None:
    with serving(healthy) as channel:
        assert [get(channel) for _ in range(3)] == [b"hello"] * 3


def sends(kind: int, flags: int, payload: bytes) -> Callable[[Peer, int], None]:
    return lambda peer, stream: peer.send(frame(kind, flags, stream, payload))


def endless_headers(peer: Peer, stream: int) -> None:
    peer.send(
        frame(frames.HEADERS, 0, stream, b""), *[frame(frames.CONTINUATION, 0, stream, bytes(16_000))] * 5
    )


@pytest.mark.parametrize(
    ("reply", "then", "code"),
    [
        (lambda peer, stream: None, leave, "UNAVAILABLE"),
        (sends(frames.HEADERS, END_HEADERS, HEADERS), leave, "UNAVAILABLE"),
        (sends(frames.RST_STREAM, 0, frames.number(2)), expect_the_end, "INTERNAL"),
        (sends(frames.RST_STREAM, 0, frames.number(8)), expect_the_end, "CANCELLED"),
        (lambda peer, stream: peer.send(b"\xff" * 100), expect_the_end, "INTERNAL"),
        (sends(frames.DATA, 0, DATA), expect_the_end, "INTERNAL"),
        (sends(frames.HEADERS, END_HEADERS, b"\xff"), expect_the_end, "INTERNAL"),
        (
            lambda peer, stream: peer.send(frame(frames.HEADERS, 0, stream, bytes(9)) * 2),
            expect_the_end,
            "INTERNAL",
        ),
        (endless_headers, expect_the_end, "INTERNAL"),
        (sends(frames.HEADERS, BOTH, encode([(b":status", b"503")])), answer_all, "UNAVAILABLE"),
        (sends(frames.HEADERS, BOTH, HEADERS + encode([(b"grpc-status", b"x")])), answer_all, "UNKNOWN"),
        (sends(frames.HEADERS, BOTH, HEADERS + OK), answer_all, "INTERNAL"),
    ],
    ids=[
        "leaves", "leaves amid a response", "resets", "cancels", "garbage", "data first", "bad headers",
        "a frame amid headers", "headers without end", "HTTP 503", "a bad status", "no message",
    ],
)  # fmt: skip
def test_a_fault_fails_the_call_which_is_not_repeated(
    reply: Callable[[Peer, int], None], then: Callable[[Peer], None], code: str
) -> None:
    with serving(failing(reply, then), healthy) as channel:
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

    with (
        serving(failing(refuse), failing(refuse)) as channel,
        pytest.raises(NodeError, match="refused the call") as caught,
    ):
        get(channel)
    assert caught.value.code == "UNAVAILABLE"


def test_an_idle_connection_whose_server_leaves_is_replaced() -> None:
    answered = threading.Event()

    def answer_once(peer: Peer, stream: int) -> None:
        peer.answer(stream)
        answered.wait(DEADLINE_S)
        peer.send(frame(frames.GOAWAY, 0, 0, struct.pack(">II", 1, 0)))

    with serving(failing(answer_once), healthy) as channel:
        assert get(channel) == b"hello"
        answered.set()
        wait_until_readable(channel)
        assert get(channel) == b"hello"


def wait_until_readable(channel: Channel) -> None:
    (connection,) = channel._connections
    assert select.select([connection._socket], [], [], DEADLINE_S)[0]


def test_an_idle_connection_that_the_server_has_closed_is_replaced() -> None:
    with serving(failing(Peer.answer, leave), healthy) as channel:
        assert get(channel) == b"hello"
        wait_until_readable(channel)
        assert get(channel) == b"hello"


def test_a_connection_without_calls_for_long_is_replaced() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        for _ in range(2):
            peer.answer(peer.take_request())
        expect_the_end(peer)

    now_s = 0.0
    with serving(script, healthy, clock=lambda: now_s) as channel:
        for pause_s in (0.0, LONGEST_IDLE_S - 1, LONGEST_IDLE_S):
            now_s += pause_s
            assert get(channel) == b"hello"
        assert len(channel._connections) == 1


def test_the_page_of_an_iterator_that_pauses_is_read_before_its_server_hangs_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(iterator, "READ_AFTER_S", 0.01)
    hung_up = threading.Event()
    page = pb.IteratorNextResponse(data=[pb.PutRequest(key=b"key", value=b"value")])

    def script(peer: Peer) -> None:
        peer.greet()
        peer.answer(peer.take_request(), pb.NewIteratorWithStartAndPrefixResponse(id=1).SerializeToString())
        stream = peer.take_request()
        peer.send(frame(frames.PING, 0, 0, bytes(8)))
        peer.answer(stream, page.SerializeToString())
        while peer.read()[:2] != (frames.PING, ACK):
            pass
        peer.sock.shutdown(socket.SHUT_RDWR)
        hung_up.set()

    def end(peer: Peer) -> None:
        peer.greet()
        while True:
            peer.answer(peer.take_request(), b"")

    with serving(script, end) as channel:
        found = DatabaseClient(channel).iterate()
        assert hung_up.wait(DEADLINE_S)
        assert list(found) == [(b"key", b"value")]


def test_what_an_idle_connection_has_got_is_taken_before_the_next_call() -> None:
    answered = threading.Event()

    def script(peer: Peer) -> None:
        peer.greet()
        peer.answer(peer.take_request())
        answered.wait(DEADLINE_S)
        peer.send(frame(frames.PING, 0, 0, b"12345678") + frames.settings([(frames.INITIAL_WINDOW_SIZE, 4)]))
        found = []
        while (seen := peer.read())[0] != frames.HEADERS:
            found.append(seen[:2])
        assert found == [(frames.PING, ACK), (frames.SETTINGS, ACK)]
        assert peer.read() == (frames.DATA, 0, seen[2], bytes(1) + frames.number(5)[:3])
        peer.send(frame(frames.WINDOW_UPDATE, 0, seen[2], frames.number(1 << 16)))
        peer.answer(peer.take_request())

    with serving(script) as channel:
        assert get(channel) == b"hello"
        answered.set()
        wait_until_readable(channel)
        assert get(channel) == b"hello"


def test_a_call_ends_well_on_a_connection_that_the_server_is_leaving() -> None:
    def announce_and_answer(peer: Peer, stream: int) -> None:
        peer.send(frame(frames.GOAWAY, 0, 0, struct.pack(">II", (1 << 31) - 1, 0)))
        peer.send(frame(frames.GOAWAY, 0, 0, struct.pack(">II", stream, 0)))
        peer.answer(stream)

    later = []

    def note_and_answer(peer: Peer, stream: int) -> None:
        later.append(stream)
        peer.answer(stream)

    with serving(failing(announce_and_answer), failing(note_and_answer)) as channel:
        assert get(channel) == b"hello"
        assert later == []
        assert get(channel) == b"hello"
        assert later == [1]


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


def test_a_request_has_frames_and_windows_as_large_as_the_server_says() -> None:
    key = bytes(100_000)

    def script(peer: Peer) -> None:
        peer.greet((frames.MAX_FRAME_SIZE, 50_000), (frames.INITIAL_WINDOW_SIZE, 1 << 20))
        while (seen := peer.read())[0] != frames.DATA:
            pass
        assert len(seen[3]) == 50_000
        assert len(peer.read()[3]) == frames.DEFAULT_WINDOW_BYTES - 50_000
        peer.send(frame(frames.WINDOW_UPDATE, 0, 0, frames.number(1 << 20)))
        peer.answer(peer.take_request())

    with serving(script) as channel:
        assert get(channel, key) == b"hello"


def test_the_connections_window_is_refilled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "REFILL_BYTES", 1_000)
    value = bytes(8_000)
    message = pb.GetResponse(value=value).SerializeToString()
    data = struct.pack(">BI", 0, len(message)) + message

    def script(peer: Peer) -> None:
        peer.greet()
        stream = peer.take_request()
        peer.send(frame(frames.HEADERS, END_HEADERS, stream, HEADERS))
        left = data
        while left:
            peer.send(frame(frames.DATA, frames.PADDED, stream, b"\0" + left[:999]))
            left = left[999:]
            if left:
                kind, _, updated, payload = peer.read()
                assert (kind, updated, payload) == (frames.WINDOW_UPDATE, 0, frames.number(1_000))
        peer.send(frame(frames.HEADERS, BOTH, stream, OK))

    with serving(script) as channel:
        assert get(channel) == value


@pytest.mark.parametrize("first", [b"HTTP/1.1 400 Bad Request\r\n\r\n", frame(frames.PING, 0, 0, bytes(8))])
def test_a_server_that_does_not_begin_with_settings_fails_the_call(first: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.send(first)
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

        def has_none_of_them() -> bool:
            inodes = set()
            for name in os.listdir("/dev/fd"):
                try:
                    inodes.add(os.fstat(int(name)).st_ino)
                except OSError:
                    pass
            return not kept & inodes

        assert in_a_fork(has_none_of_them) == 0
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


# Calls that are given up ----------------------------------------------------------------------


def failure(call: Future[bytes]) -> NodeError:
    error = call.exception(DEADLINE_S)
    assert isinstance(error, NodeError)
    return error


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals don't interrupt calls")
def test_an_interrupted_call_takes_its_connection_with_it() -> None:
    main = threading.get_ident()
    interrupted = threading.Event()

    def interrupt(number: int, stack: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    def signal_until_it_leaves(peer: Peer, stream: int) -> None:
        while not interrupted.is_set():  # a signal just before the system call doesn't end that
            signal.pthread_kill(main, signal.SIGINT)
            interrupted.wait(0.1)
        expect_the_end(peer)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with serving(failing(signal_until_it_leaves), healthy) as channel:
            with pytest.raises(KeyboardInterrupt):
                get(channel)
            assert not channel._connections
            assert get(channel) == b"hello"
    finally:
        signal.signal(signal.SIGINT, before)


def test_closing_ends_an_attempt_to_connect(pool: ThreadPoolExecutor) -> None:
    greeted = threading.Event()

    def say_nothing(peer: Peer) -> None:
        assert peer.file.read(len(PREFACE)) == PREFACE
        greeted.set()
        peer.file.read()

    with serving(say_nothing) as channel:
        call = pool.submit(get, channel)
        assert greeted.wait(DEADLINE_S)
        channel.close()
        assert "connection to the node was closed" in str(failure(call))


def test_closing_ends_a_request_that_the_server_does_not_read(pool: ThreadPoolExecutor) -> None:
    begun = threading.Event()
    closed = threading.Event()

    def read_the_headers(peer: Peer) -> None:
        peer.greet((frames.INITIAL_WINDOW_SIZE, MAX_WINDOW_BYTES))
        peer.send(frame(frames.WINDOW_UPDATE, 0, 0, frames.number(1 << 30)))
        while peer.read()[0] != frames.HEADERS:
            pass
        begun.set()
        closed.wait(DEADLINE_S)

    with serving(read_the_headers) as channel:
        call = pool.submit(get, channel, bytes(64 << 20))
        assert begun.wait(DEADLINE_S)
        channel.close()
        error = failure(call)
        closed.set()
    assert "connection to the node was closed" in str(error)


def test_closing_releases_the_connection_of_a_response_that_nobody_waits_for() -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.greet()
        peer.answer(peer.take_request())
        try:
            while True:
                peer.read()
        finally:
            gone.set()

    with serving(script) as channel:
        pending = Call(channel, Database.Get).start(pb.GetRequest(key=b"key"))
        (connection,) = channel._connections
        wait_until_readable(channel)
        channel.close()
        assert connection._socket.fileno() == -1
        assert gone.wait(DEADLINE_S)
        with pytest.raises(NodeError, match="the connection to the node was closed"):
            pending.wait()


def test_closing_ends_all_of_many_calls(pool: ThreadPoolExecutor) -> None:
    forever = threading.Event()

    def wait(request: pb.GetRequest, context: object) -> pb.GetResponse:
        forever.wait(DEADLINE_S)
        return pb.GetResponse()

    with ScriptedNode({Database.Get: wait}) as node:
        channel = connect(node.address)
        calls = [pool.submit(get, channel) for _ in range(20)]
        started = [Call(channel, Database.Get).start(pb.GetRequest(key=b"key")) for _ in range(8)]
        node.wait_for_calls("Get", 28)
        channel.close()
        for call in calls:
            assert failure(call).code == "UNAVAILABLE"
        for each in started:
            with pytest.raises(NodeError, match="connection to the node was closed"):
                each.wait()
        assert not channel._connections
        forever.set()


def test_the_connection_of_a_dropped_call_is_closed() -> None:
    left = threading.Event()

    def expect_to_be_left(peer: Peer, stream: int) -> None:
        with pytest.raises(EOFError):
            expect_the_end(peer)
        left.set()

    with serving(failing(expect_to_be_left), healthy) as channel:
        pending = Call(channel, Database.Get).start(pb.GetRequest(key=b"key"))
        del pending
        gc.collect()
        assert left.wait(DEADLINE_S)
        assert get(channel) == b"hello"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_forked_amid_a_call_has_its_own_connections(pool: ThreadPoolExecutor) -> None:
    arrived = threading.Event()
    forked = threading.Event()

    def answer_late(peer: Peer, stream: int) -> None:
        arrived.set()
        forked.wait(DEADLINE_S)
        peer.answer(stream)
        answer_all(peer)

    with serving(failing(answer_late), healthy) as channel:
        call = pool.submit(get, channel)
        assert arrived.wait(DEADLINE_S)
        assert in_a_fork(lambda: get(channel) == b"hello" and len(channel._connections) == 1) == 0
        assert not call.done()
        forked.set()
        assert call.result(DEADLINE_S) == b"hello"


SHORTAGE = """
import os, resource, sys, threading
from vmsdk._pb.rpcdb import rpcdb_pb2 as pb
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk.services.call import Call
from vmsdk.services.channel import connect

channel = connect(sys.argv[1])
call = Call(channel, Database.Get)
taken = []
waits = []

class Closing(threading.Event):
    def wait(self, timeout=None):
        waits.append(timeout)
        while taken:
            os.close(taken.pop())
        return super().wait(timeout)

channel._closing = Closing()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
value = call(pb.GetRequest(key=b"key")).value
print(value, len(waits))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_a_call_waits_for_a_descriptor() -> None:
    with ScriptedNode({Database.Get: answers(pb.GetResponse(value=b"hello"))}) as node:
        done = subprocess.run(
            [sys.executable, "-c", SHORTAGE, node.address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    assert (done.stdout, done.stderr) == ("b'hello' 1\n", "")


@pytest.mark.parametrize("family", ["unix", "unix://", "IPv6"])
def test_unix_sockets_and_IPv6(family: str, tmp_path: Path) -> None:
    hello = {Database.Get: answers(pb.GetResponse(value=b"hello"))}
    if family == "IPv6":
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("there is no IPv6")
        listen = "[::1]:0"
    elif not hasattr(socket, "AF_UNIX"):
        pytest.skip("there are no Unix sockets")
    else:
        listen = f"unix:{'//' if family == 'unix://' else ''}{tmp_path}/node"
    with ScriptedNode(hello, listen) as node, connect(node.address) as channel:
        assert get(channel) == b"hello"


MANY_ITERATORS = """
import resource, sys
from vmsdk.services.channel import connect
from vmsdk.services.database import DatabaseClient

database = DatabaseClient(connect(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
iterators = [database.iterate() for _ in range(100)]
print(database.get(b"key").decode(), len(list(iterators[0])))
"""


def test_open_iterators_leave_connections_to_other_calls() -> None:
    methods: dict[Any, Any] = {
        Database.NewIteratorWithStartAndPrefix: answers(pb.NewIteratorWithStartAndPrefixResponse(id=1)),
        Database.IteratorNext: answers(pb.IteratorNextResponse()),
        Database.IteratorError: answers(pb.IteratorErrorResponse()),
        Database.IteratorRelease: answers(pb.IteratorReleaseResponse()),
        Database.Get: answers(pb.GetResponse(value=b"hello")),
    }
    with ScriptedNode(methods) as node:
        command = [sys.executable, "-c", MANY_ITERATORS, node.address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.stdout, done.stderr) == ("hello 0\n", "")


def test_a_response_counts_though_its_server_leaves_before_its_ping_is_answered() -> None:
    def reply(peer: Peer, stream: int) -> None:
        ping = frame(frames.PING, 0, 0, bytes(8))
        head, data = frame(frames.HEADERS, END_HEADERS, stream, HEADERS), frame(frames.DATA, 0, stream, DATA)
        peer.send(ping + head + data + frame(frames.HEADERS, BOTH, stream, OK))

    with serving(failing(reply)) as channel:
        assert get(channel) == b"hello"
