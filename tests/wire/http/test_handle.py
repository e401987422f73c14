"""Handle as the node calls it: what a request is read from, and what its response writer is
asked.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import sys
import threading
from typing import Any

import pytest

from tests.wire.http.apps import answering, telling_scope
from tests.wire.http.conftest import Mount
from tests.wire.http.node import DEADLINE_S, Request, as_dict
from vmsdk._pb.http import http_pb2
from vmsdk._pb.io.reader import reader_pb2
from vmsdk.protocol import NEWEST, OLDEST

ALL = range(OLDEST, NEWEST + 1)
STREAMED = [version for version in ALL if version >= 40]
INLINE = [version for version in ALL if version <= 39]


@pytest.fixture
def request_() -> Any:
    request = Request([end(NEWEST)])
    yield request
    request.close()


def end(version: int, read: bytes = b"") -> reader_pb2.ReadResponse:
    """The end of a body as the node of this protocol tells it."""
    if version <= 41:
        return reader_pb2.ReadResponse(read=read, error=b"EOF")
    error = reader_pb2.Error(error_code=reader_pb2.ERROR_CODE_EOF, message="EOF")
    return reader_pb2.ReadResponse(read=read, error=error.SerializeToString())


def broken(version: int) -> reader_pb2.ReadResponse:
    if version <= 41:
        return reader_pb2.ReadResponse(error=b"unexpected EOF")
    return reader_pb2.ReadResponse(error=reader_pb2.Error(message="unexpected EOF").SerializeToString())


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the request's body, once it has it all."""
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        body, more = body + message["body"], message["more_body"]
    await answering(200, (b"content-length", b"%d" % len(body)), body=body)(scope, receive, send)


def names(calls: list[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in calls]


# The request --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", STREAMED)
@pytest.mark.parametrize("together", [False, True])
def test_edge_92_a_body_is_read_in_chunks_and_its_end_comes_with_the_last_or_after_it(
    mount: Mount, version: int, together: bool
) -> None:
    chunks = [bytes([number]) * 25_000 for number in range(4)]
    reads = [reader_pb2.ReadResponse(read=chunk) for chunk in chunks]
    reads[-1:] = [end(version, chunks[-1])] if together else [reads[-1], end(version)]
    request = Request(reads)
    try:
        mount(echo, version).handle(request, method="POST", content_length=100_000).result()
        [(name, write)] = request.all_calls()
    finally:
        request.close()
    assert (name, write.payload) == ("Write", b"".join(chunks))
    assert len(request.read_lengths) == len(reads)
    assert all(length > 0 for length in request.read_lengths)


@pytest.mark.parametrize("version", INLINE)
def test_edge_93_until_39_the_body_is_in_the_request_and_the_answer_is_empty(
    mount: Mount, request_: Request, version: int
) -> None:
    response = mount(echo, version).handle(request_, method="POST", body=b"inline", content_length=6).result()
    assert [write.payload for _, write in request_.all_calls()] == [b"inline"]
    assert request_.read_lengths == []
    assert response.SerializeToString() == b""


@pytest.mark.parametrize("version", [39, 41, 45])
def test_a_request_without_a_body_costs_no_read(mount: Mount, request_: Request, version: int) -> None:
    mount(echo, version).handle(request_, content_length=0).result()
    assert request_.read_lengths == []


@pytest.mark.parametrize("version", [40, 41, 42, 45])
def test_a_body_that_breaks_off_is_a_disconnect(mount: Mount, version: int) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.extend([(await receive())["type"], (await receive())["type"]])

    request = Request([reader_pb2.ReadResponse(read=b"half"), broken(version)])
    try:
        mount(app, version).handle(request, method="POST", content_length=100).result()
    finally:
        request.close()
    assert seen == ["http.request", "http.disconnect"]


def test_a_read_that_the_app_gives_up_loses_nothing(mount: Mount) -> None:
    asked, go_on = threading.Event(), threading.Event()

    class SlowRequest(Request):
        def _read(self, request: Any, context: Any) -> Any:
            asked.set()
            assert go_on.wait(DEADLINE_S)
            return super()._read(request, context)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        waiting = asyncio.ensure_future(receive())
        await asyncio.to_thread(asked.wait, DEADLINE_S)
        waiting.cancel()
        await asyncio.wait([waiting])
        go_on.set()
        await echo(scope, receive, send)

    request = SlowRequest([end(NEWEST, b"precious")])
    try:
        mount(app).handle(request, method="POST", content_length=8).result()
        assert [write.payload for _, write in request.all_calls()] == [b"precious"]
    finally:
        request.close()


def test_the_scope_says_what_the_request_says(mount: Mount, request_: Request) -> None:
    mount(telling_scope).handle(
        request_,
        request_uri="/ext/bc/2Z/x?a=1",
        proto_major=2,
        proto_minor=0,
        host="node.example:9650",
        header={"X-Many": ["1", "2"]},
        tls=http_pb2.ConnectionState(),
        content_length=0,
    ).result()
    told = json.loads(b"".join(write.payload for name, write in request_.all_calls() if name == "Write"))
    assert (told["http_version"], told["scheme"], told["query_string"]) == ("2", "https", "a=1")
    assert told["headers"] == [["host", "node.example:9650"], ["x-many", "1"], ["x-many", "2"]]
    assert told["client"] == ["10.0.0.1", 4242]
    assert told["server"] == ["node.example", 9650]


def test_without_a_request_uri_the_parts_of_the_url_tell_the_target(mount: Mount, request_: Request) -> None:
    url = http_pb2.URL(path="/ext/bc/2Z/x/a b", raw_path="/ext/bc/2Z/x/a%20b", raw_query="q")
    mount(telling_scope).handle(request_, request_uri="", url=url, content_length=0).result()
    told = json.loads(b"".join(write.payload for name, write in request_.all_calls() if name == "Write"))
    assert (told["path"], told["raw_path"], told["query_string"]) == (
        "/ext/bc/2Z/x/a b",
        "/ext/bc/2Z/x/a%20b",
        "q",
    )


def test_a_target_that_is_not_a_url_is_a_400(mount: Mount, request_: Request) -> None:
    mount(echo).handle(request_, request_uri="/%zz").result()
    assert request_.next_call()[1].status_code == 400


# The response -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ALL)
def test_edge_90_parts_are_written_and_flushed_one_by_one_with_all_headers_each_time(
    mount: Mount, request_: Request, version: int
) -> None:
    go_on = threading.Semaphore(0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
        for part in (b"one", b"two"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.to_thread(go_on.acquire, timeout=DEADLINE_S)
        await send({"type": "http.response.body", "body": b"three"})

    call = mount(app, version).handle(request_, {"Node-Id": ["N"]}, content_length=0)
    seen = []
    for _ in range(6):
        name, message = request_.next_call()
        seen.append((name, getattr(message, "payload", b"")))
        if name != "Flush":
            assert as_dict(message.headers) == {"Node-Id": ["N"], "X": ["y"]}
        if len(seen) in (4, 6):  # Both calls of a part are there before the next part is made.
            go_on.release()
    call.result()
    seen.extend((name, message.payload) for name, message in request_.all_calls())
    assert seen == [
        ("WriteHeader", b""),
        ("Flush", b""),
        ("Write", b"one"),
        ("Flush", b""),
        ("Write", b"two"),
        ("Flush", b""),
        ("Write", b"three"),
    ]


def test_edge_91_a_second_start_is_refused_so_that_one_status_is_written(
    mount: Mount, request_: Request, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 201, "headers": []})
            await send({"type": "http.response.start", "status": 404, "headers": []})

    mount(app).handle(request_, content_length=0).result()
    calls = request_.all_calls()
    assert [message.status_code for name, message in calls if name == "WriteHeader"] == [201]
    assert "http.response.start twice" in caplog.text


@pytest.mark.parametrize(
    ("status", "calls"), [(200, ["Write"]), (201, ["WriteHeader", "Write"]), (500, ["WriteHeader", "Write"])]
)
def test_a_response_of_known_length_takes_as_few_calls_as_it_can(
    mount: Mount, request_: Request, status: int, calls: list[str]
) -> None:
    mount(answering(status, (b"content-length", b"4"))).handle(request_, content_length=0).result()
    assert names(request_.all_calls()) == calls


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_response_that_may_have_no_body_is_a_status_alone(
    mount: Mount, request_: Request, method: str, status: int
) -> None:
    mount(answering(status)).handle(request_, method=method, content_length=0).result()
    [(name, message)] = request_.all_calls()
    assert (name, message.status_code) == ("WriteHeader", status)


@pytest.mark.parametrize("version", [40, 45])
def test_the_answer_holds_the_headers_and_the_trailers(mount: Mount, request_: Request, version: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")], "trailers": True}
        )
        await send({"type": "http.response.body", "body": b"x"})
        await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]})

    response = mount(app, version).handle(request_, {"Node-Id": ["N"]}, content_length=0).result()
    assert as_dict(response.header) == {"Node-Id": ["N"], "X": ["y"], "Trailer:Grpc-Status": ["0"]}


@pytest.mark.parametrize("began", [False, True])
def test_an_app_that_raises_is_a_500_while_nothing_was_sent(
    mount: Mount, request_: Request, began: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if began:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        if scope["type"] == "http":
            raise RuntimeError("boom")

    mount(app).handle(request_, content_length=0).result()
    statuses = [message.status_code for name, message in request_.all_calls() if name == "WriteHeader"]
    assert statuses == ([] if began else [500])
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_a_client_that_cannot_be_written_to_is_a_disconnect_and_no_fault(
    mount: Mount, request_: Request, caplog: pytest.LogCaptureFixture
) -> None:
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await receive()
        try:
            await answering(200, (b"content-length", b"4"))(scope, receive, send)
        except OSError:
            seen.put((await receive())["type"])
            raise

    request_.write_error = "write tcp 127.0.0.1: broken pipe"
    mount(app).handle(request_, content_length=0).result()
    assert seen.get(timeout=DEADLINE_S) == "http.disconnect"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_node_that_is_gone_is_a_disconnect(mount: Mount) -> None:
    request = Request([end(NEWEST)])
    request.close()
    mount(answering(201)).handle(request, content_length=0).result()


def test_a_client_that_leaves_ends_the_app_s_waiting(mount: Mount, request_: Request) -> None:
    waiting, left = threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        assert (await receive())["type"] == "http.request"
        waiting.set()
        if (await receive())["type"] == "http.disconnect":
            left.set()

    call = mount(app).handle(request_, content_length=0)
    assert waiting.wait(DEADLINE_S)
    call.cancel()
    assert left.wait(DEADLINE_S)


@pytest.mark.parametrize("upgrade", ["h2c", "TLS/1.0"])
def test_another_upgrade_is_declined_by_an_ordinary_answer(
    mount: Mount, request_: Request, upgrade: str
) -> None:
    header = {"Upgrade": [upgrade], "Connection": ["Upgrade"]}
    mount(answering(200)).handle(request_, header=header, content_length=0).result()
    assert "Hijack" not in names(request_.all_calls())


# Websockets ---------------------------------------------------------------------------------------

WEBSOCKET = {
    "Upgrade": ["websocket"],
    "Connection": ["Upgrade"],
    "Sec-Websocket-Key": ["dGhlIHNhbXBsZSBub25jZQ=="],
    "Sec-Websocket-Version": ["13"],
}
# RFC 6455, section 1.3: the answer to that key.
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
# RFC 6455, section 5.7: "Hello", masked and not.
MASKED_HELLO = bytes.fromhex("818537fa213d7f9f4d5158")
HELLO = bytes.fromhex("810548656c6c6f")
MASKED_CLOSE_1000 = bytes.fromhex("8882000000 0003e8".replace(" ", ""))
CLOSE_1000 = bytes.fromhex("880203e8")


async def websocket_echo(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("loses_reply", [False, True])
def test_edge_88_a_websocket_is_hijacked_accepted_echoed_and_closed(
    mount: Mount, request_: Request, version: int, loses_reply: bool, caplog: pytest.LogCaptureFixture
) -> None:
    request_.client.loses_close_reply = loses_reply
    # The call ends while the connection lives on.
    mount(websocket_echo, version).handle(request_, header=WEBSOCKET).result()
    assert names(request_.all_calls()) == ["Hijack"]
    handshake = request_.client.receive()
    assert handshake.startswith(b"HTTP/1.1 101 ")
    assert ACCEPT in handshake
    assert handshake.endswith(b"\r\n\r\n")
    request_.client.send(MASKED_HELLO)
    assert request_.client.receive() == HELLO
    request_.client.send(MASKED_CLOSE_1000)
    assert request_.client.receive() == CLOSE_1000
    assert request_.client.closed.wait(DEADLINE_S)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_edge_89_what_the_client_sent_with_its_request_is_read_first(mount: Mount, request_: Request) -> None:
    request_.client.send(MASKED_HELLO)
    mount(websocket_echo).handle(request_, header=WEBSOCKET).result()
    request_.client.receive()
    assert request_.client.receive() == HELLO


@pytest.mark.parametrize(
    ("changed", "status", "text"),
    [
        ({"Sec-Websocket-Key": []}, 400, "Sec-WebSocket-Key"),
        ({"Connection": ["keep-alive"]}, 400, "Connection: Upgrade"),
        ({"Sec-Websocket-Version": []}, 400, "Sec-WebSocket-Version"),
        ({"Sec-Websocket-Version": ["8"]}, 426, "Sec-WebSocket-Version"),
    ],
)
def test_a_handshake_that_is_none_is_refused_before_the_app(
    mount: Mount, request_: Request, changed: dict[str, list[str]], status: int, text: str
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"

    mount(app).handle(request_, header={**WEBSOCKET, **changed}).result()
    (_, header), (_, body) = request_.all_calls()
    assert header.status_code == status
    assert text in body.payload.decode()
    if status == 426:
        assert as_dict(header.headers)["Sec-Websocket-Version"] == ["13"]


def test_without_the_extra_a_websocket_is_refused_with_the_command_that_installs_it(
    mount: Mount, request_: Request, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, "vmsdk.rpc.http.websocket", raising=False)
    monkeypatch.delattr("vmsdk.rpc.http.websocket", raising=False)
    monkeypatch.setitem(sys.modules, "wsproto", None)
    mount(websocket_echo).handle(request_, header=WEBSOCKET).result()
    (_, header), (_, body) = request_.all_calls()
    assert header.status_code == 501
    assert b"pip install 'vmsdk[websocket]'" in body.payload
    assert "pip install 'vmsdk[websocket]'" in caplog.text


def test_a_connection_that_the_node_does_not_hand_over_ends_the_app(mount: Mount, request_: Request) -> None:
    seen: list[str] = []
    ended = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return
        await receive()
        try:
            await send({"type": "websocket.accept"})
        except OSError:
            seen.append((await receive())["type"])
        ended.set()

    request_.client.close()
    mount(app).handle(request_, header=WEBSOCKET).result()
    assert ended.wait(DEADLINE_S)
    assert seen == ["websocket.disconnect"]
