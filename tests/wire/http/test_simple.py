"""HandleSimple as the node calls it: the messages themselves."""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from fastapi import FastAPI

from tests.wire.http.apps import answering, telling_scope
from tests.wire.http.conftest import Mount
from tests.wire.http.node import DEADLINE_S, PATH, Caller, as_dict
from vmsdk.http import JSONRPC, WSGI
from vmsdk.http.asgi import respond
from vmsdk.protocol import NEWEST, OLDEST, protocol
from vmsdk.rpc.http import HTTPServers
from vmsdk.rpc.watchdog import Watchdog

INTERNAL_ERROR = re.compile(rb"internal error: see fault [0-9a-f]{8} in the log of the chain\n")
ALL = range(OLDEST, NEWEST + 1)


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("status", [200, 404, 500, 503])
def test_edge_84_every_status_is_an_ok_of_grpc(mount: Mount, version: int, status: int) -> None:
    response = mount(answering(status, (b"x-a", b"1"), (b"x-a", b"2")), version).simple()
    assert (response.code, response.body) == (status, b"body")
    assert as_dict(response.headers) == {"X-A": ["1", "2"]}


@pytest.mark.parametrize("version", [42, 45])
def test_edge_87_the_nodes_headers_are_returned_with_the_apps(mount: Mount, version: int) -> None:
    node = {"Node-Id": ["N"], "Vary": ["Origin"], "Access-Control-Allow-Origin": ["*"]}
    app = answering(200, (b"vary", b"Accept"), (b"access-control-allow-origin", b"https://x"), (b"x", b"y"))
    response = mount(app, version).simple(response_headers=node)
    assert as_dict(response.headers) == {
        "Node-Id": ["N"],
        "Vary": ["Origin", "Accept"],
        "Access-Control-Allow-Origin": ["https://x"],
        "X": ["y"],
    }


def test_edge_87_they_are_returned_with_an_error_of_the_servers_own_too(mount: Mount) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("boom")

    response = mount(app).simple(response_headers={"Node-Id": ["N"]})
    assert response.code == 500
    assert as_dict(response.headers)["Node-Id"] == ["N"]


@pytest.mark.parametrize("status", [0, 100, 101, 199, 700])
def test_edge_86_a_status_that_is_none_is_the_apps_fault(
    mount: Mount, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert mount(answering(status)).simple().code == 500
    assert "200 to 599" in caplog.text


@pytest.mark.parametrize(("prefix", "path"), [("", "/ext/bc/2Z"), ("/rpc", "/ext/bc/2Z/rpc")])
def test_edge_96_the_path_reaches_the_app_unstripped_with_the_root_beside_it(
    mount: Mount, prefix: str, path: str
) -> None:
    told = json.loads(mount(telling_scope, prefix=prefix).simple(url=f"{path}?a=%20").body)
    assert (told["raw_path"], told["root_path"], told["query_string"]) == (path, path, "a=%20")
    assert told["path"] == f"{path}/"


def test_a_header_routed_request_has_no_root(mount: Mount) -> None:
    told = json.loads(mount(telling_scope, prefix=None).simple(url="/pkg.Service/Method").body)
    assert (told["path"], told["root_path"]) == ("/pkg.Service/Method", "")


def test_a_request_is_what_the_node_says(mount: Mount) -> None:
    headers = {"Content-Type": ["text/plain"], "X-Many": ["1", "caf\u00e9"]}
    told = json.loads(mount(telling_scope).simple("PUT", body=b"payload", request_headers=headers).body)
    assert (told["method"], told["body"], told["scheme"]) == ("PUT", "payload", "http")
    assert sorted(told["headers"]) == [
        ["content-type", "text/plain"],
        ["x-many", "1"],
        ["x-many", "caf\u00c3\u00a9"],
    ]


def test_an_empty_method_is_a_get_as_in_go(mount: Mount) -> None:
    assert json.loads(mount(telling_scope).simple("").body)["method"] == "GET"


@pytest.mark.parametrize("url", ["", "rpc", "/%zz", "/a b", "/a\x00"])
def test_a_target_that_is_not_a_url_is_a_400_with_the_reason(mount: Mount, url: str) -> None:
    response = mount(telling_scope).simple(url=url)
    assert response.code == 400
    assert b"the request target" in response.body


def test_a_response_to_head_has_the_headers_of_a_get_and_no_body(mount: Mount) -> None:
    response = mount(answering(200, (b"content-length", b"4"))).simple("HEAD")
    assert (response.body, as_dict(response.headers)) == (b"", {"Content-Length": ["4"]})


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_that_may_have_no_body_has_none(mount: Mount, status: int) -> None:
    assert mount(answering(status)).simple().body == b""


def test_the_content_length_is_left_to_the_node(mount: Mount) -> None:
    assert "Content-Length" not in as_dict(mount(answering(200, (b"content-length", b"4"))).simple().headers)


def test_trailers_are_marked_like_in_go(mount: Mount) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert "http.response.trailers" in scope["extensions"]
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"x"})
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})

    assert as_dict(mount(app).simple().headers) == {"Trailer:X-Sum": ["1"]}


@pytest.mark.parametrize(
    "header",
    [(b"x", b"a\r\nSet-Cookie: stolen=1"), (b"x", b"a\nb"), (b"x", b"\0"), (b"x\r\ny", b"1"), (b"", b"1")],
)
def test_a_header_that_would_forge_another_is_a_500_and_reaches_nobody(
    mount: Mount, header: tuple[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    response = mount(answering(200, header)).simple()
    assert response.code == 500
    assert "stolen" not in str(response)
    assert [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("began", [False, True])
def test_an_app_that_raises_is_a_500_and_one_traceback_and_the_next_request_is_answered(
    mount: Mount, began: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if b"fine" not in scope["query_string"] and began:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        if b"fine" not in scope["query_string"]:
            raise RuntimeError("boom")
        await answering(200)(scope, receive, send)

    caller = mount(app)
    response = caller.simple()
    assert response.code == 500
    assert INTERNAL_ERROR.fullmatch(response.body)
    assert "X" not in as_dict(response.headers)
    [record] = [record for record in caplog.records if record.exc_info]
    assert f"GET {PATH}" in record.getMessage()
    assert caller.simple(url=f"{PATH}?fine").code == 200


def test_an_app_that_returns_without_an_answer_is_a_500(
    mount: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        return

    assert mount(app).simple().code == 500
    assert "returned without sending a response" in caplog.text


def test_the_app_learns_that_its_client_has_disconnected_and_may_finish(
    mount: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    waiting, left = threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await receive()
        waiting.set()
        assert (await receive())["type"] == "http.disconnect"
        with pytest.raises(OSError, match="disconnected"):
            await send({"type": "http.response.start", "status": 200, "headers": []})
        left.set()

    caller = mount(app)
    call = caller.begin_simple()
    assert waiting.wait(DEADLINE_S)
    call.cancel()
    assert left.wait(DEADLINE_S)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_an_app_may_go_on_after_its_response(mount: Mount) -> None:
    answered, finished = threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await receive()
        await answering(200)(scope, receive, send)
        assert (await receive())["type"] == "http.disconnect"
        await asyncio.to_thread(answered.wait, DEADLINE_S)
        finished.set()

    assert mount(app).simple().code == 200
    answered.set()
    assert finished.wait(DEADLINE_S)


@pytest.mark.parametrize("version", ALL)
def test_a_json_rpc_method_is_called_through_every_protocol(mount: Mount, version: int) -> None:
    class Service:
        def get_block(self, height: int) -> int:
            return height

    body = b'{"jsonrpc":"2.0","id":1,"method":"chain.getBlock","params":[{"height":7}]}'
    response = mount(JSONRPC("chain", Service()), version).simple(
        "POST", body=body, request_headers={"Content-Type": ["application/json"]}
    )
    assert json.loads(response.body) == {"jsonrpc": "2.0", "id": 1, "result": 7}


class Answering:
    """A JSON-RPC service, by an ordinary method."""

    def ping(self) -> str:
        return "pong"


@pytest.mark.parametrize("method", ["HandleSimple", "Handle"])
@pytest.mark.parametrize("app", [answering(200), JSONRPC("chain", Answering())], ids=["ASGI", "JSON-RPC"])
def test_a_malformed_message_is_a_grpc_error_and_one_line_in_the_log(
    mount: Mount, app: Any, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    caller = mount(app)
    call: Any = caller.channel.unary_unary(f"/http.HTTP/{method}")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xff\xff", timeout=DEADLINE_S)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    [record] = caplog.records
    assert record.getMessage().startswith(f"/http.HTTP/{method}: the node sent a malformed message: ")
    assert record.exc_info is None
    assert caller.simple().code in (200, 405)


def test_bodies_of_8_mib_pass_both_ways(mount: Mount) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await answering(200, body=(await receive())["body"])(scope, receive, send)

    body = bytes(8 * 1024 * 1024 - 1) + b"x"
    assert mount(app).simple("POST", body=body).body == body


EVENT_SOURCE = {"Accept": ["text/event-stream"]}


async def endless_events(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream")],
            }
        )
        if b"silent" not in scope["query_string"]:
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        with pytest.raises(OSError, match="disconnected"):
            await send({"type": "http.response.body", "body": b"data: 2\n\n", "more_body": True})


def test_an_event_source_gets_the_first_events_of_an_endless_stream(
    mount: Mount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vmsdk.rpc.http.exchange.EVENTS_WAIT_S", 0.05)
    caller = mount(endless_events)
    for url, body in ((PATH, b"data: 1\n\n"), (f"{PATH}?silent", b"")):
        response = caller.simple(url=url, request_headers=EVENT_SOURCE)
        assert (response.code, response.body) == (200, body)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_stream_of_events_that_ends_is_given_whole_to_other_clients(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmsdk.rpc.http.exchange.EVENTS_LINGER_S", 0.0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream")],
            }
        )
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
            for _ in range(10):  # Long after a browser's response would have been cut.
                await asyncio.sleep(0)
        await send({"type": "http.response.body"})

    assert mount(app).simple(request_headers={"Accept": ["*/*"]}).body == b"data: x\n\n" * 3


def test_a_response_that_never_ends_is_stopped_before_it_fills_the_memory(
    mount: Mount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vmsdk.rpc.http.exchange.MAX_RESPONSE_BYTES", 1_000)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        while scope["type"] == "http":
            await send({"type": "http.response.body", "body": bytes(100), "more_body": True})

    response = mount(app).simple()
    assert response.code == 500
    assert INTERNAL_ERROR.fullmatch(response.body)
    assert "use HTTP/2" in caplog.text


def test_requests_over_the_limit_get_a_503_that_asks_to_try_again(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmsdk.rpc.http.capacity.MAX_REQUESTS", 2)
    release = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await asyncio.to_thread(release.wait, DEADLINE_S)
            await answering(200)(scope, receive, send)

    caller = mount(app)
    calls = [caller.begin_simple() for _ in range(3)]
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for call in calls:
        call.add_done_callback(ended.put)
    refused = ended.get(timeout=DEADLINE_S).result()
    assert (refused.code, b"try again later" in refused.body) == (503, True)
    release.set()
    assert sorted(call.result().code for call in calls) == [200, 200, 503]
    assert caller.simple().code == 200


def test_a_call_after_close_is_refused_and_close_may_be_repeated() -> None:
    servers = HTTPServers(protocol(NEWEST), logging.getLogger("chain"))
    caller = Caller(servers.serve(answering(200), prefix="/x"))
    assert caller.simple().code == 200
    servers.close()
    servers.close()
    with pytest.raises(grpc.RpcError) as caught:
        caller.simple()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    caller.close()


def hanging_apps(hang: Callable[[], None]) -> dict[str, Any]:
    """Apps of each kind that call *hang* for each request, by what reports call them."""

    async def waiting() -> None: ...

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        hang()
        return []

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            hang()
            await respond(send, 200, [], b"")

    fastapi = FastAPI()
    fastapi.post("/{rest:path}")(hang)
    return {
        "a JSON-RPC method at /plain": JSONRPC({"hang": hang}),
        "the app at prefix '/mixed'": JSONRPC({"hang": hang, "wait": waiting}),
        "the app at prefix '/wsgi'": WSGI(wsgi),
        "a coroutine that blocks the event loop of all HTTP apps": asgi,
        "a plain function of an HTTP app": fastapi,
    }


@pytest.mark.parametrize("kind", hanging_apps(lambda: None))
def test_code_that_hangs_is_reported_once_with_its_line(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    now_s = [0.0]
    watchdog = Watchdog(3, clock=lambda: now_s[0])
    entered, released = threading.Semaphore(0), threading.Semaphore(0)

    def hang() -> None:
        entered.release()
        assert released.acquire(timeout=DEADLINE_S)

    servers = HTTPServers(protocol(NEWEST), logging.getLogger("chain"), watchdog=watchdog)
    prefix = kind[kind.index("/") :].strip("'") if "/" in kind else "/asgi"
    caller = Caller(servers.serve(hanging_apps(hang)[kind], prefix=prefix))
    body = b'{"jsonrpc":"2.0","method":"hang","id":1}'
    headers = {"Content-Type": ["application/json"]}
    for _ in range(2):
        call = caller.begin_simple("POST", body=body, request_headers=headers)
        assert entered.acquire(timeout=DEADLINE_S)
        watchdog.check()
        now_s[0] += 4
        watchdog.check()
        released.release()
        assert call.result().code == 200
    servers.close()
    caller.close()
    # The event loop may be reported, too, if the clock changed while it worked.
    (report,) = (each.getMessage() for each in caplog.records if each.getMessage().startswith(kind))
    assert re.search(r" has been running for 4 s at \S+test_simple\.py:\d+ in hang$", report)


def test_a_wsgi_app_that_waits_for_its_client_does_not_hang(caplog: pytest.LogCaptureFixture) -> None:
    now_s = [0.0]
    watchdog = Watchdog(3, clock=lambda: now_s[0])

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(3):
            yield b"chunk"
            now_s[0] += 2  # as if it had waited so long
            watchdog.check()

    servers = HTTPServers(protocol(NEWEST), logging.getLogger("chain"), watchdog=watchdog)
    caller = Caller(servers.serve(WSGI(app), prefix="/x"))
    assert caller.simple().body == 3 * b"chunk"
    servers.close()
    caller.close()
    assert "the app at prefix" not in caplog.text
