"""Garbage to every method in every phase of a chain's life: each call is answered, and the plugin lives on."""

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

PATIENCE_S = 20.0
# Answered by "this is not how it's done": none of them means that the plugin is ill.
ANSWERS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,  # grpcio's for what is no message
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.CANCELLED,
}
# They change the phase.
LIFE = ("Initialize", "Shutdown")
# It blocks, which is its purpose: asked and given up.
WAIT = "WaitForEvent"
# What may be well answered on a chain that does not run.
OUTSIDE = {"Version", "Shutdown", "Gather"} | {name for name in VM.methods if "App" in name}


def answer(client: VMClient, path: str, request: bytes) -> grpc.StatusCode:
    """The status with which the plugin answers. Fails when it doesn't."""
    method: Any = client.channel.unary_unary(path)
    call = method.future(request, timeout=PATIENCE_S, wait_for_ready=True)
    if path.endswith(WAIT):
        call.cancel()
        return grpc.StatusCode.CANCELLED
    code: grpc.StatusCode = call.code()
    # grpcio's own words for an exception that nobody has caught.
    assert not call.details().startswith("Exception calling application"), call.details()
    return code


def throw(client: VMClient, seed: int, count: int, *, without: tuple[str, ...] = LIFE) -> Counter[str]:
    """Garbage at every method, in random order; how often each was answered well."""
    dice = random.Random(seed)
    calls: list[tuple[Method[Any, Any], bytes]] = [
        (method, request)
        for name, method in VM.methods.items()
        if name not in without
        for request in requests(method.request, dice, count)
    ]
    dice.shuffle(calls)
    well: Counter[str] = Counter()
    for method, request in calls:
        code = answer(client, method.path, request)
        assert code in ANSWERS, f"{method.path} answers {code} to {request[:100].hex()}"
        well[method.path.rpartition("/")[2]] += code is grpc.StatusCode.OK
    assert answer(client, "/vm.VM/NoSuchMethod", b"") is grpc.StatusCode.UNIMPLEMENTED
    assert answer(client, "/vm.NoSuchService/Version", b"") is grpc.StatusCode.UNIMPLEMENTED
    assert client.check_health(timeout=PATIENCE_S) == 1
    return well


def throw_life(client: VMClient, seed: int, count: int) -> None:
    """Garbage at Initialize, which takes none of it."""
    dice = random.Random(seed)
    for request in requests(VM.Initialize.request, dice, count):
        code = answer(client, VM.Initialize.path, request)
        assert code in ANSWERS - {grpc.StatusCode.OK}


@pytest.mark.parametrize(("version", "seed"), [(35, 1), (41, 2), (46, 3)])
def test_garbage_is_answered_before_during_and_after_a_chains_life(version: int, seed: int) -> None:
    vm = PlainVM()
    with Served(vm, version) as served:
        throw_life(served.client, seed, 200)
        before = throw(served.client, seed, 10)
        assert set(+before) <= OUTSIDE
        served.run()
        throw_life(served.client, seed, 20)
        during = throw(served.client, seed, 80)
        # The garbage reached the methods themselves.
        assert {"GetBlock", "ParseBlock", "BatchedParseBlock", "SetPreference", "AppGossip"} <= set(+during)
        assert served.client.Health(Empty()).details
        served.client.Shutdown(Empty())
        after = throw(served.client, seed, 10, without=())
        assert set(+after) <= OUTSIDE
        # Nothing of this is a fault of the author's code.
        assert served.session.faults.counts() == {}


def test_a_plugin_process_survives_garbage_in_every_phase() -> None:
    host = Host(lively())
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
def test_an_initialize_with_one_extreme_field_is_refused_or_taken_and_nothing_between(seed: int) -> None:
    dice = random.Random(seed)
    vm = PlainVM()
    with Served(vm) as served:
        for _ in range(100):
            request = served.request()
            field = dice.choice(request.DESCRIPTOR.fields)
            odd = extreme(type(request), dice)
            request.ClearField(field.name)  # type: ignore[arg-type]
            request.MergeFrom(type(request)(**{field.name: getattr(odd, field.name)}))
            code = answer(served.client, VM.Initialize.path, request.SerializeToString())
            taken = code is grpc.StatusCode.OK
            assert taken or code is grpc.StatusCode.UNKNOWN
            assert served.session.initialized is taken
            if taken:
                break
        assert served.client.check_health() == 1
        served.client.Shutdown(Empty())
