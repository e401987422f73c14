"""Hijack: the VM takes a connection over, and speaks its own protocol on it."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from websockets.sync.client import connect

from tests.waiting import wait_until
from tests.wire.host_http.conftest import CHAIN, StartFront
from tests.wire.host_http.echo import echo_messages
from tests.wire.host_http.fakevm import Connection, Exchange, FakeVM
from vmsdk._pb.io.reader import reader_pb2
from vmsdk._pb.net.conn import conn_pb2
from vmsdk._pb.net.conn.conn_grpc import Conn
from vmsdk.host.http import HTTPFront, hijack
from vmsdk.host.http.connection import Deadline

UPGRADE = b"GET /ext/bc/fake HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: own\r\n\r\n"


class TakingVM:
    """Takes one connection over, and lets the test use it."""

    def __init__(self, vm: FakeVM) -> None:
        self._vm = vm
        self._taken = threading.Event()
        self._connection: Connection | None = None
        vm.handle = self._handle

    async def _handle(self, exchange: Exchange) -> None:
        self._connection = await exchange.hijack()
        self._taken.set()

    @property
    def connection(self) -> Connection:
        assert self._taken.wait(60)
        assert self._connection is not None
        return self._connection

    def run(self, work: object) -> object:
        return self._vm.run(work)

    def close(self) -> None:
        if self._connection is not None:
            self._vm.run(self._connection.close())


@pytest.fixture
def taking(vm: FakeVM) -> Iterator[TakingVM]:
    taking = TakingVM(vm)
    yield taking
    taking.close()


@contextmanager
def client(front: HTTPFront, request: bytes = UPGRADE) -> Iterator[socket.socket]:
    host, port = front.address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        sock.sendall(request)
        yield sock


@pytest.mark.parametrize("version", [35, 39, 40, 41, 42, 45])
def test_edge_88_a_websocket_client_is_accepted_echoed_and_closed(
    start_front: StartFront, version: int
) -> None:
    vm = FakeVM(empty_handle_response=version <= 39)
    vm.handle = echo_messages
    front = start_front(version, handlers={"": vm.address})
    with connect(f"ws://{front.address}/ext/bc/fake", proxy=None) as websocket:
        websocket.send("text ✓")
        assert websocket.recv(timeout=60) == "text ✓"
        websocket.send(bytes(range(256)) * 1000)
        assert websocket.recv(timeout=60) == bytes(range(256)) * 1000
        assert front.hijacked(CHAIN) == 1
    assert websocket.protocol.close_code == 1000
    wait_until(lambda: front.hijacked(CHAIN) == 0)
    vm.stop()


def test_edge_88_the_vm_gets_both_ends_of_the_connection(start_front: StartFront, taking: TakingVM) -> None:
    front = start_front()
    with client(front) as sock:
        taken = taking.connection.taken
        assert (taken.local_network, taken.local_string) == ("tcp", front.address)
        host, port = sock.getsockname()
        assert (taken.remote_network, taken.remote_string) == ("tcp", f"{host}:{port}")


def test_edge_88_after_close_the_client_sees_the_end_and_the_server_is_stopped(
    start_front: StartFront, taking: TakingVM
) -> None:
    front = start_front()
    with client(front) as sock:
        connection = taking.connection
        taking.run(connection.write(b"last words"))
        taking.run(connection.hang_up())
        assert sock.recv(100) == b"last words"
        assert sock.recv(100) == b""
    wait_until(lambda: front.hijacked(CHAIN) == 0)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        taking.run(connection.write(b"too late"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_edge_89_bytes_sent_along_with_the_request_come_first_from_the_reader(
    start_front: StartFront, taking: TakingVM
) -> None:
    with client(start_front(), UPGRADE + b"eager") as sock:
        connection = taking.connection
        assert taking.run(connection.read_buffered()) == reader_pb2.ReadResponse(read=b"eager")
        sock.sendall(b"later")
        assert taking.run(connection.read_buffered()) == reader_pb2.ReadResponse(read=b"later")


def test_edge_89_the_connection_itself_passes_the_buffered_bytes_by(
    start_front: StartFront, taking: TakingVM
) -> None:
    with client(start_front(), UPGRADE + b"eager") as sock:
        connection = taking.connection
        sock.sendall(b"later")
        assert taking.run(connection.read()) == conn_pb2.ReadResponse(read=b"later")
        assert taking.run(connection.read_buffered(2)) == reader_pb2.ReadResponse(read=b"ea")
        assert taking.run(connection.read_buffered(9)) == reader_pb2.ReadResponse(read=b"ger")


def test_what_is_written_to_the_buffered_end_is_not_flushed(
    start_front: StartFront, taking: TakingVM
) -> None:
    with client(start_front()) as sock:
        connection = taking.connection
        written = taking.run(connection.write_buffered(b"never seen"))
        assert (written.written, written.error) == (10, "")  # type: ignore[attr-defined]
        taking.run(connection.write(b"seen"))
        taking.run(connection.hang_up())
        assert sock.makefile("rb").read() == b"seen"


@pytest.mark.parametrize("version", [41, 42])
def test_the_end_of_what_the_client_sends_is_encoded_as_in_the_version(
    start_front: StartFront, taking: TakingVM, version: int
) -> None:
    with client(start_front(version)) as sock:
        connection = taking.connection
        sock.shutdown(socket.SHUT_WR)
        end = (
            b"EOF"
            if version == 41
            else conn_pb2.Error(error_code=conn_pb2.ERROR_CODE_EOF, message="EOF").SerializeToString()
        )
        assert taking.run(connection.read()) == conn_pb2.ReadResponse(error=end)
        assert taking.run(connection.read_buffered()) == reader_pb2.ReadResponse(error=end)
        taking.run(connection.write(b"one way is still open"))
        assert sock.recv(100) == b"one way is still open"


def test_writing_to_a_disconnected_client_fails(start_front: StartFront, taking: TakingVM) -> None:
    with client(start_front()):
        connection = taking.connection

    async def write_until_it_fails() -> grpc.aio.AioRpcError:
        for _ in range(1000):
            try:
                await connection.write(b"z" * 65_536)
            except grpc.aio.AioRpcError as error:
                return error
        raise AssertionError("it never failed")

    error = taking.run(write_until_it_fails())
    assert isinstance(error, grpc.aio.AioRpcError)
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert "broken pipe" in (error.details() or "")


def go_time(moment: datetime, zone: str = "ffff") -> bytes:
    """`time.Time.MarshalBinary`: the version, seconds since the year 1, nanoseconds, and the *zone*
    in hex.
    """
    since = moment - datetime(1, 1, 1, tzinfo=timezone.utc)
    seconds = since // timedelta(seconds=1)
    version = 1 if len(zone) == 4 else 2
    return struct.pack(">Bqi", version, seconds, since.microseconds * 1000) + bytes.fromhex(zone)


@pytest.mark.parametrize("zone", ["ffff", "0159", "ff4cf9"], ids=["UTC", "fixed", "with seconds"])
def test_edge_95_a_deadline_in_any_zone_ends_a_read_that_waits(
    start_front: StartFront, taking: TakingVM, zone: str
) -> None:
    with client(start_front()):
        connection = taking.connection

        async def read() -> conn_pb2.ReadResponse:
            waiting = asyncio.ensure_future(connection.read())
            deadline = go_time(datetime.now(timezone.utc) + timedelta(seconds=0.2), zone)
            await connection.set_read_deadline(deadline)
            return await waiting

        response = taking.run(read())
        assert isinstance(response, conn_pb2.ReadResponse)
        error = conn_pb2.Error.FromString(response.error)
        assert error.error_code == conn_pb2.ERROR_CODE_OS_ERR_DEADLINE_EXCEEDED
        assert error.message == "i/o timeout"


def test_edge_95_the_zero_time_clears_a_deadline_that_has_passed(
    start_front: StartFront, taking: TakingVM
) -> None:
    with client(start_front()) as sock:
        connection = taking.connection
        taking.run(connection.set_deadline(go_time(datetime(2001, 1, 1, tzinfo=timezone.utc))))
        response = taking.run(connection.read())
        assert response.HasField("error")  # type: ignore[attr-defined]
        with pytest.raises(grpc.aio.AioRpcError, match="i/o timeout"):
            taking.run(connection.write(b"x"))
        taking.run(connection.set_deadline(bytes.fromhex("01000000000000000000000000ffff")))
        sock.sendall(b"again")
        assert taking.run(connection.read()) == conn_pb2.ReadResponse(read=b"again")
        taking.run(connection.write(b"x"))
        assert sock.recv(10) == b"x"


@pytest.mark.parametrize(
    ("data", "unix_s"),
    [
        ("01000000000000000000000000ffff", None),
        ("010000000e7791f70000000000ffff", 0),
        ("010000000edce5e80000000000003c", 1_700_000_000),
        ("010000000edce5e80000000000feb6", 1_700_000_000),
        ("020000000edce5e80000000000003c01", 1_700_000_000),
        ("010000000e7791f7001dcd6500ffff", 0.5),
    ],
)
def test_edge_95_gos_times_are_decoded(data: str, unix_s: float | None) -> None:
    assert hijack._unix_s(bytes.fromhex(data)) == unix_s


@pytest.mark.parametrize("data", [b"", b"\x03" + bytes(14), b"\x01" + bytes(13)])
def test_edge_95_an_invalid_time_is_refused(start_front: StartFront, taking: TakingVM, data: bytes) -> None:
    with client(start_front()):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            taking.run(taking.connection.set_deadline(data))
        assert caught.value.code() is grpc.StatusCode.UNKNOWN
        assert "Time.UnmarshalBinary" in (caught.value.details() or "")


def test_a_connection_can_be_taken_over_once(vm: FakeVM, start_front: StartFront) -> None:
    details: list[str | None] = []

    async def handle(exchange: Exchange) -> None:
        connection = await exchange.hijack()
        for attempt in (exchange.hijack(), exchange.write(b"x")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await attempt
            details.append(caught.value.details())
        await connection.hang_up()
        await connection.close()

    vm.handle = handle
    with client(start_front()) as sock:
        assert sock.recv(100) == b""
    assert details == ["http: connection has been hijacked"] * 2


def test_a_taken_over_connection_outlives_its_request_and_the_servers_timeouts(
    start_front: StartFront, taking: TakingVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines: list[Deadline] = []
    set_after = Deadline.set_after

    def watched(deadline: Deadline, seconds: float | None) -> None:
        set_after(deadline, seconds)
        deadlines.append(deadline)

    monkeypatch.setattr(Deadline, "set_after", watched)
    with client(start_front()) as sock:
        connection = taking.connection
        assert deadlines
        assert [deadline._timer for deadline in deadlines if deadline._timer is not None] == []
        sock.sendall(b"still here")
        assert taking.run(connection.read()) == conn_pb2.ReadResponse(read=b"still here")
        taking.run(connection.write(b"here too"))
        assert sock.recv(100) == b"here too"


def test_removing_the_chain_closes_its_connections(start_front: StartFront, taking: TakingVM) -> None:
    front = start_front()
    with client(front) as sock:
        assert taking.connection
        front.remove_chain(CHAIN)
        assert sock.recv(100) == b""


def test_stopping_the_front_closes_taken_over_connections(start_front: StartFront, taking: TakingVM) -> None:
    front = start_front()
    with client(front) as sock:
        assert taking.connection
        front.stop()
        assert sock.recv(100) == b""


def test_a_close_without_a_response_counts_as_closed(start_front: StartFront, taking: TakingVM) -> None:
    front = start_front()
    with client(front) as sock:
        connection = taking.connection

        async def close_twice() -> list[object]:
            calls = (connection.call(Conn.Close, Empty()) for _ in range(2))
            return list(await asyncio.gather(*calls, return_exceptions=True))

        for outcome in taking.run(close_twice()):  # type: ignore[attr-defined]
            assert outcome == Empty() or outcome.code() in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.CANCELLED,
            )
        assert sock.recv(100) == b""
    wait_until(lambda: front.hijacked(CHAIN) == 0)
