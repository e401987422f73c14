"""The gRPC server of a plugin: both kinds keep the same contract, but for what only the fast one
can.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from vmsdk.rpc import listener, pollserver
from vmsdk.rpc.lane import Lane, LaneMethod
from vmsdk.rpc.listener import Server
from vmsdk.rpc.monitoring import HealthService
from vmsdk.rpc.pollserver import PollServer
from vmsdk.rpc.publicserver import PublicServer

PATIENCE_S = 60.0
MIB = 1 << 20

Behaviour = Callable[[bytes, Any], bytes]


class Methods(grpc.GenericRpcHandler):
    """Methods of one service, on raw bytes."""

    def __init__(self) -> None:
        self.methods: dict[str, Any] = {}
        self.lanes = (
            Lane("two", limit=2),
            Lane("short", limit=1, queue_limit=1),
            Lane("none", queue_limit=0),
        )

    def add(self, name: str, behaviour: Behaviour, lane: Lane | None = None, **how: Any) -> None:
        decode, encode = how.get("decode", bytes), how.get("encode", bytes)
        self.methods[f"/test/{name}"] = LaneMethod(behaviour, decode, encode, lane or Lane(name, limit=8))

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return self.methods.get(details.method)


class Rig:
    """A server on a socket, its methods, and a client."""

    def __init__(self, server: Server, address: str = "127.0.0.1:0") -> None:
        self.server = server
        self.methods = Methods()
        self.add = self.methods.add
        server.add_generic_rpc_handlers((self.methods, HealthService()))
        port = server.add_insecure_port(address)
        target = address if address.startswith("unix:") else f"127.0.0.1:{port}"
        self.channel = grpc.insecure_channel(target, options=[("grpc.max_receive_message_length", -1)])
        server.start()

    def start(self, name: str, data: bytes = b"", **how: Any) -> Any:
        call: Any = self.channel.unary_unary(f"/test/{name}")
        return call.future(data, timeout=PATIENCE_S, **{"wait_for_ready": True, **how})

    def call(self, name: str, data: bytes = b"", **how: Any) -> bytes:
        result: bytes = self.start(name, data, **how).result(PATIENCE_S)
        return result

    def refused(self, name: str, **how: Any) -> tuple[grpc.StatusCode, str]:
        error = self.start(name, **how).exception(PATIENCE_S)
        return error.code(), error.details()

    def close(self) -> None:
        self.channel.close()
        assert self.server.stop(None).wait(PATIENCE_S)


def make(kind: str, **how: Any) -> Server:
    return PublicServer(**how) if kind == "public" else PollServer(**how)


@pytest.fixture(params=["polling", "public"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Each kind of server."""
    rig = Rig(make(request.param))
    yield rig
    rig.close()


@pytest.fixture
def polling() -> Iterator[Rig]:
    """The fast server, with a thread in reserve."""
    rig = Rig(PollServer(reserved=1))
    yield rig
    rig.close()


class Gate:
    """A method that waits: `begun` once for each call, until `opened`."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self, request: bytes, context: Any) -> bytes:
        self.begun.release()
        assert self.opened.wait(PATIENCE_S)
        return request

    def wait(self) -> None:
        assert self.begun.acquire(timeout=PATIENCE_S)


def echo(request: bytes, context: Any) -> bytes:
    return request


# Both servers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 64 * MIB], ids=["empty", "small", "64 MiB"])
def test_a_message_comes_back_whole(rig: Rig, size: int) -> None:
    rig.add("echo", echo)
    data = b"x" * size
    assert rig.call("echo", data) == data


def test_a_method_that_nobody_knows_is_unimplemented(rig: Rig) -> None:
    assert rig.refused("nothing")[0] is grpc.StatusCode.UNIMPLEMENTED


def test_a_message_that_cannot_be_decoded_is_refused(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    def fail(data: bytes) -> bytes:
        raise ValueError("no message")

    rig.add("raises", echo, decode=fail)
    rig.add("declines", echo, decode=lambda data: None)
    expected = (grpc.StatusCode.INTERNAL, "Exception deserializing request!")
    assert [rig.refused("raises"), rig.refused("declines")] == [expected] * 2


def test_a_method_aborts_with_a_code_and_a_text(rig: Rig) -> None:
    def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: ü")

    rig.add("refuse", refuse)
    assert rig.refused("refuse") == (grpc.StatusCode.NOT_FOUND, "no such thing: ü")


def test_a_long_text_fails_its_own_call_alone(rig: Rig) -> None:
    def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, "ü" * 4_000)

    rig.add("refuse", refuse)
    rig.add("echo", echo)
    code, _text = rig.refused("refuse")
    assert code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert rig.call("echo", b"on") == b"on"


def test_a_method_sees_the_clients_metadata(rig: Rig) -> None:
    rig.add("key", lambda request, context: dict(context.invocation_metadata())["key"].encode())
    assert rig.call("key", metadata=[("key", "value")]) == b"value"


def test_a_method_that_raises_fails_its_own_call_alone(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: bytes, context: Any) -> bytes:
        raise ValueError("a mistake")

    rig.add("fail", fail)
    rig.add("echo", echo)
    for _ in range(5):
        assert rig.refused("fail") == (
            grpc.StatusCode.UNKNOWN,
            "Exception calling application: a mistake",
        )
    assert rig.call("echo", b"on") == b"on"


def test_a_client_that_leaves_is_noticed(rig: Rig) -> None:
    begun, left = threading.Event(), threading.Event()

    def wait(request: bytes, context: Any) -> bytes:
        assert context.add_callback(left.set)
        assert context.is_active()
        begun.set()
        assert left.wait(PATIENCE_S)
        return b""

    rig.add("wait", wait)
    call = rig.start("wait")
    assert begun.wait(PATIENCE_S)
    call.cancel()
    assert left.wait(PATIENCE_S)


def test_callbacks_run_at_the_end_of_a_call_too(rig: Rig) -> None:
    ended = threading.Event()
    rig.add("end", lambda request, context: str(context.add_callback(ended.set)).encode())
    assert rig.call("end") == b"True"
    assert ended.wait(PATIENCE_S)


def test_a_lane_runs_no_more_calls_at_a_time_than_its_limit(rig: Rig) -> None:
    gate = Gate()
    rig.add("gate", gate, rig.methods.lanes[0])
    rig.add("echo", echo)
    calls = [rig.start("gate", b"%d" % number) for number in range(5)]
    gate.wait()
    gate.wait()
    assert rig.call("echo", b"beside") == b"beside"
    assert not gate.begun.acquire(blocking=False)
    gate.opened.set()
    assert [call.result(PATIENCE_S) for call in calls] == [b"0", b"1", b"2", b"3", b"4"]


def test_a_lane_refuses_calls_beyond_its_queue(rig: Rig) -> None:
    gate = Gate()
    rig.add("gate", gate, rig.methods.lanes[1])
    running = rig.start("gate", b"runs")
    gate.wait()
    refused = threading.Semaphore(0)

    def count(call: Any) -> None:
        if call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            refused.release()

    rest = [rig.start("gate", b"waits") for _ in range(3)]
    for call in rest:
        call.add_done_callback(count)
    assert refused.acquire(timeout=PATIENCE_S)
    assert refused.acquire(timeout=PATIENCE_S)
    gate.opened.set()
    assert running.result(PATIENCE_S) == b"runs"
    assert sorted(call.code() is grpc.StatusCode.OK for call in rest) == [False, False, True]


def test_responses_are_streamed_until_the_client_leaves(rig: Rig) -> None:
    watch = rig.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    known, unknown = (
        watch(health_pb2.HealthCheckRequest(service=name), wait_for_ready=True) for name in ("", "x")
    )
    assert next(known).status == health_pb2.HealthCheckResponse.SERVING
    assert next(unknown).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    known.cancel()
    unknown.cancel()


def test_a_stop_lets_calls_end_within_the_grace_and_takes_no_new_ones(rig: Rig) -> None:
    gate = Gate()
    rig.add("gate", gate)
    call = rig.start("gate", b"done")
    gate.wait()
    stopped = rig.server.stop(PATIENCE_S)
    assert rig.refused("gate", wait_for_ready=False)[0] in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
    )
    assert not stopped.is_set()
    gate.opened.set()
    assert call.result(PATIENCE_S) == b"done"
    assert stopped.wait(PATIENCE_S)


def test_a_stop_cancels_calls_after_the_grace(rig: Rig) -> None:
    cancelled = threading.Event()
    begun = threading.Event()

    def wait(request: bytes, context: Any) -> bytes:
        context.add_callback(cancelled.set)
        begun.set()
        assert cancelled.wait(PATIENCE_S)
        return b""

    rig.add("wait", wait)
    call = rig.start("wait")
    assert begun.wait(PATIENCE_S)
    assert rig.server.stop(0.01).wait(PATIENCE_S)
    assert isinstance(call.exception(PATIENCE_S), grpc.RpcError)


def test_a_stop_does_not_wait_for_a_method_that_hangs(rig: Rig) -> None:
    gate, lane = Gate(), rig.methods.lanes[0]
    rig.add("cancellable", gate, lane)
    rig.add("uninterrupted", gate, Lane("uninterrupted", cancellable=False))
    calls = [rig.start("cancellable"), rig.start("uninterrupted")]
    for _ in calls:
        gate.wait()
    assert rig.server.stop(0.01).wait(PATIENCE_S)
    assert rig.server.stop(None).wait(PATIENCE_S)
    assert [isinstance(call.exception(PATIENCE_S), grpc.RpcError) for call in calls] == [True, True]
    gate.opened.set()


@pytest.mark.parametrize("kind", ["polling", "public"])
def test_it_serves_a_unix_socket(kind: str, tmp_path: Path) -> None:
    rig = Rig(make(kind), f"unix:{tmp_path / 'socket'}")
    rig.add("echo", echo)
    assert rig.call("echo", b"local") == b"local"
    rig.close()


@pytest.mark.parametrize("kind", ["polling", "public"])
def test_a_method_runs_within_what_the_server_enters_around_it(kind: str) -> None:
    entered: list[int] = []
    left = threading.Semaphore(0)

    class Around:
        def __enter__(self) -> None:
            entered.append(threading.get_ident())

        def __exit__(self, *failure: object) -> None:
            entered.remove(threading.get_ident())
            left.release()

    rig = Rig(make(kind, around=Around()))
    rig.add("inside", lambda data, context: b"%d" % (threading.get_ident() in entered), rig.methods.lanes[0])
    assert [rig.call("inside") for _ in range(3)] == [b"1"] * 3
    for _ in range(3):
        assert left.acquire(timeout=PATIENCE_S)
    rig.close()
    assert entered == []


@pytest.mark.parametrize("kind", ["polling", "public"])
def test_calls_that_wait_for_their_lane_run_within_it_one_by_one(kind: str) -> None:
    around = Around()
    rig = Rig(make(kind, around=around))
    gate = Gate()

    def run(data: bytes, context: Any) -> bytes:
        entered = around.entered_by.get(threading.get_ident(), 0)
        gate(data, context)
        return b"%d" % entered

    rig.add("run", run, rig.methods.lanes[0])
    calls = [rig.start("run") for _ in range(6)]
    gate.wait()
    gate.wait()
    gate.opened.set()
    entries = [int(call.result(PATIENCE_S)) for call in calls]
    assert entries == [1] * 6
    rig.close()
    assert around.entries >= 6


class Around:
    """Counts who is within it."""

    def __init__(self) -> None:
        self.entered_by: dict[int, int] = {}
        self.entries = 0

    def __enter__(self) -> None:
        self.entries += 1
        me = threading.get_ident()
        self.entered_by[me] = self.entered_by.get(me, 0) + 1

    def __exit__(self, *failure: object) -> None:
        self.entered_by[threading.get_ident()] -= 1


# The fast server ----------------------------------------------------------------------------------


def test_a_full_lane_takes_the_next_call_as_soon_as_a_response_is_there(polling: Rig) -> None:
    polling.add("echo", echo, polling.methods.lanes[2])
    assert [polling.call("echo", b"%d" % number) for number in range(500)] == [b"%d" % n for n in range(500)]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_whatever_a_method_raises_its_thread_goes_on(
    polling: Rig, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(request: bytes, context: Any) -> bytes:
        raise error

    polling.add("fail", fail)
    polling.add("echo", echo)
    for _ in range(5):
        assert polling.refused("fail")[0] is grpc.StatusCode.UNKNOWN
    assert polling.call("echo", b"on") == b"on"


def test_a_response_that_cannot_be_encoded_fails_its_call(
    polling: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    polling.add("bad", lambda request, context: None, encode=lambda message: message.encode())  # type: ignore[arg-type, return-value]
    assert polling.refused("bad")[0] is grpc.StatusCode.UNKNOWN


@pytest.mark.parametrize("cancellable", [True, False])
def test_a_response_that_cannot_be_sent_fails_its_call_alone(
    polling: Rig, cancellable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata([("no text", object())])
        return request

    polling.add("spoil", spoil, Lane("spoil", cancellable=cancellable))
    polling.add("echo", echo)
    for _ in range(5):
        code, _text = polling.refused("spoil")
        assert code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED)
    assert polling.call("echo", b"on") == b"on"
    assert "can't be sent" in caplog.text


def test_a_client_that_streams_requests_is_refused(polling: Rig) -> None:
    polling.methods.methods["/test/stream"] = grpc.stream_unary_rpc_method_handler(
        lambda requests, context: b""
    )
    stream: Any = polling.channel.stream_unary("/test/stream")
    call = stream.future(iter([b"a", b"b"]), wait_for_ready=True)
    assert call.exception(PATIENCE_S).code() is grpc.StatusCode.UNIMPLEMENTED


def test_while_all_threads_are_held_another_takes_the_queue_over(polling: Rig) -> None:
    gates = {"reserved": Gate(), "one": Gate(), "two": Gate(), "three": Gate()}
    calls = []
    for name, gate in gates.items():
        polling.add(name, gate, Lane(name, limit=2, reserved=name == "reserved"))
        calls += [polling.start(name, b"held") for _ in range(1 if name == "reserved" else 2)]
    for name, gate in gates.items():
        for _ in range(1 if name == "reserved" else 2):
            gate.wait()
    polling.add("echo", echo)
    assert polling.call("echo", b"free") == b"free"
    for gate in gates.values():
        gate.opened.set()
    assert [call.result(PATIENCE_S) for call in calls] == [b"held"] * 7


def test_a_waiting_call_whose_client_leaves_ends_though_its_lane_is_stuck(polling: Rig) -> None:
    gate = Gate()
    lane = Lane("gate", limit=1)
    ended = threading.Semaphore(0)
    arrived = threading.Semaphore(0)

    def decode(data: bytes) -> Any:
        arrived.release()
        return Noticed(data)

    class Noticed(bytes):
        def __del__(self) -> None:
            ended.release()

    polling.add("gate", gate, lane, decode=decode)
    running = polling.start("gate", b"runs")
    gate.wait()
    rest = [polling.start("gate", b"waits") for _ in range(20)]
    for _ in range(21):
        assert arrived.acquire(timeout=PATIENCE_S)
    for call in rest:
        call.cancel()
    for _ in rest:
        assert ended.acquire(timeout=PATIENCE_S)
    assert not lane.waiting
    gate.opened.set()
    assert running.result(PATIENCE_S) == b"runs"


def test_a_call_that_waits_is_not_forgotten_when_the_others_turn_out_to_be_held(
    polling: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = [Gate() for _ in range(4)]
    arrived = threading.Semaphore(0)

    def decode(data: bytes) -> bytes:
        arrived.release()
        return data

    lane = Lane("grown", limit=1, grown_limit=3)
    polling.add("held", lambda data, context: gates[int(data)](data, context), lane, decode=decode)
    calls = []
    for number, gate in enumerate(gates[:3]):
        calls.append(polling.start("held", b"%d" % number))
        gate.wait()
    calls.append(polling.start("held", b"3"))
    for _ in gates:
        assert arrived.acquire(timeout=PATIENCE_S)
    polling.add("echo", echo)
    assert polling.call("echo") == b""  # the fourth call waits by now, or very soon
    monkeypatch.setattr("vmsdk.rpc.lane.HELD_AFTER_S", PATIENCE_S)  # all look as if just begun
    gates[0].opened.set()
    assert calls[0].result(PATIENCE_S) == b"0"
    assert polling.call("echo") == b""
    monkeypatch.undo()
    gates[3].wait()
    for gate in gates:
        gate.opened.set()
    assert [call.result(PATIENCE_S) for call in calls[1:]] == [b"1", b"2", b"3"]


def test_watchers_of_the_health_do_not_keep_others_from_checking_it(polling: Rig) -> None:
    request = health_pb2.HealthCheckRequest.SerializeToString
    response = health_pb2.HealthCheckResponse.FromString
    watch: Any = polling.channel.unary_stream("/grpc.health.v1.Health/Watch", request, response)
    check: Any = polling.channel.unary_unary("/grpc.health.v1.Health/Check", request, response)
    watchers = [watch(health_pb2.HealthCheckRequest()) for _ in range(pollserver.MAX_OTHER_CALLS)]
    for watcher in watchers:
        next(watcher)
    status = check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S).status
    assert status == health_pb2.HealthCheckResponse.SERVING
    for watcher in watchers:
        watcher.cancel()


def test_without_a_free_thread_a_call_is_served_later_and_reserved_lanes_at_once(
    polling: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = threading.Semaphore(0)

    def refuse(thread: threading.Thread) -> None:
        refusals.release()
        raise RuntimeError("can't start new thread")

    gate = Gate()
    polling.add("gate", gate, Lane("gate", limit=6))
    polling.add("echo", echo, Lane("echo", reserved=True))
    assert polling.call("echo") == b""
    real = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread, "start", lambda self: refuse(self) if self.name == "vmsdk-grpc" else real(self)
    )
    early = [polling.start("gate", b"early") for _ in range(pollserver.UNRESERVED_AT_START)]
    for _ in early:
        gate.wait()
    calls = [polling.start("gate", b"late") for _ in range(3)]
    for _ in range(5):  # it is tried again and again
        assert refusals.acquire(timeout=PATIENCE_S)
    assert polling.call("echo", b"now") == b"now"
    assert not gate.begun.acquire(blocking=False)
    monkeypatch.undo()
    for _ in calls:
        gate.wait()
    gate.opened.set()
    assert [call.result(PATIENCE_S) for call in early + calls] == [b"early"] * len(early) + [b"late"] * 3


def test_a_thread_that_cannot_go_on_ends_the_process() -> None:
    class Broken(grpc.GenericRpcHandler):
        def service(self, details: object) -> Any:
            raise SystemExit

    reasons: list[str] = []
    failed = threading.Event()

    def fail(reason: str) -> None:
        reasons.append(reason)
        failed.set()

    server = PollServer(on_failure=fail)
    rig = Rig(server)
    server.add_generic_rpc_handlers([Broken()])
    call = rig.start("any")
    assert failed.wait(PATIENCE_S)
    assert reasons == ["a thread that serves gRPC can't go on: SystemExit: "]
    call.cancel()
    rig.channel.close()
    server.stop(None)


def test_its_threads_end_with_it_started_or_not() -> None:
    others = set(threading.enumerate())
    started, unstarted = PollServer(reserved=2), PollServer(reserved=2)
    threads = set(threading.enumerate()) - others
    assert len(threads) == 2 * (3 + pollserver.UNRESERVED_AT_START)
    started.add_insecure_port("127.0.0.1:0")
    unstarted.add_insecure_port("127.0.0.1:0")
    started.start()
    for server in (started, unstarted):
        assert server.stop(None).wait(PATIENCE_S)
        assert server.stop(1).wait(PATIENCE_S)
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_a_port_that_is_taken_is_an_error_that_names_it() -> None:
    first = PollServer()
    port = first.add_insecure_port("127.0.0.1:0")
    second = PollServer()
    with pytest.raises(RuntimeError, match=f"127.0.0.1:{port}"):
        second.add_insecure_port(f"127.0.0.1:{port}")
    first.stop(None)
    second.stop(None)


# Which of the two ---------------------------------------------------------------------------------


def test_the_fast_server_serves_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(listener.SERVER_VARIABLE, raising=False)
    fast = listener.make_server()
    monkeypatch.setenv(listener.SERVER_VARIABLE, listener.PUBLIC)
    public = listener.make_server()
    assert isinstance(fast, PollServer)
    assert isinstance(public, PublicServer)
    fast.stop(None)
    public.stop(None)


def test_other_systems_than_linux_are_served_by_grpcios_own_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(listener.SERVER_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    with caplog.at_level(logging.INFO):
        server = listener.make_server()
    assert isinstance(server, PublicServer)
    assert "the faster one needs Linux" in caplog.text
    server.stop(None)
