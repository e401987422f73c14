"""Blocks over the wire: built, parsed, found, verified, decided."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import grpc
import pytest

import vmsdk
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.errors import InvalidWarpMessage
from vmsdk.state import State

from .conftest import Serve, Served, refused
from .plainvm import TIME_RULE, ContextBlock, PlainBlock, PlainVM, encode

UNKNOWN_ID = vmsdk.ID(b"\xaa" * 32)
MIB = 1024 * 1024


def parse(served: Served, data: bytes) -> pb.ParseBlockResponse:
    return served.client.ParseBlock(pb.ParseBlockRequest(bytes=data))


def verify(served: Served, block: PlainBlock, **context: int) -> pb.BlockVerifyResponse:
    return served.client.BlockVerify(pb.BlockVerifyRequest(bytes=block.raw, **context))


def accept(served: Served, block_id: bytes) -> None:
    served.client.BlockAccept(pb.BlockAcceptRequest(id=block_id))


def get(served: Served, block_id: bytes) -> pb.GetBlockResponse:
    return served.client.GetBlock(pb.GetBlockRequest(id=block_id))


# Finding ------------------------------------------------------------------------------------------


def test_edge_31_an_unknown_block_is_an_ok_answer_with_the_number_for_not_found(serve: Serve) -> None:
    answer = get(serve(PlainVM()), UNKNOWN_ID)
    assert answer == pb.GetBlockResponse(err=pb.ERROR_NOT_FOUND)


def test_a_not_found_from_deep_inside_the_vm_is_the_number_too(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    vm.get_block = lambda block_id: vm.ctx.db[block_id]  # type: ignore[method-assign, assignment, return-value]
    assert get(served, UNKNOWN_ID).err == pb.ERROR_NOT_FOUND


@pytest.mark.parametrize("length", [0, 20, 33])
def test_edge_32_an_id_of_another_length_is_an_error(serve: Serve, length: int) -> None:
    code, text = refused(lambda: get(serve(PlainVM()), bytes(length)))
    assert (code, text) == (
        grpc.StatusCode.UNKNOWN,
        f"invalid hash length: expected 32 bytes but got {length}",
    )


def test_edge_33_a_wrapped_not_found_is_an_error_as_for_a_go_vm(serve: Serve) -> None:
    def get_block(block_id: vmsdk.ID) -> PlainBlock:
        try:
            raise vmsdk.NotFound
        except vmsdk.NotFound as error:
            raise RuntimeError("the index is broken") from error

    vm = PlainVM()
    served = serve(vm)
    vm.get_block = get_block  # type: ignore[method-assign]
    assert refused(lambda: get(served, UNKNOWN_ID)) == (
        grpc.StatusCode.UNKNOWN,
        "RuntimeError: the index is broken",
    )


def test_edge_34_a_verified_block_is_found_without_asking_the_author(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child(b"one")
    verify(served, block)
    vm.asked.clear()
    answer = get(served, block.id)
    assert (answer.parent_id, answer.bytes, answer.height) == (vm.genesis.id, block.raw, 1)
    assert answer.HasField("timestamp")
    assert "get_block" not in vm.asked


def test_the_author_finds_verified_blocks_by_the_context(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child(b"one")
    with pytest.raises(vmsdk.NotFound):
        vm.ctx.get_block(block.id)
    verify(served, block)
    assert vm.ctx.get_block(block.id) is block
    assert vm.ctx.get_block(vm.genesis.id) is vm.genesis


def test_edge_46_heights_have_the_accepted_block_or_the_number_for_not_found(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    assert served.client.GetBlockIDAtHeight(pb.GetBlockIDAtHeightRequest(height=0)).blk_id == vm.genesis.id
    answer = served.client.GetBlockIDAtHeight(pb.GetBlockIDAtHeightRequest(height=1))
    assert answer == pb.GetBlockIDAtHeightResponse(blk_id=bytes(32), err=pb.ERROR_NOT_FOUND)


# Building -----------------------------------------------------------------------------------------


def test_a_built_block_is_returned_whole(serve: Serve) -> None:
    vm = PlainVM()
    block = vm.child(b"built", timestamp=1_700_000_000)
    vm.to_build.append(block)
    answer = serve(vm).client.BuildBlock(pb.BuildBlockRequest())
    assert (answer.id, answer.parent_id, answer.bytes) == (block.id, vm.genesis.id, block.raw)
    assert (answer.height, answer.timestamp.seconds, answer.verify_with_context) == (1, 1_700_000_000, False)


def test_nothing_to_build_is_an_error_and_no_fault(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    served = serve(PlainVM())
    caplog.clear()
    assert refused(lambda: served.client.BuildBlock(pb.BuildBlockRequest()))[1] == "nothing to build"
    assert not [record for record in caplog.records if record.levelname not in ("DEBUG", "INFO")]


def test_edge_38_a_p_chain_height_is_ignored_by_a_vm_that_builds_without(serve: Serve) -> None:
    vm = PlainVM()
    block = vm.child()
    vm.to_build.append(block)
    assert serve(vm).client.BuildBlock(pb.BuildBlockRequest(p_chain_height=7)).id == block.id


@pytest.mark.parametrize(("request_", "built"), [({"p_chain_height": 0}, [0]), ({}, [])])
def test_a_vm_with_the_power_builds_at_the_p_chain_height_even_at_zero(
    serve: Serve, request_: dict[str, int], built: list[int]
) -> None:
    heights: list[int] = []

    class WithContext(PlainVM, vmsdk.BuildBlockWithContext):
        def build_block_with_context(self, p_chain_height: int) -> PlainBlock:
            heights.append(p_chain_height)
            return self.build_block()

    vm = WithContext()
    vm.to_build.append(vm.child())
    serve(vm).client.BuildBlock(pb.BuildBlockRequest(**request_))
    assert heights == built


@pytest.mark.parametrize(
    ("attribute", "value", "text"),
    [
        ("id", b"short", "PlainBlock.id is 5 bytes: it must be 32 bytes, an ID"),
        (
            "parent_id",
            "text",
            "PlainBlock.parent_id is 'text': it must be 32 bytes, an ID (of a genesis block: vmsdk.ID.EMPTY)",
        ),
        ("height", -1, "PlainBlock.height is -1: it must be a whole number from 0 to 2**64 - 1"),
        ("height", 2**64, f"PlainBlock.height is {2**64}: it must be a whole number from 0 to 2**64 - 1"),
        ("raw", None, "PlainBlock.raw is None: it must be bytes"),
        ("raw", bytearray(3), r"PlainBlock.raw is bytearray(b'\x00\x00\x00'): it must be bytes"),
        ("timestamp", "now", f"PlainBlock.timestamp is 'now': it must {TIME_RULE}"),
    ],
)
def test_a_block_that_the_node_would_refuse_is_named(
    serve: Serve, attribute: str, value: object, text: str
) -> None:
    vm = PlainVM()
    block = vm.child()
    assert block.id
    assert block.raw
    setattr(block, attribute, value)
    vm.to_build.append(block)
    assert refused(lambda: serve(vm).client.BuildBlock(pb.BuildBlockRequest()))[1] == text


def call(served: Served, method: str, request: Any) -> Any:
    return getattr(served.client, method)(request)


@pytest.mark.parametrize("value", [None, "text", object()], ids=["None", "text", "object"])
@pytest.mark.parametrize(
    ("method", "request_", "of", "rule"),
    [
        ("BuildBlock", pb.BuildBlockRequest(), "build_block", "a vmsdk.Block, or raise NothingToBuild"),
        (
            "ParseBlock",
            pb.ParseBlockRequest(bytes=b"x"),
            "parse_block",
            "a vmsdk.Block, or raise InvalidBlock",
        ),
        (
            "BlockVerify",
            pb.BlockVerifyRequest(bytes=b"x"),
            "parse_block",
            "a vmsdk.Block, or raise InvalidBlock",
        ),
        ("GetBlock", pb.GetBlockRequest(id=UNKNOWN_ID), "get_block", "a vmsdk.Block, or raise NotFound"),
        (
            "GetAncestors",
            pb.GetAncestorsRequest(blk_id=UNKNOWN_ID),
            "get_block",
            "a vmsdk.Block, or raise NotFound",
        ),
        (
            "GetBlockIDAtHeight",
            pb.GetBlockIDAtHeightRequest(height=1),
            "get_block_id_at_height",
            "an ID of 32 bytes, or raise NotFound",
        ),
        ("SetState", pb.SetStateRequest(state=pb.STATE_BOOTSTRAPPING), "last_accepted", "an ID of 32 bytes"),
    ],
)
def test_a_method_that_returns_something_else_is_named_with_what_it_should_return(
    serve: Serve, method: str, request_: Any, of: str, rule: str, value: object
) -> None:
    vm = PlainVM()
    served = serve(vm)
    setattr(vm, of, lambda *_: value)
    text = refused(lambda: call(served, method, request_))[1]
    assert text.startswith(f"{of} returned {repr(value).partition(' at 0x')[0]}")
    assert text.endswith(f": it must return {rule}")


# Parsing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\x00", b"random bytes"])
def test_edge_41_what_is_not_a_block_is_an_error(serve: Serve, data: bytes) -> None:
    text = refused(lambda: parse(serve(PlainVM()), data))[1]
    assert text == f"{len(data)} bytes are too few for a block"


def test_edge_42_a_batch_is_answered_in_order_and_fails_as_a_whole(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    blocks = [vm.child(bytes([number])) for number in range(5)]

    def batch(data: Sequence[bytes]) -> pb.BatchedParseBlockResponse:
        return served.client.BatchedParseBlock(pb.BatchedParseBlockRequest(request=data))

    answer = batch([block.raw for block in blocks])
    assert [parsed.id for parsed in answer.response] == [block.id for block in blocks]
    assert list(batch([]).response) == []
    assert "too few" in refused(lambda: batch([blocks[0].raw, b"bad", blocks[1].raw]))[1]


def test_a_vm_with_batched_parsing_must_answer_each(serve: Serve) -> None:
    class Batched(PlainVM, vmsdk.BatchedParseBlock):
        def batched_parse_block(self, data: Sequence[bytes]) -> Sequence[PlainBlock]:
            return [self.parse_block(item) for item in data][:1]

    vm = Batched()
    served = serve(vm)
    one = vm.child(b"1").raw
    assert len(served.client.BatchedParseBlock(pb.BatchedParseBlockRequest(request=[one])).response) == 1
    text = refused(lambda: served.client.BatchedParseBlock(pb.BatchedParseBlockRequest(request=[one, one])))[
        1
    ]
    assert text.startswith("batched_parse_block returned 1 blocks for 2 inputs")


def test_a_batch_of_something_else_is_named(serve: Serve) -> None:
    class Batched(PlainVM, vmsdk.BatchedParseBlock):
        def batched_parse_block(self, data: Sequence[bytes]) -> Sequence[PlainBlock]:
            assert type(data) is tuple  # the author may keep it
            return [None for _ in data]  # type: ignore[misc]

    request = pb.BatchedParseBlockRequest(request=[b"x"])
    text = refused(lambda: serve(Batched()).client.BatchedParseBlock(request))[1]
    assert text.startswith("batched_parse_block, for one input, returned None: it must return a vmsdk.Block")


def test_edge_43_protocol_35_receives_the_status_of_each_block(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm, 35)
    winner, loser, later = vm.child(b"winner"), vm.child(b"loser"), vm.child(b"later")
    verify(served, winner)
    assert parse(served, winner.raw).status == pb.STATUS_PROCESSING
    assert get(served, winner.id).status == pb.STATUS_PROCESSING
    accept(served, winner.id)
    assert get(served, winner.id).status == pb.STATUS_ACCEPTED
    assert parse(served, vm.genesis.raw).status == pb.STATUS_ACCEPTED
    assert parse(served, loser.raw).status == pb.STATUS_REJECTED
    after = vm.make(winner.id, 2, later.body)
    assert parse(served, after.raw).status == pb.STATUS_PROCESSING


def test_edge_43_newer_protocols_are_not(serve: Serve) -> None:
    vm = PlainVM()
    assert parse(serve(vm, 36), vm.genesis.raw).status == pb.STATUS_UNSPECIFIED


# Verifying ----------------------------------------------------------------------------------------


def test_a_block_is_parsed_once_for_parse_and_verify(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child(b"x")
    parse(served, block.raw)
    verify(served, block)
    assert vm.asked.count("parse_block") == 1


def test_a_verified_block_answers_its_time(serve: Serve) -> None:
    vm = PlainVM()
    answer = verify(serve(vm), vm.child(timestamp=0))
    assert answer.HasField("timestamp")


def test_edge_36_a_p_chain_height_for_a_block_that_takes_none_is_an_error(serve: Serve) -> None:
    vm = PlainVM()
    text = refused(lambda: verify(serve(vm), vm.child(), p_chain_height=1))[1]
    assert text.startswith("expected block.WithVerifyContext but got PlainBlock")


def test_edge_37_height_zero_is_a_context_and_its_absence_is_none(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = ContextBlock(vm.genesis.id, 1, b"context")
    vm.made[block.id] = block
    assert parse(served, block.raw).verify_with_context
    verify(served, block, p_chain_height=0)
    assert (block.heights, block.fate) == ([0], [])
    verify(served, block)
    assert (block.heights, block.fate) == ([0], ["verified"])


def test_edge_39_a_block_verified_in_two_contexts_is_accepted_once(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = ContextBlock(vm.genesis.id, 1, b"context")
    vm.made[block.id] = block
    verify(served, block, p_chain_height=5)
    verify(served, block, p_chain_height=6)
    accept(served, block.id)
    assert (block.heights, block.fate) == ([5, 6], ["accepted"])


def test_edge_40_a_block_that_failed_may_be_verified_later(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child(invalid="too early")
    assert refused(lambda: verify(served, block))[1] == "too early"
    assert "not found" in refused(lambda: accept(served, block.id))[1]
    block.invalid = ""
    verify(served, block)
    accept(served, block.id)
    assert block.fate[-1] == "accepted"


@pytest.mark.parametrize("size", [20 * MIB, 64 * MIB])
def test_edge_15_a_block_far_over_grpcs_default_limit_goes_both_ways(serve: Serve, size: int) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child(bytes(size))
    vm.to_build.append(block)
    assert len(served.client.BuildBlock(pb.BuildBlockRequest()).bytes) == len(block.raw)
    assert parse(served, block.raw).id == block.id
    verify(served, block)
    accept(served, block.id)
    assert served.session.blocks.last_accepted_height == 1


# Deciding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["BlockAccept", "BlockReject"])
def test_edge_35_deciding_an_unknown_block_is_the_error_not_found(serve: Serve, verb: str) -> None:
    served = serve(PlainVM())
    request = getattr(pb, f"{verb}Request")(id=UNKNOWN_ID)
    assert refused(lambda: getattr(served.client, verb)(request)) == (grpc.StatusCode.UNKNOWN, "not found")


def test_the_very_object_that_was_verified_is_decided(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    one, two = vm.child(b"one"), vm.child(b"two")
    for block in (one, two):
        verify(served, block)
    accept(served, one.id)
    served.client.BlockReject(pb.BlockRejectRequest(id=two.id))
    assert (one.fate, two.fate) == (["verified", "accepted"], ["verified", "rejected"])


def test_a_block_without_transactions_is_the_very_object_too(serve: Serve) -> None:
    class Empty(ContextBlock):
        def __len__(self) -> int:
            return 0

    vm = PlainVM()
    served = serve(vm)
    block = Empty(vm.genesis.id, 1, b"empty")
    vm.made[block.id] = block
    verify(served, block, p_chain_height=5)
    served.session.blocks._parsed.clear()
    vm.made[block.id] = Empty(vm.genesis.id, 1, b"empty")
    verify(served, block, p_chain_height=6)
    accept(served, block.id)
    assert (block.heights, block.fate) == ([5, 6], ["accepted"])


def test_a_block_whose_time_cannot_be_sent_is_not_verified(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child(timestamp="noon")
    assert (
        "PlainBlock.timestamp is 'noon': it must be a Timestamp" in refused(lambda: verify(served, block))[1]
    )
    # The node takes it for invalid, so it will never decide it: nor may vmsdk wait for that.
    assert served.session.blocks.verified(block.id) is None


def test_nothing_odd_about_an_accepted_block_fails_its_accept(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child()
    verify(served, block)
    vars(block)["raw"] = bytearray(block.raw)
    accept(served, block.id)
    assert block.fate == ["verified", "accepted"]


def test_a_block_is_decided_only_once(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child()
    verify(served, block)
    accept(served, block.id)
    assert refused(lambda: accept(served, block.id))[1] == "not found"


def test_a_fault_of_accept_reaches_the_node(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child()

    def fail() -> None:
        raise OSError("disk full")

    block.accept = fail  # type: ignore[method-assign]
    verify(served, block)
    assert refused(lambda: accept(served, block.id))[1] == "OSError: disk full"


@pytest.mark.parametrize("error", [vmsdk.NotFound("no key 0x01"), vmsdk.InvalidBlock("too late")], ids=repr)
def test_an_accept_that_fails_leaves_a_traceback_whatever_it_raises(
    serve: Serve, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child()

    def fail() -> None:
        raise error

    block.accept = fail  # type: ignore[method-assign]
    verify(served, block)
    assert refused(lambda: accept(served, block.id)) == (grpc.StatusCode.UNKNOWN, str(error))
    assert [record.exc_info is not None for record in caplog.records if record.levelname == "ERROR"] == [True]


def test_what_a_peer_can_cause_leaves_no_trace_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child(invalid="too early")
    forged = vm.child(b"forged")

    def refuse() -> None:
        raise InvalidWarpMessage("signature is invalid")

    forged.verify = refuse  # type: ignore[method-assign]
    caplog.clear()
    for call in (
        lambda: parse(served, b"bad"),
        lambda: verify(served, block),
        lambda: verify(served, forged),
        lambda: get(served, UNKNOWN_ID),
    ):
        try:
            call()
        except grpc.RpcError:
            pass
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []
    assert served.session.faults.counts() == {}


def test_edge_48_preferences_reach_the_author_and_its_refusal_the_node(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child()
    verify(served, block)
    for preferred in (vm.genesis.id, block.id):
        served.client.SetPreference(pb.SetPreferenceRequest(id=preferred))

    def refuse(block_id: vmsdk.ID) -> None:
        raise vmsdk.NotFound(f"no block {block_id}")

    vm.set_preference = refuse  # type: ignore[method-assign]
    text = refused(lambda: served.client.SetPreference(pb.SetPreferenceRequest(id=UNKNOWN_ID)))[1]
    assert text == f"no block {UNKNOWN_ID}"


class Mute(Exception):
    def __str__(self) -> str:
        raise SystemExit("not even its text")


@pytest.mark.parametrize(
    ("error", "text"),
    [(SystemExit("bye"), "SystemExit: bye"), (KeyboardInterrupt(), "KeyboardInterrupt"), (Mute(), "Mute")],
)
def test_a_vm_that_exits_inside_a_call_still_answers_it(
    serve: Serve, error: BaseException, text: str
) -> None:
    def exits(data: bytes) -> PlainBlock:
        raise error

    served = serve(PlainVM(parse_block=exits))
    assert refused(lambda: parse(served, b"x")) == (grpc.StatusCode.UNKNOWN, text)
    assert get(served, UNKNOWN_ID).err == pb.ERROR_NOT_FOUND


# States -------------------------------------------------------------------------------------------


def test_edge_27_each_state_answers_the_last_accepted_block_and_unknown_ones_are_refused(
    serve: Serve,
) -> None:
    vm = PlainVM()
    states: list[State] = []
    vm.set_state = states.append  # type: ignore[method-assign, assignment]
    served = serve(vm, run=False)
    served.initialize()
    assert served.set_state(State.BOOTSTRAPPING).last_accepted_id == vm.genesis.id
    block = vm.child()
    verify(served, block)
    accept(served, block.id)
    answer = served.set_state(State.NORMAL_OP)
    assert (answer.last_accepted_id, answer.height) == (block.id, 1)
    assert states == [State.BOOTSTRAPPING, State.NORMAL_OP]
    for unknown in (0, 99):
        assert refused(partial(served.set_state, unknown))[1].startswith(f"unknown state {unknown}")


def test_a_state_sync_that_moved_the_last_accepted_block_is_told(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm, run=False)
    served.initialize()
    synced = vm.make(UNKNOWN_ID, 100, b"synced")
    vm.accepted[synced.id] = vm.last = synced
    answer = served.set_state(State.BOOTSTRAPPING)
    assert (answer.last_accepted_id, answer.height, answer.bytes) == (synced.id, 100, synced.raw)


def test_a_last_accepted_block_that_calls_itself_something_else_is_refused(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    vm.last_accepted = lambda: UNKNOWN_ID  # type: ignore[method-assign]
    vm.get_block = lambda block_id: vm.genesis  # type: ignore[method-assign]
    text = refused(lambda: served.set_state(State.BOOTSTRAPPING))[1]
    assert text == f"get_block returned a block whose ID is {vm.genesis.id}: it must be {UNKNOWN_ID}"


def test_the_memory_of_parsed_blocks_is_bounded(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    served.client.BatchedParseBlock(
        pb.BatchedParseBlockRequest(
            request=[encode(vm.genesis.id, 1, number.to_bytes(4, "big") + bytes(MIB)) for number in range(40)]
        )
    )
    held = served.session.blocks._parsed
    assert sum(map(len, held)) <= 16 * MIB


# What an author sees of them ----------------------------------------------------------------------


def prefer(served: Served, block_id: bytes) -> None:
    served.client.SetPreference(pb.SetPreferenceRequest(id=block_id))


def test_the_preferred_block_is_the_last_accepted_one_until_the_node_prefers_another(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    assert vm.ctx.preferred is vm.genesis
    one, other = vm.child(b"one"), vm.child(b"other")
    verify(served, one)
    verify(served, other)
    assert vm.ctx.preferred is vm.genesis
    prefer(served, other.id)
    assert vm.ctx.preferred is other
    accept(served, other.id)
    assert vm.ctx.preferred is other
    served.client.BlockReject(pb.BlockRejectRequest(id=one.id))
    assert vm.ctx.preferred is other


def test_a_preferred_block_that_is_rejected_is_preferred_no_more(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    one, other = vm.child(b"one"), vm.child(b"other")
    for block in (one, other):
        verify(served, block)
    prefer(served, other.id)
    accept(served, one.id)
    served.client.BlockReject(pb.BlockRejectRequest(id=other.id))
    assert vm.ctx.preferred is one


def test_processing_blocks_are_those_verified_and_undecided_with_parents_first(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    parent = vm.child(b"parent")
    child = vm.make(parent.id, 2, b"child")
    sibling = vm.child(b"sibling")
    parse(served, sibling.raw)
    assert not vm.ctx.processing
    for block in (parent, child, sibling):
        verify(served, block)
    assert list(vm.ctx.processing) == [parent, child, sibling]
    accept(served, parent.id)
    # Its sibling is left out at once: a node may never reject it.
    assert list(vm.ctx.processing) == [child]
    served.client.BlockReject(pb.BlockRejectRequest(id=sibling.id))
    assert list(vm.ctx.processing) == [child]


def test_set_preference_sees_the_new_preference_and_need_not_be_written(serve: Serve) -> None:
    class Silent(PlainVM):
        set_preference = vmsdk.ChainVM.set_preference

    silent = Silent()
    prefer(serve(silent), silent.genesis.id)
    seen: list[object] = []
    vm = PlainVM(set_preference=lambda block_id: seen.append(vm.ctx.preferred))
    served = serve(vm)
    block = vm.child()
    verify(served, block)
    prefer(served, block.id)
    assert seen == [block]


def test_the_context_is_set_before_initialize(serve: Serve) -> None:
    class Plain(PlainVM):
        def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
            assert self.ctx is ctx

    serve(Plain())
