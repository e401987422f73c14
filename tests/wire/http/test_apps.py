"""Apps of several frameworks behind the host's HTTP front, used by real clients over HTTP/1 and
HTTP/2.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import fastapi
import flask
import grpc
import httpx
import pytest
from starlette.responses import StreamingResponse

from tests.wire.http.apps import answering
from tests.wire.http.conftest import CHAIN, Serve, Served
from vmsdk.http import JSONRPC, subpaths

DEADLINE_S = 60.0
VERSIONS = [39, 41, 45]  # HTTP is the same from 42 on


def http2() -> httpx.Client:
    """A client that knows that the server speaks HTTP/2."""
    return httpx.Client(http1=False, http2=True, timeout=DEADLINE_S)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await answering(200, (b"content-length", b"%d" % len(body)), body=body)(scope, receive, send)


# Frameworks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_whole_fastapi_app_is_mounted_with_its_openapi_page(serve: Serve, version: int) -> None:
    app = fastapi.FastAPI()

    @app.get("/")
    def index() -> dict[str, str]:
        return {"thread": threading.current_thread().name}

    @app.get("/items/{name}")
    async def item(request: fastapi.Request, name: str) -> dict[str, str]:
        return {"name": name, "url": request.url_for("item", name="x").path}

    served = serve({subpaths("/api"): app}, version)
    base = served.url.removeprefix(served.origin) + "/api"
    for path in ("/api", "/api/"):
        assert "AnyIO" in httpx.get(served.url + path).json()["thread"]
    assert httpx.get(f"{served.url}/api/items/a%20b").json() == {"name": "a b", "url": f"{base}/items/x"}
    assert httpx.get(f"{served.origin}/ext/bc/chain/api/items/y").json()["name"] == "y"
    assert httpx.get(f"{served.url}/api/nothing").status_code == 404
    openapi = httpx.get(f"{served.url}/api/openapi.json").json()
    assert set(openapi["paths"]) == {"/", "/items/{name}"}
    assert openapi["servers"] == [{"url": base}]
    assert f"{base}/openapi.json" in httpx.get(f"{served.url}/api/docs").text


def test_a_flask_app_and_a_json_rpc_service_live_side_by_side(serve: Serve) -> None:
    app = flask.Flask("x")

    @app.post("/echo")
    def echo_json() -> Any:
        return flask.jsonify(flask.request.get_json())

    class Service:
        def add(self, a: int, b: int) -> int:
            return a + b

    served = serve({"/{path:.*}": app, "/rpc": JSONRPC("sum", Service())})
    assert httpx.post(f"{served.url}/echo", json={"a": [1]}).json() == {"a": [1]}
    call = {"jsonrpc": "2.0", "id": 1, "method": "sum.add", "params": [{"a": 1, "b": 2}]}
    assert httpx.post(f"{served.url}/rpc", json=call).json()["result"] == 3
    refused = httpx.post(f"{served.url}/rpc", json={})
    assert refused.json()["error"]["code"] == -32600


def test_one_app_at_two_places_has_one_lifespan(serve: Serve) -> None:
    started = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            started.append(True)
            scope["state"]["greeting"] = "hello"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            started.append(False)
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await answering(200, body=scope["state"]["greeting"].encode())(scope, receive, send)

    served = serve({"/a": app, "/b": app})
    assert [httpx.get(f"{served.url}/{name}").text for name in "ab"] == ["hello", "hello"]
    assert started == [True]
    served.servers.close()
    assert started == [True, False]


# Bodies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_bodies_of_8_mib_pass_both_ways(serve: Serve, version: int) -> None:
    served = serve({"/x": echo}, version)
    body = os.urandom(8 * 1024 * 1024)
    assert httpx.post(f"{served.url}/x", content=body).content == body


def test_bodies_of_8_mib_are_streamed_both_ways_over_http2(serve: Serve) -> None:
    served = serve({"/x": echo})
    body = os.urandom(8 * 1024 * 1024)
    with http2() as client:
        response = client.post(f"{served.url}/x", content=body)
    assert response.http_version == "HTTP/2"
    assert response.content == body


def test_edge_90_server_sent_events_arrive_one_by_one(serve: Serve) -> None:
    go_on = threading.Semaphore(0)

    async def events() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"data: %d\n\n" % number
            await asyncio.to_thread(go_on.acquire, timeout=DEADLINE_S)

    app = fastapi.FastAPI()
    app.add_api_route("/", lambda: StreamingResponse(events(), media_type="text/event-stream"))
    served = serve({"/events": app})
    with http2() as client, client.stream("GET", f"{served.url}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        parts = response.iter_raw()
        for number in range(3):
            # The next event is made only after this one has arrived.
            assert next(parts) == b"data: %d\n\n" % number
            go_on.release()
        assert list(parts) == []


def test_the_response_begins_before_its_first_part_is_there(serve: Serve) -> None:
    go_on = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await asyncio.to_thread(go_on.wait, DEADLINE_S)
        await send({"type": "http.response.body", "body": b"x"})

    served = serve({"/x": app})
    with http2() as client, client.stream("GET", f"{served.url}/x") as response:
        assert response.status_code == 202
        go_on.set()
        assert response.read() == b"x"


@pytest.mark.parametrize("http_2", [False, True])
def test_a_client_that_leaves_is_a_disconnect(serve: Serve, http_2: bool) -> None:
    waiting, left = threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await receive()
        if http_2:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        waiting.set()
        if (await receive())["type"] == "http.disconnect":
            left.set()

    served = serve({"/x": app})
    if http_2:
        with http2() as client, client.stream("GET", f"{served.url}/x"):
            assert waiting.wait(DEADLINE_S)
    else:
        host, port = served.front.address.split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(f"GET /ext/bc/{CHAIN}/x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert waiting.wait(DEADLINE_S)
    assert left.wait(DEADLINE_S)


def test_a_client_that_does_not_read_slows_the_app_down(serve: Serve) -> None:
    sent, stalled = 0, threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            sending = asyncio.ensure_future(
                send({"type": "http.response.body", "body": bytes(1024 * 1024), "more_body": True})
            )
            if not (await asyncio.wait([sending], timeout=0.5))[0]:
                stalled.set()
                with pytest.raises(OSError, match="disconnected"):
                    await sending
                return
            sent += 1

    served = serve({"/x": app})
    with http2() as client, client.stream("GET", f"{served.url}/x"):
        assert stalled.wait(DEADLINE_S)
    assert sent < 200


def test_many_requests_are_served_at_once(serve: Serve) -> None:
    together = 50
    arrived = 0
    all_arrived = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal arrived
        if scope["type"] != "http":
            return
        arrived += 1
        if arrived == together:
            all_arrived.set()
        await all_arrived.wait()  # Each waits for all the others.
        await answering(200)(scope, receive, send)

    served = serve({"/x": app})
    with concurrent.futures.ThreadPoolExecutor(together) as pool, httpx.Client(timeout=DEADLINE_S) as client:
        responses = list(pool.map(lambda _: client.get(f"{served.url}/x"), range(together)))
    assert [response.status_code for response in responses] == [200] * together


# Headers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_repeated_replaced_and_non_ascii_headers_reach_the_client(serve: Serve, version: int) -> None:
    app = answering(
        200,
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"access-control-allow-origin", b"https://x"),
        (b"x-name", "caf\u00e9".encode("latin-1")),
    )
    response = httpx.get(f"{serve({'/x': app}, version).url}/x")
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert response.headers.get_list("access-control-allow-origin") == ["https://x"]
    assert ("caf\u00e9".encode()) in dict(response.headers.raw).values()
    assert ("node-id" in response.headers) is (version not in (40, 41))


def ask(served: Served, method: str, http_2: bool) -> httpx.Response:
    with httpx.Client(http1=not http_2, http2=http_2) as client:
        return client.request(method, f"{served.url}/x")


@pytest.mark.parametrize("http_2", [False, True])
def test_head_has_the_headers_of_get_and_no_body(serve: Serve, http_2: bool) -> None:
    served = serve({"/x": answering(200, (b"content-length", b"4"))})
    response = ask(served, "HEAD", http_2)
    assert (response.headers["content-length"], response.content) == ("4", b"")
    assert ask(served, "GET", http_2).content == b"body"


@pytest.mark.parametrize("http_2", [False, True])
@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_leaves_the_connection_usable(
    serve: Serve, http_2: bool, status: int
) -> None:
    served = serve({"/x": answering(status)})
    with httpx.Client(http1=not http_2, http2=http_2) as client:
        for _ in range(2):
            response = client.get(f"{served.url}/x")
            assert (response.status_code, response.content) == (status, b"")


@pytest.mark.parametrize("http_2", [False, True])
def test_a_header_that_would_forge_another_is_a_500(serve: Serve, http_2: bool) -> None:
    response = ask(serve({"/x": answering(200, (b"x", b"a\r\nSet-Cookie: stolen=1"))}), "GET", http_2)
    assert response.status_code == 500
    assert "set-cookie" not in response.headers


def test_the_answer_to_a_client_that_asks_for_an_unknown_upgrade_is_an_ordinary_one(serve: Serve) -> None:
    served = serve({"/x": answering(200)})
    upgrade = {"Upgrade": "TLS/1.0", "Connection": "Upgrade"}
    response = httpx.get(f"{served.url}/x", headers=upgrade)
    assert (response.status_code, response.text) == (200, "body")


# gRPC ---------------------------------------------------------------------------------------------


async def grpc_app(scope: Any, receive: Any, send: Any) -> None:
    """A gRPC service by hand: `/echo.Echo/Each` answers each message at once with itself."""
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"application/grpc")]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
    buffer, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        buffer, more = buffer + message["body"], message["more_body"]
        while len(buffer) >= 5 and len(buffer) >= 5 + int.from_bytes(buffer[1:5], "big"):
            size = 5 + int.from_bytes(buffer[1:5], "big")
            frame, buffer = buffer[:size], buffer[size:]
            await send({"type": "http.response.body", "body": frame, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    status = b"0" if scope["path"] == "/echo.Echo/Each" else b"12"
    await send({"type": "http.response.trailers", "headers": [(b"grpc-status", status), (b"x-sum", b"7")]})


@pytest.mark.parametrize(
    ("version", "route"), [(41, "chain-id"), (43, "avalanche-api-route"), (45, "avalanche-api-route")]
)
def test_a_grpc_service_of_the_author_is_reached_by_header_and_streams_both_ways(
    serve: Serve, version: int, route: str
) -> None:
    served = serve({}, version, header_routed=grpc_app)
    metadata = ((route, str(CHAIN)),)
    with grpc.insecure_channel(served.front.address) as channel:
        unary: Any = channel.unary_unary("/echo.Echo/Each")
        answer, call = unary.with_call(b"one", metadata=metadata, timeout=DEADLINE_S)
        assert answer == b"one"
        assert ("x-sum", "7") in call.trailing_metadata()
        other: Any = channel.unary_unary("/echo.Echo/Other")
        with pytest.raises(grpc.RpcError) as caught:
            other(b"x", metadata=metadata, timeout=DEADLINE_S)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

        answered = threading.Semaphore(1)

        def requests() -> Any:
            for number in range(5):
                # Each is asked only after the one before it was answered.
                assert answered.acquire(timeout=DEADLINE_S)
                yield b"%d" % number

        each: Any = channel.stream_stream("/echo.Echo/Each")
        answers = []
        for answer in each(requests(), metadata=metadata, timeout=DEADLINE_S):
            answers.append(answer)
            answered.release()
    assert answers == [b"%d" % number for number in range(5)]
