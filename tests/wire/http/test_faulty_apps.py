"""Apps that exit, that block what they must not, and clients that never come to an end: all others
are served.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from typing import Any

import grpc
import pytest

from tests.wire.http.apps import answering
from tests.wire.http.conftest import Mount
from tests.wire.http.node import DEADLINE_S, Caller, Request
from vmsdk._pb.io.reader import reader_pb2
from vmsdk.http import JSONRPC, WSGI, subpaths
from vmsdk.protocol import NEWEST, protocol
from vmsdk.rpc.http import HTTPServers
from vmsdk.rpc.http.servers import CLOSE_TIMEOUT_S, REQUEST_GRACE_S, THREADED_STOP_TIMEOUT_S
from vmsdk.rpc.http.threaded import ThreadedServer

# What a node leaves a plugin from SIGTERM to its end.
NODE_WAITS_S = 5.0


def rpc(caller: Caller, method: str) -> Any:
    """A call of JSON-RPC, and its answer."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": f"chain.{method}", "params": []}).encode()
    response = caller.simple("POST", body=body, request_headers={"Content-Type": ["application/json"]})
    return json.loads(response.body)


class Plain:
    """Methods that run in a thread."""

    def ping(self) -> str:
        return "pong"

    def leave(self) -> None:
        sys.exit(3)


class Asynchronous:
    """Methods that run on the event loop."""

    async def ping(self) -> str:
        return "pong"

    async def leave(self) -> None:
        sys.exit(3)


@pytest.mark.parametrize("service", [Plain(), Asynchronous()], ids=["plain", "async"])
def test_a_method_that_exits_has_failed_and_the_next_is_answered(
    mount: Mount, service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caller = mount(JSONRPC("chain", service))
    assert rpc(caller, "leave")["error"]["code"] == -32603
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.exc_info is not None
    assert record.exc_info[0] is SystemExit
    assert rpc(caller, "ping")["result"] == "pong"


def test_an_app_that_exits_has_failed_and_the_next_request_is_answered(
    mount: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" or scope["query_string"] == b"leave":
            sys.exit(3)
        await answering(200)(scope, receive, send)

    caller = mount(app)
    assert caller.simple(url="/ext/bc/2Z/x?leave").code == 500
    assert caller.simple().code == 200
    assert len([record for record in caplog.records if record.exc_info]) == 1


class Slow(Request):
    """A request whose body never arrives."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.given_up = threading.Event()
        super().__init__()

    def _read(self, request: Any, context: Any) -> Any:
        self.asked.set()
        assert self.given_up.wait(DEADLINE_S)
        return reader_pb2.ReadResponse(error=b"EOF")


def begin(caller: Caller, request: Slow) -> Any:
    call = caller.handle(
        request,
        method="POST",
        proto_major=2,
        proto_minor=0,
        content_length=100,
        header={"Content-Type": ["application/json"]},
    )
    assert request.asked.wait(DEADLINE_S)
    return call


def test_clients_that_never_send_their_body_do_not_stop_a_service(mount: Mount) -> None:
    caller = mount(JSONRPC("chain", Plain()), 45)
    slow = [Slow() for _ in range(20)]
    calls = [begin(caller, request) for request in slow]
    assert rpc(caller, "ping")["result"] == "pong"
    for request in slow:
        request.given_up.set()
    for call in calls:
        call.result()
    for request in slow:
        request.close()


def test_too_many_requests_over_http_2_are_refused(mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmsdk.rpc.http.threaded.MAX_WAITING", 1)
    caller = mount(JSONRPC("chain", Plain()), 45)
    first, second = Slow(), Slow()
    call = begin(caller, first)
    with pytest.raises(grpc.RpcError) as caught:
        caller.handle(second, method="POST", proto_major=2, proto_minor=0).result()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(caught.value.details()).startswith("too many calls at once: 1 run and 0 wait")
    first.given_up.set()
    call.result()
    third = Slow()
    third.given_up.set()
    begin(caller, third).result()
    for request in (first, second, third):
        request.close()


@pytest.mark.parametrize("service", [Plain(), Asynchronous()], ids=["plain", "async"])
def test_a_service_on_a_template_leaves_requests_to_a_more_particular_prefix(service: Any) -> None:
    servers = HTTPServers(protocol(NEWEST), logging.getLogger("chain"))
    caller = Caller(servers.serve(JSONRPC("chain", service), prefix=subpaths("")))
    servers.serve(answering(200, body=b"the app"), prefix="/api")
    try:
        response = caller.simple(url="/ext/bc/2Z/api")
        assert (response.code, response.body) == (200, b"the app")
    finally:
        caller.close()
        servers.close()


class Stuck:
    """A method that does not end until it is told."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.release = threading.Event()

    def wait(self) -> None:
        self.began.set()
        assert self.release.wait(DEADLINE_S)


def test_services_with_stuck_methods_do_not_end_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    waits_s: list[float] = []
    stop = ThreadedServer.stop

    def watched(server: ThreadedServer, timeout_s: float) -> None:
        waits_s.append(max(0.0, timeout_s))
        stop(server, timeout_s)

    monkeypatch.setattr(ThreadedServer, "stop", watched)
    servers = HTTPServers(protocol(NEWEST), logging.getLogger("chain"))
    services = [Stuck() for _ in range(5)]
    callers = [
        Caller(servers.serve(JSONRPC("chain", service), prefix=f"/{number}"))
        for number, service in enumerate(services)
    ]
    body = b'{"jsonrpc":"2.0","id":1,"method":"chain.wait","params":[]}'
    calls = []
    for caller, service in zip(callers, services, strict=True):
        calls.append(
            caller.begin_simple("POST", body=body, request_headers={"Content-Type": ["application/json"]})
        )
        assert service.began.wait(DEADLINE_S)
    servers.close()
    for caller, service in zip(callers, services, strict=True):
        service.release.set()
        caller.close()
    for call in calls:
        assert isinstance(call.exception(DEADLINE_S), grpc.RpcError)
    # What they are given is what they take, since each is stuck.
    assert len(waits_s) == len(services)
    assert sum(waits_s) <= REQUEST_GRACE_S + THREADED_STOP_TIMEOUT_S
    assert REQUEST_GRACE_S + THREADED_STOP_TIMEOUT_S + CLOSE_TIMEOUT_S < NODE_WAITS_S


def test_an_app_that_blocks_the_event_loop_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vmsdk.rpc.http.servers.CLOSE_TIMEOUT_S", 0.01)
    blocks, release = threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            blocks.set()
            assert release.wait(DEADLINE_S)

    others = set(threading.enumerate())
    servers = HTTPServers(protocol(NEWEST), logging.getLogger("chain"))
    caller = Caller(servers.serve(app, prefix="/x"))
    call = caller.begin_simple()
    assert blocks.wait(DEADLINE_S)
    (loop,) = (each for each in threading.enumerate() if each.name == "vmsdk-http" and each not in others)
    servers.close()
    assert "an app blocks it" in caplog.text
    release.set()
    loop.join(DEADLINE_S)
    assert not loop.is_alive()
    call.cancel()
    caller.close()


def test_what_a_client_writes_into_its_path_reaches_the_log_as_text_only(
    mount: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            raise RuntimeError

    caller = mount(app)
    assert caller.simple(url="/ext/bc/2Z/x/%1b[2J%0aforged%9b\u202e" + "x" * 10_000).code == 500
    [record] = [record for record in caplog.records if record.exc_info]
    assert "GET /ext/bc/2Z/x/%1B%5B2J%0Aforged" in record.getMessage()
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 2_000


@pytest.mark.parametrize("kind", ["app", "json-rpc"])
def test_a_flood_of_failures_of_one_kind_is_one_traceback(
    mount: Mount, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Service:
        def fail(self) -> None:
            raise RuntimeError("broken")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            raise RuntimeError("broken")

    if kind == "app":
        caller = mount(app)
        for number in range(100):
            assert caller.simple(url=f"/ext/bc/2Z/x/{number}").code == 500
    else:
        caller = mount(JSONRPC("chain", Service()))
        for _ in range(100):
            assert rpc(caller, "fail")["error"]["code"] == -32603
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len([record for record in errors if record.exc_info]) == 1
    # The first, then the 2nd, 4th, 8th, ..., 64th.
    assert len(errors) == 7


class ItsOwnDisconnect(Exception):
    """What a framework makes of the error that `send` raises."""


def test_what_an_app_raises_after_its_client_has_left_is_not_its_fault(
    mount: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    began, ended = threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await receive()
        began.set()
        assert (await receive())["type"] == "http.disconnect"
        ended.set()
        raise ItsOwnDisconnect

    call = mount(app).begin_simple()
    assert began.wait(DEADLINE_S)
    call.cancel()
    assert ended.wait(DEADLINE_S)
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


class Unread(Request):
    """A request whose response the client does not read."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.given_up = threading.Event()
        super().__init__([reader_pb2.ReadResponse(error=b"EOF")])

    def _write(self, request: Any, context: Any) -> Any:
        self.asked.set()
        assert self.given_up.wait(DEADLINE_S)
        return super()._write(request, context)


def test_clients_that_do_not_read_stop_no_one_else(mount: Mount) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return iter([b"one", b"two"])

    slow = [Unread() for _ in range(20)]
    with_slow_clients, other = mount(WSGI(app), 45), mount(JSONRPC("chain", Plain()), 45)
    calls = []
    for request in slow:
        calls.append(with_slow_clients.handle(request, proto_major=2, proto_minor=0))
        assert request.asked.wait(DEADLINE_S)
    assert with_slow_clients.simple().body == b"onetwo"
    assert rpc(other, "ping")["result"] == "pong"
    for request in slow:
        request.given_up.set()
    for call in calls:
        call.result()
    for request in slow:
        request.close()
