"""HTTP/2 without TLS: accepted from protocol 41 on, and handled like an upgrade."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import grpc
import h2.config
import h2.connection
import h2.events
import httpx
import pytest

from tests.wire.host_http.conftest import CHAIN, StartFront
from tests.wire.host_http.fakevm import Exchange, FakeVM, Headers, RefuseCall, as_dict, respond
from vmsdk.host.http import HTTPFront
from vmsdk.host.http.forward import is_handled
from vmsdk.host.http.http2 import HTTP2Body
from vmsdk.host.http.request import URL, Request
from vmsdk.protocol import protocol

ROUTED = {"Avalanche-Api-Route": str(CHAIN)}


def http2(front: HTTPFront, **options: Any) -> httpx.Client:
    return httpx.Client(
        http1=False, http2=True, base_url=f"http://{front.address}", trust_env=False, timeout=60, **options
    )


async def write_hello(exchange: Exchange) -> None:
    await exchange.write(b"hello", {"X-Own": ["1"]})


@pytest.mark.parametrize("version", [42, 43, 44, 45])
def test_edge_94_from_protocol_41_an_http_2_request_goes_by_handle(
    vm: FakeVM, start_front: StartFront, version: int
) -> None:
    seen: list[Exchange] = []

    async def handle(exchange: Exchange) -> None:
        seen.append(exchange)
        await write_hello(exchange)

    vm.handle = handle
    with http2(start_front(version)) as client:
        response = client.get("/ext/bc/fake?q=1", headers={"x-custom": "2"})
    assert (response.http_version, response.status_code, response.text) == ("HTTP/2", 200, "hello")
    assert response.headers["x-own"] == "1"
    request = seen[0].request
    assert (request.proto, request.proto_major, request.proto_minor) == ("HTTP/2.0", 2, 0)
    assert (request.method, request.request_uri, request.content_length) == ("GET", "/ext/bc/fake?q=1", 0)
    assert request.host.startswith("127.0.0.1:")
    assert as_dict(request.header)["X-Custom"] == ["2"]
    assert not any(key.startswith(":") for key in as_dict(request.header))


@pytest.mark.parametrize(
    ("version", "upgrade", "major", "expected"),
    [
        (39, "", 1, False),
        (40, "websocket", 1, True),
        (40, "", 2, False),
        (41, "", 2, True),
        (41, "", 1, False),
        (45, "websocket", 1, True),
    ],
)
def test_edge_94_until_protocol_40_only_an_upgrade_goes_by_handle(
    version: int, upgrade: str, major: int, expected: bool
) -> None:
    header = {"Upgrade": [upgrade]} if upgrade else {}
    body = HTTP2Body.__new__(HTTP2Body)
    request = Request("GET", "/", URL("/"), major, 0, header, "", "", 0, False, body)
    assert is_handled(protocol(version), request) is expected


@pytest.mark.parametrize("version", [35, 40])
def test_until_protocol_40_clear_text_http_2_is_refused(start_front: StartFront, version: int) -> None:
    host, port = start_front(version).address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert sock.makefile("rb").readline() == b"HTTP/1.1 400 Bad Request\r\n"


def test_a_connection_over_http_2_can_not_be_taken_over(vm: FakeVM, start_front: StartFront) -> None:
    details: list[tuple[Any, str | None]] = []

    async def handle(exchange: Exchange) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exchange.hijack()
        details.append((caught.value.code(), caught.value.details()))
        await write_hello(exchange)

    vm.handle = handle
    with http2(start_front()) as client:
        assert client.get("/ext/bc/fake").text == "hello"
    assert details == [(grpc.StatusCode.UNKNOWN, "response writer doesn't support hijacking")]


def test_a_header_routed_request_reaches_the_vms_own_handler(vm: FakeVM, start_front: StartFront) -> None:
    vm.handle = write_hello
    with http2(start_front(handlers={})) as client:
        assert client.post("/service/Method", headers=ROUTED).text == "hello"


def test_a_body_of_many_windows_passes_both_ways(vm: FakeVM, start_front: StartFront) -> None:
    async def echo(exchange: Exchange) -> None:
        while data := (await exchange.read(32_768)).read:
            await exchange.write(data)

    vm.handle = echo
    body = bytes(range(256)) * (4 << 12)
    with http2(start_front()) as client:
        assert client.post("/ext/bc/fake", content=body).content == body


def test_streams_on_one_connection_run_at_once(vm: FakeVM, start_front: StartFront) -> None:
    arrived: list[str] = []
    all_there = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        arrived.append(exchange.request.request_uri)
        if len(arrived) == 20:
            all_there.set()
        await all_there.wait()
        await exchange.write(exchange.request.request_uri.encode())

    vm.handle = handle
    front = start_front()

    async def run() -> list[str]:
        async with httpx.AsyncClient(
            http1=False, http2=True, base_url=f"http://{front.address}", trust_env=False, timeout=60
        ) as client:
            responses = await asyncio.gather(*(client.get(f"/ext/bc/fake?{i}") for i in range(20)))
        return [response.text for response in responses]

    assert asyncio.run(run()) == [f"/ext/bc/fake?{i}" for i in range(20)]


def test_flushed_chunks_arrive_one_by_one(vm: FakeVM, start_front: StartFront) -> None:
    received = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await exchange.write(b"first")
        await exchange.flush()
        await received.wait()
        await exchange.write(b"second")

    vm.handle = handle
    with http2(start_front()) as client, client.stream("GET", "/ext/bc/fake") as response:
        chunks = response.iter_raw()
        assert next(chunks) == b"first"
        vm._loop.call_soon_threadsafe(received.set)
        assert b"".join(chunks) == b"second"


def test_a_handler_that_fails_gives_500_with_the_text(vm: FakeVM, start_front: StartFront) -> None:
    async def handle(exchange: Exchange) -> None:
        raise RefuseCall("boom")

    vm.handle = handle
    with http2(start_front()) as client:
        response = client.get("/ext/bc/fake")
    assert (response.status_code, response.text) == (500, "rpc error: code = Unknown desc = boom\n")


class FrameClient:
    """An HTTP/2 client that shows its frames."""

    def __init__(self, front: HTTPFront) -> None:
        host, port = front.address.split(":")
        self._sock = socket.create_connection((host, int(port)), timeout=60)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self.h2.initiate_connection()
        self._host = front.address

    def request(self, path: str, *, end: bool = True) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        pseudo = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", self._host)]
        self.h2.send_headers(stream_id, pseudo, end_stream=end)
        self.flush()
        return stream_id

    def flush(self) -> None:
        self._sock.sendall(self.h2.data_to_send())

    def events(self) -> Iterator[h2.events.Event]:
        while data := self._sock.recv(65_536):
            yield from self.h2.receive_data(data)
            self.flush()

    def until(self, kind: type[Any]) -> list[h2.events.Event]:
        """The events up to the first of *kind*."""
        seen = []
        for event in self.events():
            seen.append(event)
            if isinstance(event, kind):
                return seen
        raise AssertionError(f"the connection ended without {kind.__name__}: {seen}")

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def frames(start_front: StartFront) -> Iterator[FrameClient]:
    client = FrameClient(start_front())
    yield client
    client.close()


def test_headers_named_as_trailers_come_after_the_body(vm: FakeVM, frames: FrameClient) -> None:
    async def handle(exchange: Exchange) -> Headers:
        await exchange.write(b"message", {"Content-Type": ["application/grpc"], "Connection": ["close"]})
        return {"Trailer:Grpc-Status": ["0"], "Trailer:Grpc-Message": ["fine"]}

    vm.handle = handle
    frames.request("/ext/bc/fake")
    events = frames.until(h2.events.StreamEnded)
    heads = [event for event in events if isinstance(event, h2.events.ResponseReceived)]
    assert (b"content-type", b"application/grpc") in heads[0].headers
    assert b"connection" not in dict(heads[0].headers)
    trailers = [event for event in events if isinstance(event, h2.events.TrailersReceived)]
    assert dict(trailers[0].headers) == {b"grpc-status": b"0", b"grpc-message": b"fine"}


def test_a_response_without_body_ends_without_data(vm: FakeVM, frames: FrameClient) -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.write_header(204)

    vm.handle = handle
    frames.request("/ext/bc/fake")
    events = frames.until(h2.events.StreamEnded)
    assert not any(event.data for event in events if isinstance(event, h2.events.DataReceived))


def test_a_stream_that_the_client_resets_cancels_the_call(vm: FakeVM, frames: FrameClient) -> None:
    entered = threading.Event()

    async def handle(exchange: Exchange) -> None:
        entered.set()
        await asyncio.Event().wait()

    vm.handle = handle
    stream_id = frames.request("/ext/bc/fake")
    assert entered.wait(60)
    frames.h2.reset_stream(stream_id)
    frames.flush()
    assert vm.cancelled.wait(60)
    vm.handle = write_hello  # the connection lives on
    frames.request("/ext/bc/fake")
    assert frames.until(h2.events.StreamEnded)


def test_a_client_that_hangs_up_cancels_its_calls(vm: FakeVM, frames: FrameClient) -> None:
    entered = threading.Event()

    async def handle(exchange: Exchange) -> None:
        entered.set()
        await asyncio.Event().wait()

    vm.handle = handle
    frames.request("/ext/bc/fake")
    assert entered.wait(60)
    frames.close()
    assert vm.cancelled.wait(60)


def test_a_response_that_takes_too_long_is_reset(vm: FakeVM, start_front: StartFront) -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.write(b"begun")
        await exchange.flush()
        await asyncio.Event().wait()

    vm.handle = handle
    events: list[h2.events.Event] = []
    timeout_s = 0.2
    # On a busy machine, the time may be over before the response begins.
    while not any(isinstance(event, h2.events.DataReceived) for event in events):
        frames = FrameClient(start_front(write_timeout_s=timeout_s))
        frames.request("/ext/bc/fake")
        events = frames.until(h2.events.StreamReset)
        frames.close()
        timeout_s *= 4
    assert vm.cancelled.wait(60)


def test_a_response_before_the_body_was_read_ends_the_stream(vm: FakeVM, frames: FrameClient) -> None:
    vm.handle = write_hello
    frames.request("/ext/bc/fake", end=False)
    events = frames.until(h2.events.StreamReset)
    assert any(isinstance(event, h2.events.StreamEnded) for event in events)
    assert events[-1].error_code == 0  # type: ignore[attr-defined]


def test_a_body_that_is_not_read_does_not_stop_the_other_streams(vm: FakeVM, frames: FrameClient) -> None:
    async def handle(exchange: Exchange) -> None:
        if exchange.request.request_uri.endswith("?unread"):
            await asyncio.Event().wait()
        await write_hello(exchange)

    vm.handle = handle
    unread = frames.request("/ext/bc/fake?unread", end=False)
    frames.until(h2.events.WindowUpdated)
    while size := min(frames.h2.local_flow_control_window(unread), frames.h2.max_outbound_frame_size):
        frames.h2.send_data(unread, bytes(size))
    frames.flush()
    other = frames.request("/ext/bc/fake", end=False)
    frames.h2.send_data(other, bytes(1000), end_stream=True)
    frames.flush()
    assert frames.until(h2.events.StreamEnded)[-1].stream_id == other  # type: ignore[attr-defined]


def test_an_invalid_frame_ends_the_connection_with_the_reason(frames: FrameClient) -> None:
    frames.flush()
    headers_on_stream_0 = bytes.fromhex("000000010400000000")
    frames._sock.sendall(headers_on_stream_0)
    end = frames.until(h2.events.ConnectionTerminated)[-1]
    assert end.error_code == 1  # type: ignore[attr-defined]


def test_http_1_still_works_beside_http_2(vm: FakeVM, start_front: StartFront) -> None:
    vm.simple = respond(200, b"simple")
    front = start_front()
    assert httpx.get(f"http://{front.address}/ext/bc/fake", trust_env=False).text == "simple"


class GRPCService:
    """A gRPC service of the VM's author, as Handle carries it: length-prefixed messages, status in
    trailers.
    """

    HEAD: ClassVar[Headers] = {"Content-Type": ["application/grpc"]}

    async def handle(self, exchange: Exchange) -> Headers:
        request = b""
        while data := (await exchange.read(4096)).read:
            request += data
        name = request[5:]
        if exchange.request.url.path.endswith("Refuse"):
            return {**self.HEAD, "Trailer:Grpc-Status": ["5"], "Trailer:Grpc-Message": ["no such name"]}
        for greeting in (b"hello ", b"bye "):
            message = greeting + name
            await exchange.write(b"\0" + len(message).to_bytes(4, "big") + message, self.HEAD)
            await exchange.flush()
            if exchange.request.url.path.endswith("Once"):
                break
        return {**self.HEAD, "Trailer:Grpc-Status": ["0"]}


@pytest.fixture
def grpc_channel(vm: FakeVM, start_front: StartFront) -> Iterator[grpc.Channel]:
    vm.handle = GRPCService().handle
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(start_front(handlers={}).address, options=options) as channel:
        yield channel


ROUTING = (("avalanche-api-route", str(CHAIN)),)


def test_a_grpc_client_calls_a_service_of_the_vms_author(grpc_channel: grpc.Channel) -> None:
    once: grpc.UnaryUnaryMultiCallable[bytes, bytes] = grpc_channel.unary_unary("/greeter.Greeter/Once")
    assert once(b"Ada", metadata=ROUTING, timeout=60) == b"hello Ada"


def test_a_grpc_client_receives_a_stream(grpc_channel: grpc.Channel) -> None:
    stream: grpc.UnaryStreamMultiCallable[bytes, bytes] = grpc_channel.unary_stream("/greeter.Greeter/Stream")
    assert list(stream(b"Ada", metadata=ROUTING, timeout=60)) == [b"hello Ada", b"bye Ada"]


def test_a_grpc_client_receives_the_status_of_a_failure(grpc_channel: grpc.Channel) -> None:
    refuse: grpc.UnaryUnaryMultiCallable[bytes, bytes] = grpc_channel.unary_unary("/greeter.Greeter/Refuse")
    with pytest.raises(grpc.RpcError) as caught:
        refuse(b"Ada", metadata=ROUTING, timeout=60)
    error: Any = caught.value
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such name")
