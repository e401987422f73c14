"""Handle: the VM reads the request and writes the response through the node's services, over
HTTP/1.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator

import grpc
import pytest

from tests.wire.host_http.conftest import NODE, StartFront
from tests.wire.host_http.fakevm import Exchange, FakeVM, Headers, RefuseCall, as_dict
from vmsdk._pb.io.reader import reader_pb2
from vmsdk.host.http import HTTPFront

UPGRADE = {"Upgrade": "anything", "Connection": "Upgrade"}


class Client:
    """One HTTP/1.1 request with an `Upgrade` header, which makes the node use `Handle`."""

    def __init__(
        self, front: HTTPFront, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> None:
        self._connection = http.client.HTTPConnection(front.address, timeout=60)
        self._connection.request(method, "/ext/bc/fake?q=1", body, {**UPGRADE, **headers})

    def response(self) -> http.client.HTTPResponse:
        return self._connection.getresponse()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def old_vm() -> Iterator[FakeVM]:
    """A VM of protocols until 39, whose Handle returns an Empty."""
    fake = FakeVM(empty_handle_response=True)
    yield fake
    fake.stop()


def answer(
    vm: FakeVM, front: HTTPFront, handle: object, **request: object
) -> tuple[int, dict[str, str], bytes]:
    """What the client of one request gets if the VM does *handle*."""
    vm.handle = handle  # type: ignore[assignment]
    client = Client(front, **request)  # type: ignore[arg-type]
    response = client.response()
    body = response.read()
    client.close()
    return response.status, dict(response.headers), body


def test_the_vm_learns_everything_about_the_request(vm: FakeVM, start_front: StartFront) -> None:
    seen: list[Exchange] = []

    async def handle(exchange: Exchange) -> None:
        seen.append(exchange)

    front = start_front()
    answer(vm, front, handle, method="POST", body=b"four", **{"x-own": "1"})
    request = seen[0].request
    assert (request.method, request.proto, request.proto_major, request.proto_minor) == (
        "POST",
        "HTTP/1.1",
        1,
        1,
    )
    assert (request.request_uri, request.host, request.content_length) == (
        "/ext/bc/fake?q=1",
        front.address,
        4,
    )
    assert (request.url.path, request.url.raw_query, request.url.raw_path) == ("/ext/bc/fake", "q=1", "")
    assert not request.url.HasField("user")
    assert not request.HasField("tls")
    assert request.remote_addr.startswith("127.0.0.1:")
    assert as_dict(request.header) == {
        "Accept-Encoding": ["identity"],
        "Content-Length": ["4"],
        "Upgrade": ["anything"],
        "Connection": ["Upgrade"],
        "X-Own": ["1"],
    }
    assert seen[0].node_headers == {"Node-Id": [str(NODE)], "Vary": ["Origin"]}


def test_a_handler_that_writes_nothing_gives_200_with_the_headers_that_it_returns(
    vm: FakeVM, start_front: StartFront
) -> None:
    async def handle(exchange: Exchange) -> Headers:
        return {"X-Final": ["yes"]}

    status, headers, body = answer(vm, start_front(), handle)
    assert (status, body) == (200, b"")
    assert headers["X-Final"] == "yes"
    assert headers["Content-Length"] == "0"
    assert "Node-Id" not in headers


def test_edge_90_flushed_chunks_arrive_one_by_one(vm: FakeVM, start_front: StartFront) -> None:
    received = [asyncio.Event() for _ in range(3)]

    async def handle(exchange: Exchange) -> None:
        for index, event in enumerate(received):
            await exchange.write(b"data: %d\n\n" % index, {"Content-Type": ["text/event-stream"]})
            await exchange.flush()
            await event.wait()

    vm.handle = handle
    client = Client(start_front())
    response = client.response()
    assert response.headers["Content-Type"] == "text/event-stream"
    for index, event in enumerate(received):
        assert response.readline() == b"data: %d\n" % index
        assert response.readline() == b"\n"
        vm._loop.call_soon_threadsafe(event.set)
    assert response.read() == b""
    client.close()


def test_edge_90_an_unflushed_chunk_waits_for_the_end(vm: FakeVM, start_front: StartFront) -> None:
    go_on = asyncio.Event()
    written = threading.Event()

    async def handle(exchange: Exchange) -> None:
        await exchange.write(b"small")
        written.set()
        await go_on.wait()

    vm.handle = handle
    client = Client(start_front())
    assert written.wait(60)
    sock = client._connection.sock
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    sock.settimeout(60)
    vm._loop.call_soon_threadsafe(go_on.set)
    response = client.response()
    assert (response.headers["Content-Length"], response.read()) == ("5", b"small")
    client.close()


def test_edge_90_headers_set_after_the_first_write_are_ignored(vm: FakeVM, start_front: StartFront) -> None:
    async def handle(exchange: Exchange) -> Headers:
        await exchange.write(b"a", {"X-Own": ["first"]})
        await exchange.write(b"b", {"X-Own": ["second"]})
        return {"X-Own": ["third"]}

    status, headers, body = answer(vm, start_front(), handle)
    assert (status, headers["X-Own"], body) == (200, "first", b"ab")


def test_edge_91_of_two_statuses_the_first_wins(vm: FakeVM, start_front: StartFront) -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.write_header(404, {"X-Own": ["first"]})
        await exchange.write_header(500, {"X-Own": ["second"]})

    status, headers, _ = answer(vm, start_front(), handle)
    assert (status, headers["X-Own"]) == (404, "first")


def test_a_status_after_a_write_is_ignored(vm: FakeVM, start_front: StartFront) -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.write(b"")
        await exchange.write_header(500)

    assert answer(vm, start_front(), handle)[0] == 200


@pytest.mark.parametrize("code", [0, 99, 600, -1])
def test_a_status_outside_100_to_599_becomes_500(vm: FakeVM, start_front: StartFront, code: int) -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.write_header(code)

    assert answer(vm, start_front(), handle)[0] == 500


def test_an_informational_status_uses_the_chance_up(vm: FakeVM, start_front: StartFront) -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.write_header(103, {"Link": ["</style.css>"]})
        await exchange.write_header(404)

    front = start_front()
    vm.handle = handle
    host, port = front.address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as sock, sock.makefile("rb") as lines:
        sock.sendall(
            b"GET /ext/bc/fake HTTP/1.1\r\nHost: localhost\r\nUpgrade: x\r\nConnection: close\r\n\r\n"
        )
        head = lines.read()
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(("version", "length"), [(40, 1000), (41, 512), (42, 32_768), (45, 4096)])
def test_edge_92_a_body_is_read_in_chunks_up_to_its_end(
    vm: FakeVM, start_front: StartFront, version: int, length: int
) -> None:
    body = bytes(range(256)) * 400
    reads: list[reader_pb2.ReadResponse] = []

    async def handle(exchange: Exchange) -> None:
        while not reads or not reads[-1].HasField("error"):
            reads.append(await exchange.read(length))
        reads.append(await exchange.read(length))

    assert answer(vm, start_front(version), handle, method="POST", body=body)[0] == 200
    assert b"".join(read.read for read in reads) == body
    assert all(len(read.read) <= length for read in reads)
    end = (
        b"EOF"
        if version <= 41
        else reader_pb2.Error(error_code=reader_pb2.ERROR_CODE_EOF, message="EOF").SerializeToString()
    )
    assert [read.error for read in reads[-2:]] == [end, end]


def test_a_request_without_body_is_at_its_end_at_once(vm: FakeVM, start_front: StartFront) -> None:
    reads: list[reader_pb2.ReadResponse] = []

    async def handle(exchange: Exchange) -> None:
        reads.append(await exchange.read(0))
        reads.append(await exchange.read(10))

    answer(vm, start_front(), handle)
    assert [read.HasField("error") for read in reads] == [False, True]


def test_a_read_of_negative_length_fails_instead_of_ending_the_process(
    vm: FakeVM, start_front: StartFront
) -> None:
    details: list[str] = []

    async def handle(exchange: Exchange) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exchange.read(-1)
        details.append(caught.value.details() or "")

    answer(vm, start_front(), handle)
    assert "len out of range" in details[0]


def test_permission_to_send_the_body_is_given_at_the_first_read(vm: FakeVM, start_front: StartFront) -> None:
    async def handle(exchange: Exchange) -> None:
        assert (await exchange.read(10)).read == b"four"
        await exchange.write(b"thanks")

    vm.handle = handle
    host, port = start_front().address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as sock, sock.makefile("rb") as lines:
        sock.sendall(
            b"POST /ext/bc/fake HTTP/1.1\r\nHost: localhost\r\nUpgrade: x\r\nContent-Length: 4\r\n"
            b"Connection: close\r\nExpect: 100-continue\r\n\r\n"
        )
        assert lines.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert lines.readline() == b"\r\n"
        sock.sendall(b"four")
        assert lines.read().endswith(b"\r\n\r\nthanks")


@pytest.mark.parametrize("version", [35, 39])
def test_edge_93_until_protocol_39_the_request_has_the_body_and_the_response_is_empty(
    old_vm: FakeVM, start_front: StartFront, version: int
) -> None:
    seen: list[Exchange] = []

    async def handle(exchange: Exchange) -> None:
        seen.append(exchange)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exchange.read(10)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    front = start_front(version, handlers={"": old_vm.address})
    status, headers, _ = answer(old_vm, front, handle, method="POST", body=b"inline")
    assert (status, headers["Node-Id"]) == (200, str(NODE))
    assert seen[0].request.body == b"inline"


def test_from_protocol_40_the_request_has_no_body(vm: FakeVM, start_front: StartFront) -> None:
    seen: list[Exchange] = []

    async def handle(exchange: Exchange) -> None:
        seen.append(exchange)

    answer(vm, start_front(40), handle, method="POST", body=b"streamed")
    assert seen[0].request.body == b""


def test_a_handler_that_fails_first_gives_500_with_the_text(vm: FakeVM, start_front: StartFront) -> None:
    async def handle(exchange: Exchange) -> None:
        raise RefuseCall("boom")

    status, headers, body = answer(vm, start_front(), handle)
    assert (status, body) == (500, b"rpc error: code = Unknown desc = boom\n")
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_handler_that_fails_late_adds_the_text_to_what_it_wrote(
    vm: FakeVM, start_front: StartFront
) -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.write(b"begun; ")
        raise RefuseCall("boom")

    status, _, body = answer(vm, start_front(), handle)
    assert (status, body) == (200, b"begun; rpc error: code = Unknown desc = boom\n")


def test_a_large_body_is_written_in_pieces_without_a_declared_length(
    vm: FakeVM, start_front: StartFront
) -> None:
    async def handle(exchange: Exchange) -> None:
        for _ in range(64):
            assert await exchange.write(b"z" * 65_536) == 65_536

    status, headers, body = answer(vm, start_front(), handle)
    assert (status, len(body), headers["Transfer-Encoding"]) == (200, 64 * 65_536, "chunked")


def test_writing_more_than_declared_fails(vm: FakeVM, start_front: StartFront) -> None:
    details: list[str] = []

    async def handle(exchange: Exchange) -> None:
        headers = {"Content-Length": ["3"]}
        await exchange.write(b"abc", headers)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exchange.write(b"d", headers)
        details.append(caught.value.details() or "")

    vm.handle = handle
    client = Client(start_front())
    assert client.response().read() == b"abc"
    client.close()
    assert details == ["http: wrote more than the declared Content-Length"]


def test_trailers_follow_the_body(vm: FakeVM, start_front: StartFront) -> None:
    async def handle(exchange: Exchange) -> Headers:
        await exchange.write(b"body", {"X-Head": ["1"]})
        return {"Trailer:X-Sum": ["42"]}

    vm.handle = handle
    host, port = start_front().address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as sock, sock.makefile("rb") as lines:
        sock.sendall(
            b"GET /ext/bc/fake HTTP/1.1\r\nHost: localhost\r\nUpgrade: x\r\nConnection: close\r\n\r\n"
        )
        received = lines.read()
    # The handler had no trailers when the headers were due, so that their end came with the body's
    # length.
    assert received.endswith(b"\r\n\r\nbody")

    async def announcing(exchange: Exchange) -> Headers:
        await exchange.write(b"body", {"Trailer": ["X-Sum"]})
        return {"Trailer": ["X-Sum"], "X-Sum": ["42"]}

    vm.handle = announcing
    with socket.create_connection((host, int(port)), timeout=60) as sock, sock.makefile("rb") as lines:
        sock.sendall(
            b"GET /ext/bc/fake HTTP/1.1\r\nHost: localhost\r\nUpgrade: x\r\nConnection: close\r\n\r\n"
        )
        received = lines.read()
    assert received.endswith(b"\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n")


def test_a_client_that_hangs_up_cancels_the_call(vm: FakeVM, start_front: StartFront) -> None:
    entered = threading.Event()

    async def handle(exchange: Exchange) -> None:
        entered.set()
        await asyncio.Event().wait()

    vm.handle = handle
    client = Client(start_front())
    assert entered.wait(60)
    assert not vm.cancelled.is_set()
    client.close()
    assert vm.cancelled.wait(60)


def test_a_slow_client_slows_the_writer_down(vm: FakeVM, start_front: StartFront) -> None:
    progress: list[int] = []
    stalled = threading.Event()

    async def handle(exchange: Exchange) -> None:
        for index in range(400):
            write = asyncio.ensure_future(exchange.write(b"z" * 65_536))
            done, _ = await asyncio.wait({write}, timeout=1.0)
            if not done:
                stalled.set()
            await write
            progress.append(index)

    vm.handle = handle
    client = Client(start_front())
    assert stalled.wait(60)
    assert len(progress) < 400
    assert len(client.response().read()) == 400 * 65_536
    client.close()
