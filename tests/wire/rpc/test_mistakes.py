"""What authors get wrong: each mistake is named, and none passes silently."""

from __future__ import annotations

import dataclasses
import logging
from datetime import datetime
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

import vmsdk
from tests.wire.rpc.conftest import Serve, Served, refused
from tests.wire.rpc.plainvm import TIME_RULE, ContextBlock, PlainBlock, PlainVM, encode
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.codec import Reader
from vmsdk.host.appsender import SentError, SentRequest
from vmsdk.rpc.blocks import CHECKED_PROPERTIES


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


@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_vm_that_is_a_frozen_dataclass_is_refused(serve: Serve, is_frozen: bool) -> None:
    begin = {"__init__": lambda self: self.__dict__.update(vars(PlainVM()))}
    made: Any = dataclasses.dataclass(frozen=is_frozen)(type("Made", (PlainVM,), begin))
    served = serve(made(), run=False)
    if is_frozen:
        text = refused(served.initialize)[1]
        assert text.startswith("TypeError: Made is a frozen dataclass")
        assert text.endswith("leave out `frozen=True`")
    else:
        served.initialize()


@dataclasses.dataclass(frozen=True)
class Settings:
    fee: int = 1


def test_a_vm_may_have_a_frozen_base(serve: Serve) -> None:
    vm: Any = type("Made", (PlainVM, Settings), {})()
    serve(vm, run=False).initialize()


# Blocks -------------------------------------------------------------------------------------------


def test_for_a_block_with_the_attribute_bytes_the_error_names_raw(serve: Serve) -> None:
    class Old(vmsdk.Block):
        id, parent_id, height, timestamp, bytes = vmsdk.ID.of(b""), vmsdk.ID.EMPTY, 1, 0, b""

        def verify(self) -> None: ...
        def accept(self) -> None: ...

    vm = PlainVM()
    vm.to_build.append(Old())  # type: ignore[arg-type]
    text = refused(lambda: build(serve(vm)))[1]
    assert text == "Old.raw is missing: it must be bytes, and is not called `bytes`"


def test_garbage_that_vmsdks_reader_refuses_is_not_the_vms_fault(
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


@pytest.mark.parametrize(
    ("attribute", "value", "text"),
    [
        ("id", "00" * 32, "Odd.id is '0000"),
        ("id", bytes(20), "Odd.id is 20 bytes: it must be 32 bytes, an ID"),
        ("id", None, "Odd.id is None: it must be 32 bytes, an ID"),
        (
            "parent_id",
            None,
            "Odd.parent_id is None: it must be 32 bytes, an ID (of a genesis block: vmsdk.ID.EMPTY)",
        ),
        ("height", "1", "Odd.height is '1': it must be a whole number from 0 to 2**64 - 1"),
        ("height", -1, "Odd.height is -1: it must be a whole number from 0 to 2**64 - 1"),
        ("raw", bytearray(b"x"), "Odd.raw is bytearray(b'x'): it must be bytes"),
        ("raw", None, "Odd.raw is None: it must be bytes"),
        ("timestamp", 1.5, f"Odd.timestamp is 1.5: it must {TIME_RULE}"),
        ("timestamp", "now", f"Odd.timestamp is 'now': it must {TIME_RULE}"),
        ("timestamp", None, f"Odd.timestamp is None: it must {TIME_RULE}"),
        (
            "timestamp",
            datetime(2026, 1, 1),
            f"Odd.timestamp is datetime.datetime(2026, 1, 1, 0, 0): it must {TIME_RULE}",
        ),
        (
            "timestamp",
            10**18,
            "Odd.timestamp: invalid timestamp: 1000000000000000000 s since 1970 lies outside",
        ),
    ],
)
@pytest.mark.parametrize("method", ["build_block", "parse_block", "get_block"])
def test_an_unusable_attribute_of_a_block_is_named(
    serve: Serve, method: str, attribute: str, value: Any, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(PlainBlock): ...

    vm = PlainVM()
    served = serve(vm)
    block = Odd(vm.genesis.id, 1)
    object.__setattr__(block, "__dict__", {**vars(block), "id": block.id, "raw": block.raw, attribute: value})
    setattr(vm, method, lambda *_: block)
    asked = vmsdk.ID.of(encode(vm.genesis.id, 1))
    calls: dict[str, Any] = {
        "build_block": lambda: build(served),
        "parse_block": lambda: parse(served, b"x"),
        "get_block": lambda: served.client.GetBlock(pb.GetBlockRequest(id=asked)),
    }
    assert text in refused(calls[method])[1]
    if value != 10**18:  # a peer may have sent that
        assert text in caplog.text


@pytest.mark.parametrize(
    ("method", "returned", "rule"),
    [
        ("build_block", None, "return a vmsdk.Block, or raise NothingToBuild"),
        ("build_block", b"block", "return a vmsdk.Block, or raise NothingToBuild"),
        ("parse_block", (1, 2), "return a vmsdk.Block, or raise InvalidBlock"),
        ("get_block", None, "return a vmsdk.Block, or raise NotFound"),
        ("get_block_id_at_height", "2Z", "return an ID of 32 bytes, or raise NotFound"),
        ("get_block_id_at_height", None, "return an ID of 32 bytes, or raise NotFound"),
        ("create_handlers", None, "return a mapping of paths to apps"),
        ("health_check", {1, 2}, "return a JSON value (Object of type set is not JSON serializable)"),
        ("health_check", float("nan"), "return a JSON value ("),
        ("health_check", False, "raise an exception if the chain is unhealthy"),
    ],
)
def test_a_result_of_another_type_is_named(serve: Serve, method: str, returned: Any, rule: str) -> None:
    vm = PlainVM(**{method: lambda *_: returned})
    served = serve(vm) if method != "get_block" else serve(vm, run=False)
    if method == "get_block":
        text = refused(served.initialize)[1]
    else:
        client = served.client
        calls: dict[str, Any] = {
            "build_block": lambda: build(served),
            "parse_block": lambda: parse(served, b"x"),
            "get_block_id_at_height": lambda: client.GetBlockIDAtHeight(pb.GetBlockIDAtHeightRequest()),
            "create_handlers": lambda: client.CreateHandlers(Empty()),
            "health_check": lambda: client.Health(Empty()),
        }
        text = refused(calls[method])[1]
    assert text.startswith(f"{method} returned ")
    assert rule in text


def test_another_block_than_the_one_asked_for_is_refused(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    asked = vm.child().id
    vm.get_block = lambda block_id: vm.genesis  # type: ignore[method-assign]
    text = refused(lambda: served.client.GetBlock(pb.GetBlockRequest(id=asked)))[1]
    assert text == f"get_block returned a block whose ID is {vm.genesis.id}: it must be {asked}"


@pytest.mark.parametrize("error", [KeyError("b"), IndexError("list index out of range")])
def test_a_lookup_error_names_not_found(serve: Serve, error: Exception) -> None:
    def missing(*_: object) -> Any:
        raise error

    vm = PlainVM()
    served = serve(vm)
    vars(vm).update(get_block=missing, get_block_id_at_height=missing)
    kind = type(error).__name__
    for name, call in (
        ("get_block", lambda: served.client.GetBlock(pb.GetBlockRequest(id=bytes(32)))),
        (
            "get_block_id_at_height",
            lambda: served.client.GetBlockIDAtHeight(pb.GetBlockIDAtHeightRequest(height=9)),
        ),
    ):
        text = refused(call)[1]
        assert text == f"{name} raised {kind}: {error}. If nothing is found, raise vmsdk.NotFound"


def test_a_last_accepted_block_that_is_not_stored_is_named(serve: Serve) -> None:
    vm = PlainVM()
    vm.accepted.clear()
    text = refused(serve(vm, run=False).initialize)[1]
    assert text.startswith(f"get_block does not find {vm.genesis.id}, which last_accepted returns")
    assert "in the same batch" in text


@pytest.mark.parametrize("height", [0, 2])
def test_a_block_at_the_wrong_height_is_not_built(serve: Serve, height: int) -> None:
    vm = PlainVM()
    served = serve(vm)
    vm.to_build.append(vm.make(vm.genesis.id, height))
    assert refused(lambda: build(served))[1] == (
        f"build_block returned a block of height {height} on {vm.genesis.id}, whose height is 0: "
        "it must be one higher"
    )


def test_a_vm_that_builds_on_its_last_accepted_block_is_warned_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    vm = PlainVM()
    served = serve(vm)
    preferred = vm.child(b"preferred")
    verify(served, preferred.raw)
    served.client.SetPreference(pb.SetPreferenceRequest(id=preferred.id))
    for body in (b"a", b"b"):
        vm.to_build.append(vm.child(body))
        assert build(served).height == 1
    assert (
        caplog.text.count(
            f"build_block returned a block on {vm.genesis.id}, but the preferred block is {preferred.id}: "
            "build on ctx.preferred"
        )
        == 1
    )


class Restless(PlainBlock):
    """Its bytes change with its time, and its ID with its bytes."""

    @property
    def raw(self) -> bytes:
        return encode(self.parent_id, self.height, str(self.timestamp).encode())

    @property
    def id(self) -> vmsdk.ID:
        return vmsdk.ID.of(self.raw)


@pytest.mark.parametrize("step", ["verify", "accept", "reject"])
def test_a_block_that_changes_is_refused(serve: Serve, step: str) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = Restless(vm.genesis.id, 1)
    vm.to_build.append(block)
    built = build(served)
    old = vmsdk.ID(built.id)

    def change() -> None:
        block.timestamp = 7

    if step == "verify":
        vars(block)["verify"] = change
        text = refused(lambda: verify(served, built.bytes))[1]
    else:
        verify(served, built.bytes)
        change()
        name = step.capitalize()
        request = getattr(pb, f"Block{name}Request")(id=old)
        text = refused(lambda: getattr(served.client, f"Block{name}")(request))[1]
    assert text.startswith(f"Restless.id was {old} and is {block.id} now: a block's ID must not change")
    assert block.fate in ([], ["verified"])


def test_a_block_whose_id_is_made_up_each_time_is_not_built(serve: Serve) -> None:
    ids = (vmsdk.ID.of(bytes([number])) for number in range(256))

    class Random(PlainBlock):
        @property
        def id(self) -> vmsdk.ID:
            return next(ids)

    vm = PlainVM()
    served = serve(vm)
    vm.to_build.append(Random(vm.genesis.id, 1))
    assert "Random.id was " in refused(lambda: build(served))[1]


def accept_one(served: Served) -> None:
    block = served.vm.child()  # type: ignore[attr-defined]
    verify(served, block.raw)
    served.client.BlockAccept(pb.BlockAcceptRequest(id=block.id))


@pytest.mark.parametrize(
    ("forgotten", "text"),
    [
        ("last", "last_accepted() gives {genesis}"),
        ("blocks", "get_block({block}).raw gives an exception, NotFound: no block {block}"),
        ("heights", "get_block_id_at_height(1) gives an exception, NotFound: no block at height 1"),
    ],
)
def test_what_accept_does_not_store_is_named_once(
    serve: Serve, caplog: pytest.LogCaptureFixture, forgotten: str, text: str
) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child()
    if forgotten == "last":
        vm.last_accepted = lambda: vm.genesis.id  # type: ignore[method-assign]
    elif forgotten == "blocks":
        vm.get_block = lambda block_id: vm.accepted.get(vmsdk.ID.EMPTY) or missing(block_id)  # type: ignore[method-assign]
    else:
        vm.get_block_id_at_height = missing_at  # type: ignore[method-assign]
    for _ in range(2):
        accept_one(served)
    reports = [record.getMessage() for record in caplog.records if "is accepted, but" in record.getMessage()]
    assert len(reports) == 1
    assert f"block {block.id} at height 1 is accepted, but " in reports[0]
    assert text.format(genesis=vm.genesis.id, block=block.id) in reports[0]


def missing(block_id: vmsdk.ID) -> Any:
    raise vmsdk.NotFound(f"no block {block_id}")


def missing_at(height: int) -> Any:
    raise vmsdk.NotFound(f"no block at height {height}")


def test_bytes_that_can_not_be_read_after_accept_do_not_fail_it(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Emptied(PlainBlock):
        @property
        def raw(self) -> bytes:
            if "accepted" in self.fate:
                raise ValueError("dropped")
            return encode(self.parent_id, self.height)

    vm = PlainVM()
    block = Emptied(vm.genesis.id, 1)
    vm.made[block.id] = block
    served = serve(vm)
    verify(served, block.raw)
    served.client.BlockAccept(pb.BlockAcceptRequest(id=block.id))
    assert f"block {block.id} is accepted, but its height or its bytes can no longer be read" in caplog.text


def test_a_property_is_not_read_again_and_again_to_check_it(serve: Serve) -> None:
    reads: list[str] = []

    class Computed(PlainBlock):
        @property
        def raw(self) -> bytes:
            reads.append("raw")
            return encode(self.parent_id, self.height, self.body)

        @property
        def id(self) -> vmsdk.ID:
            reads.append("id")
            return vmsdk.ID.of(encode(self.parent_id, self.height, self.body))

    vm = PlainVM(parse_block=lambda data: Computed(vm.genesis.id, 1, data))
    served = serve(vm)
    for number in range(CHECKED_PROPERTIES):
        parse(served, b"%d" % number)
    reads.clear()
    parse(served, b"x")
    verify(served, b"x")
    served.client.BlockAccept(pb.BlockAcceptRequest(id=vmsdk.ID.of(encode(vm.genesis.id, 1, b"x"))))
    assert reads.count("id") == 1


def test_nothing_is_said_of_a_vm_that_stores_its_blocks(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    accept_one(serve(PlainVM()))
    assert "is accepted, but" not in caplog.text


# Optional interfaces ------------------------------------------------------------------------------


class ManyVM(PlainVM, vmsdk.BatchedParseBlock, vmsdk.GetAncestors, vmsdk.StateSyncableVM):
    """Returns what a test says."""

    def batched_parse_block(self, data: Any) -> Any: ...
    def get_ancestors(self, block_id: Any, max_blocks: Any, max_size: Any, max_seconds: Any) -> Any: ...
    def state_sync_enabled(self) -> Any: ...
    def get_ongoing_sync_state_summary(self) -> Any: ...
    def get_last_state_summary(self) -> Any: ...
    def parse_state_summary(self, data: bytes) -> Any: ...
    def get_state_summary(self, height: int) -> Any: ...


class Summary(vmsdk.StateSummary):
    id, height, raw = vmsdk.ID.of(b"summary"), 7, b"summary"

    def __init__(self, result: object) -> None:
        self.result = result

    def accept(self) -> Any:
        return self.result


MANY_CALLS: dict[str, Any] = {
    "batched_parse_block": lambda client: client.BatchedParseBlock(
        pb.BatchedParseBlockRequest(request=[b"x"])
    ),
    "get_ancestors": lambda client: client.GetAncestors(pb.GetAncestorsRequest(blk_id=bytes(32))),
    "state_sync_enabled": lambda client: client.StateSyncEnabled(Empty()),
    "get_ongoing_sync_state_summary": lambda client: client.GetOngoingSyncStateSummary(Empty()),
    "get_last_state_summary": lambda client: client.GetLastStateSummary(Empty()),
    "parse_state_summary": lambda client: client.ParseStateSummary(pb.ParseStateSummaryRequest()),
    "get_state_summary": lambda client: client.GetStateSummary(pb.GetStateSummaryRequest(height=3)),
}


@pytest.mark.parametrize(
    ("method", "returned", "rule"),
    [
        ("batched_parse_block", None, "return a list of blocks"),
        ("batched_parse_block", [b"x"], "return a vmsdk.Block, or raise InvalidBlock"),
        ("get_ancestors", None, "return a list of the blocks' bytes"),
        ("get_ancestors", [PlainBlock(vmsdk.ID.EMPTY, 0)], "return a list of the blocks' bytes"),
        ("get_ancestors", b"one", "return a list of the blocks' bytes"),
        ("state_sync_enabled", None, "return True or False"),
        ("get_ongoing_sync_state_summary", None, "return a vmsdk.StateSummary, or raise NotFound"),
        ("get_last_state_summary", b"", "return a vmsdk.StateSummary, or raise NotFound"),
        ("parse_state_summary", None, "return a vmsdk.StateSummary, or raise InvalidBlock"),
        ("get_state_summary", Summary(None), "be 3, or raise NotFound"),
    ],
)
def test_a_result_of_an_optional_interface_is_named(
    serve: Serve, method: str, returned: Any, rule: str
) -> None:
    served = serve(ManyVM(**{method: lambda *_: returned}))
    text = refused(lambda: MANY_CALLS[method](served.client))[1]
    assert method in text
    assert text.endswith(f"it must {rule}")


def test_blocks_of_a_batch_in_another_order_are_refused(serve: Serve) -> None:
    vm = ManyVM()
    blocks = [vm.child(body) for body in (b"a", b"b")]
    vm.batched_parse_block = lambda data: blocks[::-1]  # type: ignore[method-assign]
    request = pb.BatchedParseBlockRequest(request=[block.raw for block in blocks])
    text = refused(lambda: serve(vm).client.BatchedParseBlock(request))[1]
    assert text.startswith("batched_parse_block returned block ")
    assert text.endswith("for another block's bytes: keep the order")


@pytest.mark.parametrize("result", [None, True, "STATIC", 3.0, 4])
def test_a_summary_must_say_how_the_vm_syncs(serve: Serve, result: object) -> None:
    served = serve(ManyVM(parse_state_summary=lambda data: Summary(result)))
    text = refused(lambda: served.client.StateSummaryAccept(pb.StateSummaryAcceptRequest()))[1]
    assert text == f"Summary.accept returned {result!r}: it must return a vmsdk.StateSyncMode"


def test_the_number_of_a_mode_is_as_good_as_the_mode(serve: Serve) -> None:
    served = serve(ManyVM(parse_state_summary=lambda data: Summary(2)))
    response = served.client.StateSummaryAccept(pb.StateSummaryAcceptRequest())
    assert response.mode == pb.StateSummaryAcceptResponse.MODE_STATIC


def test_a_sync_for_which_the_node_waits_is_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    served = serve(ManyVM(parse_state_summary=lambda data: Summary(vmsdk.StateSyncMode.STATIC)))
    served.client.StateSummaryAccept(pb.StateSummaryAcceptRequest())
    assert "state sync to height 7: STATIC, until ctx.state_sync_finished()" in caplog.text


def test_a_block_with_a_method_that_is_never_called_is_refused(serve: Serve) -> None:
    class Stray(PlainBlock):
        def verify_with_context(self, p_chain_height: int) -> None: ...

    served = serve(PlainVM(parse_block=lambda data: Stray(vmsdk.ID.EMPTY, 1)))
    text = refused(lambda: parse(served, b"x"))[1]
    assert "Stray.verify_with_context is never called" in text


def test_whether_to_verify_with_context_is_not_a_function(serve: Serve) -> None:
    class Asking(ContextBlock):
        @property
        def should_verify_with_context(self) -> Any:  # type: ignore[override]
            return lambda: True

    served = serve(PlainVM(parse_block=lambda data: Asking(vmsdk.ID.EMPTY, 1)))
    text = refused(lambda: parse(served, b"x"))[1]
    assert text.startswith("Asking.should_verify_with_context returned <function")
    assert text.endswith("it must return True or False")


# Peers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("response", ["text", 7, True, bytearray(b"x"), [b"x"]])
def test_a_response_to_a_peer_that_is_not_bytes_is_named(
    serve: Serve, response: Any, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve(PlainVM(app_request=lambda *_: response))
    served.client.AppRequest(pb.AppRequestMsg(node_id=bytes(20), request_id=1))
    assert f"app_request returned {response!r}: it must return bytes, or None to respond later" in caplog.text
    assert served.services.app_sender.wait_for(SentError).code == -1


# Work ---------------------------------------------------------------------------------------------


def generator() -> Any:
    yield True


@pytest.mark.parametrize("value", [None, PlainVM.has_pending_work, generator()])
def test_work_that_is_neither_there_nor_not_is_named(
    serve: Serve, caplog: pytest.LogCaptureFixture, value: object
) -> None:
    served = serve(PlainVM(has_pending_work=lambda: value))
    refused(lambda: build(served))
    assert f"has_pending_work returned {value!r}".partition(" at 0x")[0] in caplog.text
    assert "it must return True or False" in caplog.text


@pytest.mark.parametrize("value", ["BUILD_BLOCK", 7, False])
def test_an_event_that_is_not_one_is_named(serve: Serve, value: object) -> None:
    class Eventful(PlainVM):
        def wait_for_event(self, cancelled: Any) -> Any:
            return value

    served = serve(Eventful())
    text = refused(lambda: served.client.WaitForEvent(Empty()))[1]
    assert text == f"wait_for_event returned {value!r}: it must return a vmsdk.Event, or None"


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
