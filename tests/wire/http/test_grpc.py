"""gRPC services of an author in a VM, called by grpcio's own client through the node's HTTP front."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import h2.connection
import h2.events
import httpx
import pytest

from tests.wire.http.conftest import CHAIN, Serve
from vmsdk.http import GRPC

DEADLINE_S = 20.0
ROUTES = [(41, "chain-id"), (43, "avalanche-api-route"), (45, "avalanche-api-route")]


class AsyncEcho:
    """Methods as for `grpc.aio`. Messages are bytes."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.waiting = threading.Event()

    async def unary_unary(self, request: bytes, context: Any) -> bytes:
        return request[::-1]

    async def unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    async def stream_unary(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b",".join([request async for request in requests])

    async def stream_stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def by_hand(self, request: Any, context: Any) -> None:
        while (message := await context.read()) is not grpc.aio.EOF:
            await context.write(message.upper())

    async def told(self, request: bytes, context: Any) -> bytes:
        await context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-last-bin", b"\0\xff"),))
        given = dict(context.invocation_metadata())
        return repr((given["x-text"], given["x-bytes-bin"], context.time_remaining() > 0)).encode()

    async def refuse(self, request: bytes, context: Any) -> bytes:
        await context.abort(
            grpc.StatusCode.FAILED_PRECONDITION, "caf\u00e9: 100% no", (("x-why", "because"),)
        )
        raise AssertionError("abort returned")

    async def crash(self, request: bytes, context: Any) -> bytes:
        raise RuntimeError("secret")

    async def half(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"one"
        raise RuntimeError("secret")

    async def forever(self, request: bytes, context: Any) -> bytes:
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return b""


class PlainEcho:
    """The same as for `grpc`: they run in threads."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.waiting = threading.Event()

    def unary_unary(self, request: bytes, context: Any) -> bytes:
        return request[::-1]

    def unary_stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    def stream_unary(self, requests: Iterator[bytes], context: Any) -> bytes:
        return b",".join(requests)

    def stream_stream(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield from requests

    def told(self, request: bytes, context: Any) -> bytes:
        context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-last-bin", b"\0\xff"),))
        given = dict(context.invocation_metadata())
        return repr((given["x-text"], given["x-bytes-bin"], context.time_remaining() > 0)).encode()

    def refuse(self, request: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "caf\u00e9: 100% no", (("x-why", "because"),))
        raise AssertionError("abort returned")

    def crash(self, request: bytes, context: Any) -> bytes:
        raise RuntimeError("secret")

    def half(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield b"one"
        raise RuntimeError("secret")

    def forever(self, request: bytes, context: Any) -> bytes:
        context.add_callback(self.cancelled.set)
        self.waiting.set()
        self.cancelled.wait(DEADLINE_S)
        return b""


# The other methods are unary both ways.
KINDS = {
    "unary_stream": "unary_stream",
    "half": "unary_stream",
    "stream_unary": "stream_unary",
    "stream_stream": "stream_stream",
    "by_hand": "stream_stream",
}


def registered(echo: Any, **options: Any) -> GRPC:
    """The app with *echo* registered as generated code does it, of old and of now."""
    app = GRPC(**options)
    handlers: dict[str, Any] = {
        name: getattr(grpc, f"{KINDS.get(name, 'unary_unary')}_rpc_method_handler")(getattr(echo, name))
        for name in dir(echo)
        if not name.startswith("_") and callable(getattr(echo, name))
    }
    app.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", handlers),))
    app.add_registered_method_handlers("registered.Echo", handlers)
    return app


class Client:
    """Calls through one node."""

    def __init__(self, serve: Serve, app: Any, version: int = 45, route: str = "avalanche-api-route") -> None:
        self.served = serve({}, version, header_routed=app)
        self.metadata = ((route, str(CHAIN)),)
        self.channel = grpc.insecure_channel(self.served.front.address)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *failure: object) -> None:
        self.channel.close()

    def call(self, name: str, request: Any, **options: Any) -> Any:
        method: Any = getattr(self.channel, KINDS.get(name, "unary_unary"))(f"/echo.Echo/{name}")
        return method(request, metadata=self.metadata, **{"timeout": DEADLINE_S, **options})


@pytest.fixture(params=[AsyncEcho, PlainEcho])
def echo(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.mark.parametrize(("version", "route"), ROUTES)
def test_calls_of_every_kind_are_served(serve: Serve, echo: Any, version: int, route: str) -> None:
    with Client(serve, registered(echo), version, route) as client:
        assert client.call("unary_unary", b"abc") == b"cba"
        assert list(client.call("unary_stream", b"3")) == [b"0", b"1", b"2"]
        assert client.call("stream_unary", iter([b"a", b"", b"c"])) == b"a,,c"
        assert list(client.call("stream_stream", iter([b"a", b"b"]))) == [b"a", b"b"]


def test_a_stream_goes_both_ways_at_the_same_time(serve: Serve, echo: Any) -> None:
    answered = threading.Semaphore(1)

    def requests() -> Iterator[bytes]:
        for number in range(5):
            # Each is asked only after the one before it was answered.
            assert answered.acquire(timeout=DEADLINE_S)
            yield b"%d" % number

    with Client(serve, registered(echo)) as client:
        answers = []
        for answer in client.call("stream_stream", requests()):
            answers.append(answer)
            answered.release()
    assert answers == [b"0", b"1", b"2", b"3", b"4"]


def test_reads_and_writes_by_hand_are_those_of_grpc_aio(serve: Serve) -> None:
    with Client(serve, registered(AsyncEcho())) as client:
        assert list(client.call("by_hand", iter([b"a", b"b"]))) == [b"A", b"B"]


def test_methods_registered_by_newer_generated_code_are_found_too(serve: Serve, echo: Any) -> None:
    with Client(serve, registered(echo)) as client:
        method: Any = client.channel.unary_unary("/registered.Echo/unary_unary")
        assert method(b"ab", metadata=client.metadata, timeout=DEADLINE_S) == b"ba"


def test_metadata_of_both_sides_arrives(serve: Serve, echo: Any) -> None:
    with Client(serve, registered(echo)) as client:
        method: Any = client.channel.unary_unary("/echo.Echo/told")
        metadata = (*client.metadata, ("x-text", "t"), ("x-bytes-bin", b"\1\2\xfe"))
        answer, call = method.with_call(b"", metadata=metadata, timeout=DEADLINE_S)
        assert answer == repr(("t", b"\1\2\xfe", True)).encode()
        assert dict(call.initial_metadata())["x-first"] == "1"
        assert dict(call.trailing_metadata())["x-last-bin"] == b"\0\xff"


def test_an_abort_is_its_status_with_its_text_and_metadata(serve: Serve, echo: Any) -> None:
    with Client(serve, registered(echo)) as client, pytest.raises(grpc.RpcError) as caught:
        client.call("refuse", b"")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "caf\u00e9: 100% no"
    trailing: Any = caught.value.trailing_metadata()
    assert dict(trailing)["x-why"] == "because"


@pytest.mark.parametrize("name", ["crash", "half"])
def test_a_method_that_raises_is_unknown_without_its_text_and_one_traceback(
    serve: Serve, echo: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(serve, registered(echo)) as client:
        answers = []
        with pytest.raises(grpc.RpcError) as caught:
            answers.extend(client.call(name, b""))
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert "secret" not in str(caught.value.details())
    [record] = [record for record in caplog.records if record.exc_info]
    assert f"/echo.Echo/{name}" in record.getMessage()


def test_a_method_that_does_not_exist_is_unimplemented(serve: Serve, echo: Any) -> None:
    with Client(serve, registered(echo)) as client, pytest.raises(grpc.RpcError) as caught:
        client.call("nowhere", b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_ends_the_method(serve: Serve, echo: Any) -> None:
    with Client(serve, registered(echo)) as client, pytest.raises(grpc.RpcError) as caught:
        client.call("forever", b"", timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert echo.cancelled.wait(DEADLINE_S)


def test_a_client_that_cancels_ends_the_method(serve: Serve, echo: Any) -> None:
    with Client(serve, registered(echo)) as client:
        method: Any = client.channel.unary_unary("/echo.Echo/forever")
        call = method.future(b"", metadata=client.metadata)
        assert echo.waiting.wait(DEADLINE_S)
        call.cancel()
        assert echo.cancelled.wait(DEADLINE_S)


def test_a_client_that_leaves_a_stream_ends_the_method_that_waits_for_it(serve: Serve, echo: Any) -> None:
    go_on = threading.Event()

    def requests() -> Iterator[bytes]:
        yield b"first"
        go_on.wait(DEADLINE_S)

    with Client(serve, registered(echo)) as client:
        call = client.call("stream_stream", requests())
        assert next(call) == b"first"
        call.cancel()
        go_on.set()
        # A thread that was left behind would keep the servers from closing.
        assert client.call("unary_unary", b"ab") == b"ba"


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests_are_understood(serve: Serve, echo: Any, compression: Any) -> None:
    with Client(serve, registered(echo)) as client:
        assert client.call("unary_unary", b"ab" * 10_000, compression=compression) == b"ba" * 10_000


def test_a_message_over_the_limit_is_refused_also_when_it_only_expands_to_it(serve: Serve, echo: Any) -> None:
    with Client(serve, registered(echo, max_message_bytes=1_000)) as client:
        assert client.call("unary_unary", bytes(1_000)) == bytes(1_000)
        for compression in (None, grpc.Compression.Gzip):
            with pytest.raises(grpc.RpcError) as caught:
                client.call("unary_unary", bytes(1_001), compression=compression)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"", "identity", "12"),
        (b"\0\0\0", "identity", "13"),
        (b"\0\0\0\0\x05ab", "identity", "13"),
        (b"\1\0\0\0\2ab", "identity", "12"),
        (b"\1\0\0\0\2ab", "gzip", "13"),
        (b"\1\0\0\0\2ab", "snappy", "12"),
        (b"\0\0\0\0\2ab", "identity", "0"),
        (b"\1\0\0\0\x16" + gzip.compress(b"ab", mtime=0)[:22], "gzip", "0"),
    ],
)
def test_what_is_no_message_is_a_status(
    serve: Serve, echo: Any, body: bytes, encoding: str, status: str
) -> None:
    served = serve({}, header_routed=registered(echo))
    trailers: dict[str, str] = {}
    host, port = served.front.address.split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.settimeout(DEADLINE_S)
        client = h2.connection.H2Connection()
        client.initiate_connection()
        headers = [
            (":method", "POST"), (":scheme", "http"), (":authority", served.front.address),
            (":path", "/echo.Echo/unary_unary"), ("content-type", "application/grpc"), ("te", "trailers"),
            ("grpc-encoding", encoding), ("avalanche-api-route", str(CHAIN)),
        ]  # fmt: skip
        client.send_headers(1, headers)
        client.send_data(1, body, end_stream=True)
        raw.sendall(client.data_to_send())
        ended = False
        while not ended:
            for event in client.receive_data(raw.recv(65_536)):
                if isinstance(event, h2.events.TrailersReceived):
                    trailers = {name.decode(): value.decode() for name, value in event.headers or []}
                ended = ended or isinstance(event, h2.events.StreamEnded)
            raw.sendall(client.data_to_send())
    assert trailers["grpc-status"] == status


def test_who_does_not_speak_grpc_is_told_what_this_path_does(serve: Serve, echo: Any) -> None:
    served = serve({"/grpc": registered(echo)})
    with httpx.Client(http1=False, http2=True) as client:
        assert client.get(f"{served.url}/grpc").status_code == 415
    response = httpx.post(f"{served.url}/grpc", headers={"content-type": "application/grpc"})
    assert (response.status_code, response.text) == (505, "gRPC needs HTTP/2\n")
