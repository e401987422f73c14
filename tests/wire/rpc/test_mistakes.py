"""What authors get wrong: each mistake is named, and none passes silently."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

import vmsdk
from tests.wire.rpc.conftest import Serve, Served, refused
from tests.wire.rpc.plainvm import ContextBlock, PlainBlock, PlainVM, encode
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.codec import Reader
from vmsdk.host.appsender import SentRequest


def parse(served: Served, data: bytes) -> pb.ParseBlockResponse:
    return served.client.ParseBlock(pb.ParseBlockRequest(bytes=data))


def verify(served: Served, data: bytes, **context: int) -> None:
    served.client.BlockVerify(pb.BlockVerifyRequest(bytes=data, **context))


def build(served: Served) -> pb.BuildBlockResponse:
    return served.client.BuildBlock(pb.BuildBlockRequest())


# Results of methods that have none ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("verify", lambda served, block: verify(served, block.raw)),
        ("accept", lambda served, block: served.client.BlockAccept(pb.BlockAcceptRequest(id=block.id))),
        ("reject", lambda served, block: served.client.BlockReject(pb.BlockRejectRequest(id=block.id))),
    ],
)
def test_a_block_method_that_returns_something_is_an_error(serve: Serve, method: str, call: Any) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child()
    if method != "verify":
        verify(served, block.raw)
    vars(block)[method] = lambda: False
    text = refused(lambda: call(served, block))[1]
    assert (
        text == f"PlainBlock.{method} returned False: it must return None, and raise an exception to refuse"
    )


def test_a_block_whose_verify_returned_false_is_not_verified(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child()
    vars(block)["verify"] = lambda: False
    refused(lambda: verify(served, block.raw))
    assert served.session.blocks.processing == ()


def test_verify_with_context_must_return_nothing_too(serve: Serve) -> None:
    class Truthful(ContextBlock):
        def verify_with_context(self, p_chain_height: int) -> None:
            return True  # type: ignore[return-value]

    vm = PlainVM()
    served = serve(vm)
    block = Truthful(vm.genesis.id, 1)
    vm.made[block.id] = block
    text = refused(lambda: verify(served, block.raw, p_chain_height=3))[1]
    assert text.startswith("Truthful.verify_with_context returned True")


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("initialize", lambda served: served.initialize()),
        ("set_state", lambda served: [served.initialize(), served.set_state(2)]),
        ("shutdown", lambda served: [served.initialize(), served.client.Shutdown(Empty())]),
        (
            "set_preference",
            lambda served: [
                served.initialize(),
                served.client.SetPreference(pb.SetPreferenceRequest(id=served.vm.genesis.id)),
            ],
        ),
    ],
)
def test_a_vm_method_that_returns_something_is_an_error(serve: Serve, method: str, call: Any) -> None:
    served = serve(PlainVM(**{method: lambda *_: 1}), run=False)
    assert refused(lambda: call(served))[1].startswith(f"{method} returned 1: it must return None")


# Blocks -------------------------------------------------------------------------------------------


def test_a_block_that_calls_its_bytes_bytes_is_told_the_name(serve: Serve) -> None:
    class Old(vmsdk.Block):
        id, parent_id, height, timestamp, bytes = vmsdk.ID.of(b""), vmsdk.ID.EMPTY, 1, 0, b""

        def verify(self) -> None: ...
        def accept(self) -> None: ...

    vm = PlainVM()
    vm.to_build.append(Old())  # type: ignore[arg-type]
    text = refused(lambda: build(serve(vm)))[1]
    assert text == "Old.raw is missing: it must be bytes, and is not called `bytes`"


def test_garbage_that_vmsdks_reader_refuses_is_no_fault_of_the_vm(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def read(data: bytes) -> PlainBlock:
        Reader(data, "block").version(0)
        raise AssertionError("it has no version")

    served = serve(PlainVM(parse_block=read))
    assert refused(lambda: parse(served, b"x"))[1]
    batch = pb.BatchedParseBlockRequest(request=[b"x"])
    assert refused(lambda: served.client.BatchedParseBlock(batch))[1]
    assert refused(lambda: verify(served, b"x"))[1]
    assert served.session.faults.counts() == {}
    assert {record.levelno for record in caplog.records if record.exc_info} == set()


def test_invalid_input_inside_verify_refuses_the_block(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child()
    vars(block)["verify"] = lambda: vmsdk.ID(b"short") and None
    assert "invalid hash length" in refused(lambda: verify(served, block.raw))[1]
    assert served.session.faults.counts() == {}


def test_a_rejected_block_that_comes_in_other_bytes_is_a_fresh_object(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    data = encode(vm.genesis.id, 1, b"body")
    objects: list[PlainBlock] = []

    def lenient(data: bytes) -> PlainBlock:
        objects.append(PlainBlock(vm.genesis.id, 1, b"body"))
        return objects[-1]

    vm.parse_block = lenient  # type: ignore[method-assign]
    for variant in (data, data + b"\0"):
        parse(served, variant)
    verify(served, data)
    served.client.BlockReject(pb.BlockRejectRequest(id=objects[0].id))
    made = len(objects)
    verify(served, data + b"\0")
    assert len(objects) == made + 1
    assert objects[-1].fate == ["verified"]


def test_an_object_whose_verify_failed_is_not_verified_again(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    objects: list[PlainBlock] = []

    def fresh(data: bytes) -> PlainBlock:
        objects.append(
            PlainBlock(vm.genesis.id, 1, b"late", vm=vm, invalid="too early" if not objects else "")
        )
        return objects[-1]

    vm.parse_block = fresh  # type: ignore[method-assign]
    data = encode(vm.genesis.id, 1, b"late")
    parse(served, data)
    assert refused(lambda: verify(served, data))[1] == "too early"
    verify(served, data)
    assert [block.fate for block in objects] == [["verified"], ["verified"]]


# Work ---------------------------------------------------------------------------------------------


def test_a_vm_that_has_work_and_builds_nothing_is_reported_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    vm = PlainVM(has_pending_work=lambda: True)
    served = serve(vm)
    for _ in range(3):
        assert refused(lambda: build(served))[1] == "nothing to build"
    reports = [record.getMessage() for record in caplog.records if "NothingToBuild" in record.getMessage()]
    tip = f"on block {vm.genesis.id} at height 0"
    assert reports == [f"has_pending_work returns True but build_block raises NothingToBuild, {tip}"]


def test_a_vm_that_has_no_work_and_builds_nothing_is_not_reported(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    refused(lambda: build(serve(PlainVM())))
    assert "NothingToBuild" not in caplog.text


def test_a_vm_that_refuses_what_it_built_is_reported_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    vm = PlainVM()
    served = serve(vm)
    for number in range(3):
        block = vm.child(bytes([number]), invalid="against its own rules")
        vm.to_build.append(block)
        built = build(served)
        assert refused(lambda: verify(served, built.bytes))[1] == "against its own rules"  # noqa: B023
    reports = [record.getMessage() for record in caplog.records if "its own verify" in record.getMessage()]
    assert len(reports) == 1
    assert "at height 1, which its own verify refuses: against its own rules" in reports[0]
    assert str(vm.genesis.id) not in reports[0]


def test_a_peers_invalid_block_is_not_reported(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child(invalid="against the rules")
    refused(lambda: verify(served, block.raw))
    assert "its own verify" not in caplog.text


# Fatal --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["build_block", "has_pending_work", "parse_block"])
def test_fatal_stops_the_chain_wherever_it_is_raised(serve: Serve, method: str) -> None:
    def fatal(*_: object) -> Any:
        raise vmsdk.Fatal("the disk is full")

    vm = PlainVM()
    served = serve(vm)
    setattr(vm, method, fatal)
    if method == "build_block":
        assert refused(lambda: build(served))[1] == "the disk is full"
    elif method == "parse_block":
        assert refused(lambda: parse(served, b"x"))[1] == "the disk is full"
    else:
        waiting = served.client.WaitForEvent.start(Empty())  # noqa: F841 - without a reference it is cancelled
    # A node ignores the error of these calls, but not of a message: so the VM sends one to its own
    # node.
    sent = served.services.app_sender.wait_for(SentRequest)
    assert sent.parties == (vm.ctx.node_id,)
    message = pb.AppRequestMsg(node_id=vm.ctx.node_id, request_id=sent.request_id)
    assert refused(lambda: served.client.AppRequest(message))[1] == "the disk is full"
    # Until the node has stopped the chain, nothing of it changes.
    block = encode(vm.genesis.id, 1, b"")
    assert refused(lambda: verify(served, block))[1] == "the disk is full"
