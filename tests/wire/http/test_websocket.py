"""WebSockets of a real client, through the host's HTTP front, to an app."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
import threading
import tracemalloc
from collections import Counter
from typing import Any

import httpx
import pytest
import websockets
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect as connect_async
from websockets.sync.client import connect

from tests.wire.http.conftest import Serve, Served
from vmsdk.http import WSGI, subpaths
from vmsdk.rpc.http import websocket as websocket_module
from vmsdk.rpc.http.websocket import WebSocketExchange

DEADLINE_S = 60.0
VERSIONS = [39, 41, 45]  # HTTP is the same from 42 on
MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class Ended:
    """What the app's WebSocket ended with."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self.message: Any = None

    def __call__(self, message: Any) -> None:
        self.message = message
        self._ended.set()

    def wait(self) -> Any:
        assert self._ended.wait(DEADLINE_S)
        return self.message


@pytest.fixture
def ended() -> Ended:
    return Ended()


def echo(ended: Ended, **accept: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", **accept})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})
        ended(message)

    return app


def on_accepted(behaviour: Any) -> Any:
    """An app that accepts and then does *behaviour*(receive, send)."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        await behaviour(receive, send)

    return app


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("compression", ["deflate", None])
def test_text_and_binary_of_every_size_come_back_the_same(
    serve: Serve, ended: Ended, version: int, compression: Any
) -> None:
    served = serve({"/ws": echo(ended)}, version)
    with connect(f"{served.ws}/ws", compression=compression, max_size=None) as client:
        assert client.response is not None
        assert ("Sec-WebSocket-Extensions" in client.response.headers) is (compression is not None)
        for message in ("", "caf\u00e9 \U0001f600", b"", os.urandom(65_536), "x" * 200_000, bytes(70_000)):
            client.send(message)
            assert client.recv(DEADLINE_S) == message


@pytest.mark.parametrize("version", [39, 45])
def test_a_message_of_16_mib_passes_and_a_larger_one_ends_the_connection_with_1009(
    serve: Serve, ended: Ended, version: int
) -> None:
    served = serve({"/ws": echo(ended)}, version)
    with connect(f"{served.ws}/ws", compression=None, max_size=None) as client:
        data = os.urandom(MAX_MESSAGE_BYTES)
        client.send(data)
        assert client.recv(DEADLINE_S) == data
        try:
            client.send(data + b"x")
        except websockets.ConnectionClosed:
            pass  # The server may hang up before it has all of it.
        with pytest.raises(websockets.ConnectionClosed):
            client.recv(DEADLINE_S)
    assert ended.wait()["code"] == 1009


def test_a_small_message_that_expands_beyond_the_limit_is_stopped(serve: Serve, ended: Ended) -> None:
    served = serve({"/ws": echo(ended)})
    with connect(f"{served.ws}/ws", max_size=None) as client:
        client.send(bytes(2 * MAX_MESSAGE_BYTES))
        with pytest.raises(websockets.ConnectionClosed) as caught:
            client.recv(DEADLINE_S)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


def test_a_message_in_fragments_is_one_message(serve: Serve, ended: Ended) -> None:
    served = serve({"/ws": echo(ended)})
    with connect(f"{served.ws}/ws") as client:
        client.send(["a", "", "caf\u00e9"])
        assert client.recv(DEADLINE_S) == "acaf\u00e9"
        client.send([b"a", b"b"])
        assert client.recv(DEADLINE_S) == b"ab"


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_fragments_are_held_as_what_they_say_and_not_by_their_number(
    serve: Serve, ended: Ended, payload: bytes
) -> None:
    def frame(first: int) -> bytes:
        return bytes((first, 0x80 | len(payload))) + bytes(4) + payload

    count = 10_000
    served = serve({"/ws": echo(ended)})
    with connect(f"{served.ws}/ws", compression=None) as client:
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            client.socket.sendall(frame(0x02) + frame(0x00) * count)
            assert client.ping().wait(DEADLINE_S)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < 256 * 1024
        client.socket.sendall(frame(0x80))
        assert client.recv(DEADLINE_S) == payload * (count + 2)


def test_many_small_fragments_leave_others_their_turns(
    serve: Serve, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, taken = 0, Counter[int]()
    take_data = WebSocketExchange._take_data

    async def take(self: WebSocketExchange, event: Any) -> None:
        taken[turn] += 1
        await take_data(self, event)

    async def count_turns() -> None:
        nonlocal turn
        while True:
            await asyncio.sleep(0)
            turn += 1

    async def app(scope: Any, receive: Any, send: Any) -> None:
        counting = asyncio.create_task(count_turns())
        await echo(ended)(scope, receive, send)
        counting.cancel()

    monkeypatch.setattr(WebSocketExchange, "_take_data", take)
    served = serve({"/ws": app})
    with connect(f"{served.ws}/ws", compression=None) as client:
        frames = [bytes((first, 0x81)) + bytes(5) for first in (0x02, *[0x00] * 5_000, 0x80)]
        client.socket.sendall(b"".join(frames))
        assert client.recv(DEADLINE_S) == bytes(5_002)
    assert max(taken.values()) <= websocket_module.EVENTS_AT_ONCE


@pytest.mark.parametrize(
    "bits", ["client_max_window_bits=abc", "server_max_window_bits=", "client_max_window_bits=99"]
)
def test_a_malformed_offer_of_compression_is_declined(serve: Serve, ended: Ended, bits: str) -> None:
    served = serve({"/ws": echo(ended)})
    offer = {"Sec-WebSocket-Extensions": f"permessage-deflate; {bits}"}
    with connect(f"{served.ws}/ws", compression=None, additional_headers=offer) as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers
        client.send("hello")
        assert client.recv(DEADLINE_S) == "hello"


def test_a_ping_is_answered_also_while_the_app_is_not_listening(serve: Serve) -> None:
    async def sleep(receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    served = serve({"/ws": on_accepted(sleep)})
    with connect(f"{served.ws}/ws") as client:
        assert client.ping(b"payload").wait(DEADLINE_S)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (4321, "caf\u00e9")])
def test_the_clients_closing_reaches_the_app_with_its_code_and_reason(
    serve: Serve, ended: Ended, code: int, reason: str
) -> None:
    served = serve({"/ws": echo(ended)})
    with connect(f"{served.ws}/ws") as client:
        client.close(code, reason)
    assert ended.wait() == {"type": "websocket.disconnect", "code": code, "reason": reason}


def test_a_client_that_vanishes_is_a_disconnect_of_1006(serve: Serve, ended: Ended) -> None:
    served = serve({"/ws": echo(ended)})
    with connect(f"{served.ws}/ws") as client:
        client.send("x")
        client.recv(DEADLINE_S)
        client.socket.shutdown(socket.SHUT_RDWR)
    assert ended.wait()["code"] == 1006


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ({}, 1000, ""),
        ({"code": 4000, "reason": "done"}, 4000, "done"),
        ({"code": 1000, "reason": "\u00e9" * 100}, 1000, "\u00e9" * 61),
    ],
)
def test_the_apps_closing_reaches_the_client_with_its_code_and_reason(
    serve: Serve, message: dict[str, Any], code: int, reason: str
) -> None:
    async def close(receive: Any, send: Any) -> None:
        await send({"type": "websocket.close", **message})
        assert (await receive())["type"] == "websocket.disconnect"
        with pytest.raises(OSError, match="disconnected"):
            await send({"type": "websocket.send", "text": "too late"})

    served = serve({"/ws": on_accepted(close)})
    with connect(f"{served.ws}/ws") as client, pytest.raises(websockets.ConnectionClosed) as caught:
        client.recv(DEADLINE_S)
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (code, reason)


@pytest.mark.parametrize(("error", "code"), [(None, 1000), (RuntimeError, 1011)])
def test_an_app_that_just_ends_closes_and_one_that_raises_says_so(
    serve: Serve, error: type[Exception] | None, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def end(receive: Any, send: Any) -> None:
        if error is not None:
            raise error("boom")

    served = serve({"/ws": on_accepted(end)})
    with connect(f"{served.ws}/ws") as client, pytest.raises(websockets.ConnectionClosed) as caught:
        client.recv(DEADLINE_S)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == code
    assert len([record for record in caplog.records if record.exc_info]) == (error is not None)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (bytes.fromhex("8300"), 1002),  # An opcode that does not exist.
        (bytes.fromhex("8182000000 00c328".replace(" ", "")), 1007),  # Text that is no UTF-8.
        (bytes.fromhex("81021234"), 1002),  # A client's frame without a mask.
    ],
)
def test_a_client_that_breaks_the_protocol_is_hung_up_on_with_the_code_for_it(
    serve: Serve, ended: Ended, frames: bytes, code: int
) -> None:
    served = serve({"/ws": echo(ended)})
    with connect(f"{served.ws}/ws") as client:
        client.socket.sendall(frames)
        with pytest.raises(websockets.ConnectionClosed) as caught:
            client.recv(DEADLINE_S)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == code
    assert ended.wait()["code"] == code


def test_a_subprotocol_is_offered_to_the_app_and_chosen_by_it(serve: Serve, ended: Ended) -> None:
    offered: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        offered.extend(scope.get("subprotocols", []))
        await echo(ended, subprotocol="b", headers=[(b"x-extra", b"1")])(scope, receive, send)

    served = serve({"/ws": app})
    with connect(f"{served.ws}/ws", subprotocols=["a", "b"]) as client:  # type: ignore[list-item]
        assert client.subprotocol == "b"
        assert client.response is not None
        assert client.response.headers["X-Extra"] == "1"
    assert offered == ["a", "b"]


@pytest.mark.parametrize(
    "accept",
    [
        {"subprotocol": "never offered"},
        {"headers": [(b"x", b"a\r\nb")]},
        {"headers": [(b"sec-websocket-accept", b"x")]},
    ],
)
def test_an_acceptance_that_breaks_the_handshake_is_a_500(
    serve: Serve, ended: Ended, accept: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    served = serve({"/ws": echo(ended, **accept)})
    with pytest.raises(websockets.InvalidStatus) as caught:
        connect(f"{served.ws}/ws")
    assert caught.value.response.status_code == 500
    assert [record for record in caplog.records if record.exc_info]


def refusing(*messages: dict[str, Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            for message in messages:
                await send(message)

    return app


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("app", "status", "text"),
    [
        (refusing({"type": "websocket.close", "reason": "members only"}), 403, b"members only\n"),
        (refusing({"type": "websocket.close"}), 403, b"Forbidden\n"),
        (
            refusing(
                {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x", b"y")]},
                {"type": "websocket.http.response.body", "body": b"who ", "more_body": True},
                {"type": "websocket.http.response.body", "body": b"are you?"},
            ),
            401,
            b"who are you?",
        ),
        (WSGI(lambda environ, start_response: []), 400, b"this app is WSGI, which has no WebSockets\n"),
    ],
)
def test_a_websocket_is_refused_before_it_is_one(
    serve: Serve, version: int, app: Any, status: int, text: bytes
) -> None:
    served = serve({"/ws": app}, version)
    with pytest.raises(websockets.InvalidStatus) as caught:
        connect(f"{served.ws}/ws")
    assert (caught.value.response.status_code, caught.value.response.body) == (status, text)


def test_an_app_that_returns_without_an_answer_is_a_500(serve: Serve) -> None:
    served = serve({"/ws": refusing()})
    with pytest.raises(websockets.InvalidStatus) as caught:
        connect(f"{served.ws}/ws")
    assert caught.value.response.status_code == 500


def test_a_client_that_does_not_read_slows_the_app_down(serve: Serve) -> None:
    sent = 0
    stalled = threading.Event()

    async def flood(receive: Any, send: Any) -> None:
        nonlocal sent
        chunk = os.urandom(1024 * 1024)
        while True:
            sending = asyncio.ensure_future(send({"type": "websocket.send", "bytes": chunk}))
            if not (await asyncio.wait([sending], timeout=0.5))[0]:
                stalled.set()
                with pytest.raises(OSError, match="disconnected"):
                    await sending
                return
            sent += 1

    served = serve({"/ws": on_accepted(flood)})
    with connect(f"{served.ws}/ws", compression=None, max_queue=1, max_size=None, close_timeout=0.1):
        assert stalled.wait(DEADLINE_S)
    assert sent < 200


def test_an_app_that_does_not_read_slows_the_client_down(serve: Serve) -> None:
    async def sleep(receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    served = serve({"/ws": on_accepted(sleep)})
    with connect(f"{served.ws}/ws", compression=None, ping_interval=None) as client:
        frame = bytes.fromhex("82fe400000000000") + bytes(0x4000)
        left = memoryview(frame * 16_384)  # 256 MiB: far more than any buffer in between.
        while left and select.select([], [client.socket], [], 1)[1]:
            left = left[client.socket.send(left, socket.MSG_DONTWAIT) :]
        assert left
        client.socket.shutdown(socket.SHUT_RDWR)


# Signs of life ------------------------------------------------------------------------------------

PING = bytes.fromhex("8900")


def open_raw(served: Served) -> socket.socket:
    """A WebSocket at `/ws` whose client does only what the test does: it answers no ping."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    client.settimeout(DEADLINE_S)
    host, _, port = served.front.address.partition(":")
    client.connect((host, int(port)))
    path = served.ws.removeprefix(f"ws://{served.front.address}") + "/ws"
    headers = (
        f"GET {path} HTTP/1.1",
        f"Host: {served.front.address}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {'A' * 22}==",
    )
    client.sendall("\r\n".join((*headers, "", "")).encode())
    response = b""
    while not response.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        assert byte, response
        response += byte
    assert response.startswith(b"HTTP/1.1 101 ")
    return client


def test_a_client_that_answers_no_ping_is_dropped(
    serve: Serve, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "PING_INTERVAL_S", 0.1)
    with open_raw(serve({"/ws": echo(ended)})) as client:
        received = b""
        while data := client.recv(1024):
            received += data
        assert received == 2 * PING
        assert ended.wait()["code"] == 1006


def test_a_client_is_not_silent_while_its_messages_wait_for_a_busy_app(
    serve: Serve, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "PING_INTERVAL_S", 0.5)
    count = 100  # More than may wait for an app, so the server stops reading.
    loop: asyncio.AbstractEventLoop | None = None
    idle = asyncio.Event()

    async def busy(receive: Any, send: Any) -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        await idle.wait()
        ended([(await receive()).get("text") for _ in range(count)])

    with open_raw(serve({"/ws": on_accepted(busy)})) as client:
        client.sendall((bytes.fromhex("818100000000") + b"x") * count)
        pings = b""
        while len(pings) < 4 * len(PING):
            data = client.recv(len(PING))
            assert data, f"dropped after {len(pings) // len(PING)} pings"
            pings += data
        assert loop is not None
        loop.call_soon_threadsafe(idle.set)
        assert ended.wait() == ["x"] * count


def test_a_client_is_not_silent_while_a_message_is_on_its_way_to_it(
    serve: Serve, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "PING_INTERVAL_S", 0.1)
    size = 32 * 1024 * 1024
    stalled = threading.Event()

    async def tell(receive: Any, send: Any) -> None:
        sending = asyncio.ensure_future(send({"type": "websocket.send", "bytes": bytes(size)}))
        done, _ = await asyncio.wait([sending], timeout=0.8)  # Eight intervals.
        stalled.set()
        if done:
            ended(f"too early: {await asyncio.gather(sending, return_exceptions=True)}")
        await sending
        ended("sent")

    with open_raw(serve({"/ws": on_accepted(tell)})) as client:
        assert stalled.wait(DEADLINE_S)
        received = 0
        while data := client.recv(1024 * 1024):
            received += len(data)
        assert received > size
    assert ended.wait() == "sent"


def test_a_client_that_never_takes_its_message_is_dropped(
    serve: Serve, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "PING_INTERVAL_S", 0.1)
    monkeypatch.setattr(websocket_module, "WRITE_TIMEOUT_S", 0.5)

    async def tell(receive: Any, send: Any) -> None:
        with pytest.raises(OSError, match="disconnected"):
            await send({"type": "websocket.send", "bytes": bytes(32 * 1024 * 1024)})
        ended(await receive())

    with open_raw(serve({"/ws": on_accepted(tell)})):
        assert ended.wait()["code"] == 1006


def test_starlette_routes_websockets_below_its_mount(serve: Serve) -> None:
    async def feed(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json({"name": websocket.path_params["name"], "url": websocket.url.path})
        try:
            await websocket.receive_text()
        except WebSocketDisconnect:
            pass

    served = serve({subpaths("/api"): Starlette(routes=[WebSocketRoute("/feed/{name}", feed)])})
    with connect(f"{served.ws}/api/feed/x") as client:
        assert f'"/ext/bc/{served.ws.rpartition("/")[2]}/api/feed/x"' in str(client.recv(DEADLINE_S))


# The server's end ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
def test_closing_the_servers_ends_websockets_as_a_restart(serve: Serve, ended: Ended) -> None:
    served = serve({"/ws": echo(ended)})
    with connect(f"{served.ws}/ws") as client:
        client.send("x")
        client.recv(DEADLINE_S)
        served.servers.close()
        with pytest.raises(websockets.ConnectionClosed) as caught:
            client.recv(DEADLINE_S)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012
    assert ended.wait()["type"] == "websocket.disconnect"


def test_an_app_that_ignores_its_disconnect_is_cancelled(serve: Serve, ended: Ended) -> None:
    async def stubborn(receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended("cancelled")

    served = serve({"/ws": on_accepted(stubborn)})
    with connect(f"{served.ws}/ws"):
        served.servers.close()
        assert ended.wait() == "cancelled"


def test_a_node_that_goes_away_ends_its_websockets(serve: Serve, ended: Ended) -> None:
    served = serve({"/ws": echo(ended)})
    with connect(f"{served.ws}/ws") as client:
        client.send("x")
        client.recv(DEADLINE_S)
        served.front.stop()
        assert ended.wait()["code"] == 1006


def test_150_idle_websockets_cost_no_thread_and_stop_nobody(serve: Serve) -> None:
    async def ping(request: Any) -> JSONResponse:
        return JSONResponse({"pong": True})

    async def idle(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await websocket.receive_text()
        except WebSocketDisconnect:
            pass

    app = Starlette(routes=[WebSocketRoute("/ws", idle), Route("/ping", ping)])
    other = Starlette(routes=[Route("/pong", ping)])
    served = serve({subpaths("/api"): app, subpaths("/other"): other})

    async def use() -> None:
        clients = []
        before = threading.active_count()
        for _ in range(3):
            clients += await asyncio.gather(
                *(
                    connect_async(f"{served.ws}/api/ws", ping_interval=None, open_timeout=DEADLINE_S)
                    for _ in range(50)
                )
            )
        assert threading.active_count() - before <= 2
        async with connect_async(f"{served.ws}/api/ws", open_timeout=DEADLINE_S) as one_more:
            await asyncio.wait_for(await one_more.ping(), DEADLINE_S)
        async with httpx.AsyncClient(timeout=DEADLINE_S) as http:
            for path in ("/api/ping", "/other/pong"):
                assert (await http.get(served.url + path)).json() == {"pong": True}
        assert all(client.state is websockets.State.OPEN for client in clients)
        await asyncio.gather(*(client.close() for client in clients))

    logging.getLogger("websockets").setLevel(logging.INFO)
    asyncio.run(use())
