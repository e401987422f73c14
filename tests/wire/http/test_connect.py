"""Services of the Connect project's `connectrpc` in a VM, called by grpcio's own client through the
node's HTTP front.
"""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from tests.wire.http.conftest import CHAIN, Serve

pytest.importorskip("connectrpc", reason="connectrpc needs Python 3.11")

from connectrpc.code import Code
from connectrpc.compat import google_protobuf_codecs
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.server import ConnectASGIApplication, Endpoint

DEADLINE_S = 60.0
ROUTES = [(41, "chain-id"), (43, "avalanche-api-route"), (45, "avalanche-api-route")]


def message(value: bytes) -> BytesValue:
    return BytesValue(value=value)


class Echo:
    """What an author writes."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.waiting = threading.Event()

    async def unary_unary(self, request: BytesValue, ctx: Any) -> BytesValue:
        return message(request.value[::-1])

    async def unary_stream(self, request: BytesValue, ctx: Any) -> AsyncIterator[BytesValue]:
        for number in range(int(request.value)):
            yield message(b"%d" % number)

    async def stream_unary(self, requests: AsyncIterator[BytesValue], ctx: Any) -> BytesValue:
        return message(b",".join([request.value async for request in requests]))

    async def stream_stream(self, requests: AsyncIterator[BytesValue], ctx: Any) -> AsyncIterator[BytesValue]:
        async for request in requests:
            yield request

    async def told(self, request: BytesValue, ctx: Any) -> BytesValue:
        ctx.response_headers["x-first"] = "1"
        ctx.response_trailers["x-last"] = "2"
        assert ctx.timeout_ms > 0
        return message(ctx.request_headers["x-text"].encode())

    async def refuse(self, request: BytesValue, ctx: Any) -> BytesValue:
        raise ConnectError(Code.FAILED_PRECONDITION, "caf\u00e9: 100% no")

    async def crash(self, request: BytesValue, ctx: Any) -> BytesValue:
        raise RuntimeError("secret")

    async def half(self, request: BytesValue, ctx: Any) -> AsyncIterator[BytesValue]:
        yield message(b"one")
        raise RuntimeError("secret")

    async def forever(self, request: BytesValue, ctx: Any) -> BytesValue:
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return message(b"")


KINDS = {
    "unary_stream": "unary_stream",
    "half": "unary_stream",
    "stream_unary": "stream_unary",
    "stream_stream": "stream_stream",
}
_MAKE = {
    "unary_unary": (Endpoint.unary, StreamType.UNARY),
    "unary_stream": (Endpoint.server_stream, StreamType.SERVER_STREAM),
    "stream_unary": (Endpoint.client_stream, StreamType.CLIENT_STREAM),
    "stream_stream": (Endpoint.bidi_stream, StreamType.BIDI_STREAM),
}


class EchoApplication(ConnectASGIApplication[Echo]):
    """What the Connect project's generator writes."""

    def __init__(self, echo: Echo, **options: Any) -> None:
        super().__init__(service=echo, endpoints=self._find, codecs=google_protobuf_codecs(), **options)

    @property
    def path(self) -> str:
        return "/echo.Echo"

    @staticmethod
    def _find(echo: Echo) -> dict[str, Any]:
        found = {}
        for name in [name for name, value in vars(Echo).items() if not name.startswith("_")]:
            make: Any
            make, kind = _MAKE[KINDS.get(name, "unary_unary")]
            method = MethodInfo(
                name=name,
                service_name="echo.Echo",
                input=BytesValue,
                output=BytesValue,
                idempotency_level=IdempotencyLevel.UNKNOWN,
                stream_type=kind,
            )
            found[f"/echo.Echo/{name}"] = make(method, getattr(echo, name))
        return found


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

    def method(self, name: str) -> Any:
        return getattr(self.channel, KINDS.get(name, "unary_unary"))(
            f"/echo.Echo/{name}",
            request_serializer=BytesValue.SerializeToString,
            response_deserializer=BytesValue.FromString,
        )

    def call(self, name: str, request: Any, **options: Any) -> Any:
        """The value, or the values, of the response."""
        request = message(request) if isinstance(request, bytes) else (message(each) for each in request)
        response = self.method(name)(request, metadata=self.metadata, **{"timeout": DEADLINE_S, **options})
        return response.value if isinstance(response, BytesValue) else (each.value for each in response)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.mark.parametrize(("version", "route"), ROUTES)
def test_calls_of_every_kind_are_served(serve: Serve, echo: Echo, version: int, route: str) -> None:
    with Client(serve, EchoApplication(echo), version, route) as client:
        assert client.call("unary_unary", b"abc") == b"cba"
        assert list(client.call("unary_stream", b"3")) == [b"0", b"1", b"2"]
        assert client.call("stream_unary", iter([b"a", b"", b"c"])) == b"a,,c"
        assert list(client.call("stream_stream", iter([b"a", b"b"]))) == [b"a", b"b"]


def test_a_stream_goes_both_ways_at_the_same_time(serve: Serve, echo: Echo) -> None:
    answered = threading.Semaphore(1)

    def requests() -> Iterator[bytes]:
        for number in range(5):
            # Each is asked only after the one before it was answered.
            assert answered.acquire(timeout=DEADLINE_S)
            yield b"%d" % number

    with Client(serve, EchoApplication(echo)) as client:
        answers = []
        for answer in client.call("stream_stream", requests()):
            answers.append(answer)
            answered.release()
    assert answers == [b"0", b"1", b"2", b"3", b"4"]


def test_metadata_of_both_sides_arrives(serve: Serve, echo: Echo) -> None:
    with Client(serve, EchoApplication(echo)) as client:
        metadata = (*client.metadata, ("x-text", "t"))
        answer, call = client.method("told").with_call(message(b""), metadata=metadata, timeout=DEADLINE_S)
        assert answer.value == b"t"
        assert dict(call.initial_metadata())["x-first"] == "1"
        assert dict(call.trailing_metadata())["x-last"] == "2"


def test_an_error_is_its_status_with_its_text(serve: Serve, echo: Echo) -> None:
    with Client(serve, EchoApplication(echo)) as client, pytest.raises(grpc.RpcError) as caught:
        client.call("refuse", b"")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "caf\u00e9: 100% no"


@pytest.mark.parametrize("name", ["crash", "half"])
def test_a_method_that_raises_is_unknown_and_one_traceback(
    serve: Serve, echo: Echo, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(serve, EchoApplication(echo)) as client, pytest.raises(grpc.RpcError) as caught:
        list(client.call(name, b""))
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    # The library sends the text of any exception to the client, as docs/http.md says.
    assert caught.value.details() == "secret"
    [record] = [record for record in caplog.records if record.exc_info]
    assert f"/echo.Echo/{name}" in record.getMessage()


def test_a_method_that_does_not_exist_is_unimplemented(serve: Serve, echo: Echo) -> None:
    with Client(serve, EchoApplication(echo)) as client, pytest.raises(grpc.RpcError) as caught:
        client.call("nowhere", b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_ends_the_method(serve: Serve, echo: Echo) -> None:
    timeout_s = 0.2
    with Client(serve, EchoApplication(echo)) as client:
        while not echo.waiting.is_set():  # on a busy machine the time may be over before it begins
            with pytest.raises(grpc.RpcError) as caught:
                client.call("forever", b"", timeout=timeout_s)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            timeout_s *= 4
    assert echo.cancelled.wait(DEADLINE_S)


def test_a_client_that_cancels_ends_the_method(serve: Serve, echo: Echo) -> None:
    with Client(serve, EchoApplication(echo)) as client:
        call = client.method("forever").future(message(b""), metadata=client.metadata)
        assert echo.waiting.wait(DEADLINE_S)
        call.cancel()
        assert echo.cancelled.wait(DEADLINE_S)


def test_a_client_that_leaves_a_stream_ends_the_method_that_waits_for_it(serve: Serve, echo: Echo) -> None:
    go_on = threading.Event()

    def requests() -> Iterator[BytesValue]:
        yield message(b"first")
        go_on.wait(DEADLINE_S)

    with Client(serve, EchoApplication(echo)) as client:
        call = client.method("stream_stream")(requests(), metadata=client.metadata, timeout=DEADLINE_S)
        assert next(call).value == b"first"
        call.cancel()
        go_on.set()
        # A task that was left behind would keep the servers from closing.
        assert client.call("unary_unary", b"ab") == b"ba"


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip])
def test_compressed_requests_are_understood(serve: Serve, echo: Echo, compression: Any) -> None:
    with Client(serve, EchoApplication(echo)) as client:
        assert client.call("unary_unary", b"ab" * 10_000, compression=compression) == b"ba" * 10_000


@pytest.mark.parametrize("lost", [1, 8, 20])
def test_a_compressed_message_that_is_cut_short_is_refused(serve: Serve, echo: Echo, lost: int) -> None:
    served = serve({}, header_routed=EchoApplication(echo))
    whole = gzip.compress(message(b"ab" * 10_000).SerializeToString())
    headers = {
        "avalanche-api-route": str(CHAIN),
        "content-type": "application/proto",
        "content-encoding": "gzip",
    }
    url = f"{served.origin}/echo.Echo/unary_unary"
    assert httpx.post(url, headers=headers, content=whole).status_code == 200
    assert httpx.post(url, headers=headers, content=whole[:-lost]).status_code == 400


def test_a_message_over_the_limit_is_refused_also_when_it_only_expands_to_it(
    serve: Serve, echo: Echo
) -> None:
    with Client(serve, EchoApplication(echo, read_max_bytes=1_000)) as client:
        assert client.call("unary_unary", bytes(900)) == bytes(900)
        for compression in (None, grpc.Compression.Gzip):
            with pytest.raises(grpc.RpcError) as caught:
                client.call("unary_unary", bytes(1_001), compression=compression)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_its_own_protocol_comes_over_http_1_too(serve: Serve, echo: Echo) -> None:
    served = serve({}, header_routed=EchoApplication(echo))
    headers = {"avalanche-api-route": str(CHAIN), "content-type": "application/json"}
    response = httpx.post(f"{served.origin}/echo.Echo/unary_unary", headers=headers, content=b'"YWJj"')
    assert (response.status_code, response.json()) == (200, "Y2Jh")
