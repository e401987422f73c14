"""Garbage in every method and phase of a chain's life gets a response, and the plugin survives."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from tests.process.plugin import lively
from tests.wire.rpc.conftest import Served
from tests.wire.rpc.plainvm import PlainVM
from vmsdk._pb._service import Method
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.host.client import VMClient
from vmsdk.host.node import Host

from .garbage import extreme, requests

PATIENCE_S = 60.0
# None of these statuses means that the plugin has failed.
RESPONSES = {
    grpc.StatusCode.OK,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,  # what grpcio sends for bytes that aren't a message
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.CANCELLED,
}
# These change the phase.
LIFE = ("Initialize", "Shutdown")
# This one blocks: the test calls it and cancels.
WAIT = "WaitForEvent"
# What may succeed while no chain runs.
OUTSIDE = {"Version", "Shutdown", "Gather"} | {name for name in VM.methods if "App" in name}


def call(client: VMClient, path: str, request: bytes) -> grpc.StatusCode:
    """Call a method and return the status. Fails if the plugin doesn't respond."""
    method: Any = client.channel.unary_unary(path)
    future = method.future(request, timeout=PATIENCE_S, wait_for_ready=True)
    if path.endswith(WAIT):
        future.cancel()
        return grpc.StatusCode.CANCELLED
    code: grpc.StatusCode = future.code()
    # grpcio's message for an uncaught exception.
    assert not future.details().startswith("Exception calling application"), future.details()
    return code


def throw(client: VMClient, seed: int, count: int, *, without: tuple[str, ...] = LIFE) -> Counter[str]:
    """Send garbage to every method, in random order; count how often each succeeds."""
    dice = random.Random(seed)
    calls: list[tuple[Method[Any, Any], bytes]] = [
        (method, request)
        for name, method in VM.methods.items()
        if name not in without
        for request in requests(method.request, dice, count)
    ]
    dice.shuffle(calls)
    succeeded: Counter[str] = Counter()
    for method, request in calls:
        code = call(client, method.path, request)
        assert code in RESPONSES, f"{method.path} returns {code} for {request[:100].hex()}"
        succeeded[method.path.rpartition("/")[2]] += code is grpc.StatusCode.OK
    assert call(client, "/vm.VM/NoSuchMethod", b"") is grpc.StatusCode.UNIMPLEMENTED
    assert call(client, "/vm.NoSuchService/Version", b"") is grpc.StatusCode.UNIMPLEMENTED
    assert client.check_health(timeout=PATIENCE_S) == 1
    return succeeded


def throw_life(client: VMClient, seed: int, count: int) -> None:
    """Send garbage to Initialize, which refuses all of it."""
    dice = random.Random(seed)
    for request in requests(VM.Initialize.request, dice, count):
        code = call(client, VM.Initialize.path, request)
        assert code in RESPONSES - {grpc.StatusCode.OK}


@pytest.mark.parametrize(("version", "seed"), [(35, 4), (41, 2), (46, 3)])
def test_garbage_gets_a_response_before_during_and_after_a_chains_life(version: int, seed: int) -> None:
    vm = PlainVM()
    with Served(vm, version) as served:
        throw_life(served.client, seed, 100)
        before = throw(served.client, seed, 5)
        assert set(+before) <= OUTSIDE
        served.run()
        throw_life(served.client, seed, 20)
        during = throw(served.client, seed, 40)
        # The garbage reached the methods themselves.
        assert {"GetBlock", "ParseBlock", "BatchedParseBlock", "SetPreference", "AppGossip"} <= set(+during)
        assert served.client.Health(Empty()).details
        served.client.Shutdown(Empty())
        after = throw(served.client, seed, 5, without=())
        assert set(+after) <= OUTSIDE
        # None of it counts as a fault of the author's code.
        assert served.session.faults.counts() == {}


def test_a_plugin_process_survives_garbage_in_every_phase() -> None:
    host = Host(lively(), handshake_timeout_s=PATIENCE_S, stop_timeout_s=PATIENCE_S)
    try:
        host.connect()
        throw_life(host.client, 4, 50)
        throw(host.client, 4, 2)
        host.chain.start()
        throw(host.client, 5, 30)
        assert host.chain.health() is not None
        host.client.Shutdown(Empty())
        throw(host.client, 6, 2, without=())
    finally:
        assert host.stop() == 0


@pytest.mark.parametrize("seed", range(3))
def test_an_initialize_with_one_extreme_field_is_refused_or_accepted_whole(seed: int) -> None:
    dice = random.Random(seed)
    vm = PlainVM()
    with Served(vm) as served:
        for _ in range(100):
            request = served.request()
            field = dice.choice(request.DESCRIPTOR.fields)
            odd = extreme(type(request), dice)
            request.ClearField(field.name)  # type: ignore[arg-type]
            request.MergeFrom(type(request)(**{field.name: getattr(odd, field.name)}))
            code = call(served.client, VM.Initialize.path, request.SerializeToString())
            accepted = code is grpc.StatusCode.OK
            assert accepted or code is grpc.StatusCode.UNKNOWN
            assert served.session.initialized is accepted
            if accepted:
                break
        assert served.client.check_health() == 1
        served.client.Shutdown(Empty())
