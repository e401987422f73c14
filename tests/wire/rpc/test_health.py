"""Health, liveness and the end of a chain over the wire."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.wire.failing import fail_next
from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk._pb.vm import vm_pb2 as pb

from .conftest import Serve, refused
from .plainvm import PlainVM


def test_edge_64_health_is_json_of_the_database_and_the_vm(serve: Serve) -> None:
    served = serve(PlainVM(health_check=lambda: {"peers": 3, "note": "<é&>"}))
    details = served.client.Health(Empty()).details
    assert json.loads(details) == {"database": None, "health": {"peers": 3, "note": "<é&>"}}
    # As Go escapes it, harmless in a page.
    assert not set(b"<>&") & set(details)


def test_edge_64_an_unhealthy_vm_is_an_error(serve: Serve) -> None:
    def unhealthy() -> None:
        raise RuntimeError("no peers")

    assert refused(lambda: serve(PlainVM(health_check=unhealthy)).client.Health(Empty())) == (
        grpc.StatusCode.UNKNOWN,
        "RuntimeError: no peers",
    )


@pytest.mark.parametrize("details", [float("nan"), object(), {1: object()}])
def test_health_that_is_not_json_is_an_error(serve: Serve, details: Any) -> None:
    assert refused(lambda: serve(PlainVM(health_check=lambda: details)).client.Health(Empty()))[1]


def test_a_failing_database_is_an_error(serve: Serve) -> None:
    served = serve(PlainVM())
    fail_next(served.services.database, "HealthCheck", "the disk is full")
    assert refused(lambda: served.client.Health(Empty()))[1] == "the disk is full"


def test_edge_16_the_health_service_serves_the_whole_and_knows_nothing_else(serve: Serve) -> None:
    served = serve(PlainVM(), run=False)
    stub: Any = health_pb2_grpc.HealthStub(served.client.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=60)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    code, _ = refused(lambda: stub.Check(health_pb2.HealthCheckRequest(service="vm.VM"), timeout=60))
    assert code is grpc.StatusCode.NOT_FOUND


def test_the_health_service_can_be_watched(serve: Serve) -> None:
    served = serve(PlainVM(), run=False)
    stub: Any = health_pb2_grpc.HealthStub(served.client.channel)
    for service, status in (
        ("", health_pb2.HealthCheckResponse.SERVING),
        ("vm.VM", health_pb2.HealthCheckResponse.SERVICE_UNKNOWN),
    ):
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=60)
        assert next(watch).status == status
        watch.cancel()


def test_edge_13_version_and_shutdown_answer_without_initialize(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm, run=False)
    assert served.client.Version(Empty()).version == "0.0.1-plain"
    served.client.Shutdown(Empty())
    assert served.shutdowns == ["begun"]
    assert vm.asked == []


def test_edge_28_a_second_shutdown_answers_and_shuts_down_once(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    for _ in range(2):
        served.client.Shutdown(Empty())
    assert vm.asked.count("shutdown") == 1


def test_a_request_that_waits_for_the_lock_ends_with_the_chain(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("REQUEST_GRACE_S", "CLOSE_TIMEOUT_S"):
        monkeypatch.setattr(f"vmsdk.rpc.http.servers.{limit}", 60.0)
    begun, ended = threading.Event(), threading.Event()

    class Waiting(PlainVM):
        def create_handlers(self) -> dict[str, Any]:
            return {"": self.app}

        def app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            begun.set()
            with self.ctx.lock:
                ended.set()
            start_response("200 OK", [])
            return [b"here"]

        def shutdown(self) -> None:
            assert begun.wait(60)

    served = serve(Waiting())
    address = served.client.CreateHandlers(Empty()).handlers[0].server_addr
    seen: list[bool] = []
    disconnect = served.session.disconnect

    def watched() -> None:
        disconnect()
        seen.append(ended.is_set())

    served.session.disconnect = watched  # type: ignore[method-assign]
    shutdown = served.client.Shutdown.start(Empty())
    with grpc.insecure_channel(address) as channel:
        call: Any = HTTP.HandleSimple.on(channel)
        request = call.future(http_pb2.HandleSimpleHTTPRequest(method="GET", url="/"), timeout=60)
        shutdown.result(60)
        request.exception(60)
    assert seen == [True]


def test_handlers_that_are_not_a_mapping_are_named(serve: Serve) -> None:
    served = serve(PlainVM(create_handlers=lambda: None))
    text = refused(lambda: served.client.CreateHandlers(Empty()))[1]
    assert text == "create_handlers returned None: it must return a mapping of paths to apps"


def test_shutdown_answers_after_an_initialize_that_failed(serve: Serve) -> None:
    def initialize(*_: object) -> None:
        raise RuntimeError("no")

    served = serve(PlainVM(initialize=initialize), run=False)
    assert refused(served.initialize)[1] == "RuntimeError: no"
    served.client.Shutdown(Empty())


def test_a_fault_of_shutdown_reaches_the_node_and_everything_has_ended(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)

    def fail() -> None:
        raise RuntimeError("half written")

    vm.shutdown = fail  # type: ignore[method-assign]
    assert refused(lambda: served.client.Shutdown(Empty()))[1] == "RuntimeError: half written"
    served.client.Shutdown(Empty())


def test_engine_calls_after_shutdown_say_so(serve: Serve) -> None:
    served = serve(PlainVM())
    served.client.Shutdown(Empty())
    text = refused(lambda: served.client.ParseBlock(pb.ParseBlockRequest(bytes=b"x")))[1]
    assert text == "the chain is shut down"


def test_the_database_still_works_inside_shutdown(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    vm.shutdown = lambda: vm.ctx.db.put(b"last", b"words")  # type: ignore[method-assign]
    served.client.Shutdown(Empty())
    assert served.services.database.calls["Put"] == 1
