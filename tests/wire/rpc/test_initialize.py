"""Initialize: what a node must send, what the VM answers, and what becomes of failures."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

import vmsdk
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.errors import NodeError
from vmsdk.timestamp import Timestamp

from .conftest import Serve, refused
from .plainvm import PlainVM

INFINITY = bytes([0xC0]) + bytes(47)


@pytest.mark.parametrize("field", ["subnet_id", "chain_id", "x_chain_id", "c_chain_id", "avax_asset_id"])
@pytest.mark.parametrize("length", [0, 31, 33])
def test_edge_19_an_id_of_another_length_is_refused_with_the_nodes_text(
    serve: Serve, field: str, length: int
) -> None:
    served = serve(PlainVM(), run=False)
    assert refused(lambda: served.initialize(**{field: bytes(length)})) == (
        grpc.StatusCode.UNKNOWN,
        f"invalid hash length: expected 32 bytes but got {length}",
    )


def test_edge_20_a_node_id_of_32_bytes_is_refused(serve: Serve) -> None:
    served = serve(PlainVM(), run=False)
    assert refused(lambda: served.initialize(node_id=bytes(32)))[1] == (
        "invalid hash length: expected 20 bytes but got 32"
    )


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (b"", "couldn't decompress public key"),
        (b"garbage" * 7, "couldn't decompress public key"),
        (b"\xff" * 48, "couldn't decompress public key"),
        (INFINITY, "invalid public key"),
    ],
)
def test_edge_21_a_public_key_that_is_not_a_point_is_refused(serve: Serve, key: bytes, text: str) -> None:
    served = serve(PlainVM(), run=False)
    assert refused(lambda: served.initialize(public_key=key))[1] == text


@pytest.mark.parametrize("version", [35, 36])
def test_edge_22_old_nodes_tell_no_network_upgrades(serve: Serve, version: int) -> None:
    vm = PlainVM()
    serve(vm, version)
    assert vm.ctx.network_upgrades is None


@pytest.mark.parametrize("version", [37, 46])
def test_edge_22_newer_nodes_must_tell_them(serve: Serve, version: int) -> None:
    served = serve(PlainVM(), version, run=False)
    assert refused(lambda: served.initialize(network_upgrades=None))[1] == "network upgrades protobuf is nil"


def test_edge_23_upgrades_that_the_node_does_not_know_are_unscheduled(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm, 44, run=False)
    request = served.request()
    request.network_upgrades.ClearField("helicon_time")
    request.network_upgrades.ClearField("granite_epoch_duration")
    served.client.Initialize(request)
    upgrades = vm.ctx.network_upgrades
    assert upgrades is not None
    assert upgrades.helicon_time is None
    assert upgrades.granite_epoch_duration is None
    assert upgrades.granite_time is not None


def test_edge_19_a_stop_vertex_of_another_length_is_refused(serve: Serve) -> None:
    served = serve(PlainVM(), run=False)
    request = served.request()
    request.network_upgrades.cortina_x_chain_stop_vertex_id = bytes(31)
    assert refused(lambda: served.client.Initialize(request))[1] == (
        "invalid hash length: expected 32 bytes but got 31"
    )
    request.network_upgrades.ClearField("cortina_x_chain_stop_vertex_id")
    assert refused(lambda: served.client.Initialize(request))[1] == (
        "invalid hash length: expected 32 bytes but got 0"
    )


@pytest.mark.parametrize("seconds", [2**62, -(2**62)])
def test_a_duration_beyond_all_measure_is_refused_and_no_fault_of_the_vm(serve: Serve, seconds: int) -> None:
    served = serve(PlainVM(), run=False)
    request = served.request()
    request.network_upgrades.granite_epoch_duration.seconds = seconds
    assert refused(lambda: served.client.Initialize(request))[1].startswith("invalid duration: ")
    assert served.session.faults.counts() == {}


@pytest.mark.parametrize("field", ["db_server_addr", "server_addr"])
@pytest.mark.parametrize("address", ["", "nowhere", "127.0.0.1:0", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_refused_and_the_next_initialize_is_taken(
    serve: Serve, field: str, address: str
) -> None:
    served = serve(PlainVM(), run=False)
    assert "is not a server's address" in refused(lambda: served.initialize(**{field: address}))[1]
    assert served.session.faults.counts() == {}
    served.initialize()


def test_the_context_is_what_the_node_said(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm, 45, run=False)
    request = served.request(network_id=5, chain_data_dir="/some/där")
    request.network_upgrades.helicon_time.seconds = 1_700_000_000
    request.network_upgrades.helicon_time.nanos = 7
    request.network_upgrades.granite_epoch_duration.seconds = 30
    served.client.Initialize(request)
    ctx = vm.ctx
    assert (ctx.network_id, ctx.chain_data_dir, ctx.protocol_version) == (5, Path("/some/där"), 45)
    assert (ctx.subnet_id, ctx.chain_id) == (served.config.subnet_id, served.config.chain_id)
    assert (ctx.node_id, ctx.public_key) == (request.node_id, request.public_key)
    assert ctx.network_upgrades is not None
    assert ctx.network_upgrades.helicon_time == Timestamp(1_700_000_000, 7)
    assert ctx.network_upgrades.granite_epoch_duration == timedelta(seconds=30)


def test_the_author_gets_the_three_byte_strings(serve: Serve) -> None:
    given: list[bytes] = []
    vm = PlainVM(initialize=lambda ctx, *rest: given.extend(rest))
    serve(vm, run=False).initialize(genesis_bytes=b"g", upgrade_bytes=b"u", config_bytes=b"c")
    assert given == [b"g", b"u", b"c"]


def test_the_answer_is_the_last_accepted_block(serve: Serve) -> None:
    vm = PlainVM()
    answer = serve(vm, run=False).initialize()
    assert answer.last_accepted_id == vm.genesis.id
    assert answer.last_accepted_parent_id == bytes(32)
    assert (answer.height, answer.bytes) == (0, vm.genesis.raw)


def test_edge_24_a_time_at_the_epoch_is_present_in_the_answer(serve: Serve) -> None:
    answer = serve(PlainVM(), run=False).initialize()
    assert answer.HasField("timestamp")
    assert answer.timestamp.seconds == 0


@pytest.mark.parametrize("time", [Timestamp.ZERO, Timestamp(1_700_000_000, 123_456_789)])
def test_edge_25_times_keep_their_nanoseconds_and_may_be_gos_zero(serve: Serve, time: Timestamp) -> None:
    vm = PlainVM()
    vm.genesis.timestamp = time
    answer = serve(vm, run=False).initialize()
    assert (answer.timestamp.seconds, answer.timestamp.nanos) == time


def test_edge_26_an_error_of_initialize_reaches_the_node_and_the_log_has_one_traceback(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def initialize(*_: object) -> None:
        raise RuntimeError("the genesis is for another chain")

    served = serve(PlainVM(initialize=initialize), run=False)
    assert refused(served.initialize) == (
        grpc.StatusCode.UNKNOWN,
        "RuntimeError: the genesis is for another chain",
    )
    assert sum(record.exc_info is not None for record in caplog.records) == 1
    # The process lives, and says Version as before.
    assert served.client.Version(pb_empty()).version == "0.0.1-plain"


@pytest.mark.parametrize(
    "error", [vmsdk.NotFound("no key 0x01"), vmsdk.InvalidBlock("bad genesis"), vmsdk.Closed()], ids=repr
)
def test_errors_that_are_answers_elsewhere_are_faults_of_initialize(
    serve: Serve, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def initialize(*_: object) -> None:
        raise error

    served = serve(PlainVM(initialize=initialize), run=False)
    assert refused(served.initialize) == (grpc.StatusCode.UNKNOWN, str(error))
    assert sum(record.exc_info is not None for record in caplog.records) == 1


def test_the_author_is_shut_down_when_the_last_accepted_block_cannot_be_had(serve: Serve) -> None:
    def last_accepted() -> vmsdk.ID:
        raise RuntimeError("no last block")

    vm = PlainVM(last_accepted=last_accepted)
    served = serve(vm, run=False)
    assert refused(served.initialize)[1] == "RuntimeError: no last block"
    assert vm.asked == ["shutdown"]


def test_a_shutdown_that_fails_then_does_not_hide_the_reason(serve: Serve) -> None:
    def last_accepted() -> vmsdk.ID:
        raise RuntimeError("no last block")

    def shutdown() -> None:
        raise RuntimeError("nor an end")

    served = serve(PlainVM(last_accepted=last_accepted, shutdown=shutdown), run=False)
    assert refused(served.initialize)[1] == "RuntimeError: no last block"
    assert served.session.faults.counts() == {"shutdown": 1, "Initialize": 1}


@pytest.mark.parametrize("version", [None, 7, (1, 0), b"1.0"], ids=repr)
def test_a_version_that_is_not_text_is_named(serve: Serve, version: object) -> None:
    vm = PlainVM()
    vars(vm)["version"] = version
    text = refused(lambda: serve(vm, run=False).client.Version(pb_empty()))[1]
    assert text.startswith("PlainVM.version is ")
    assert text.endswith(": it must be a str")


def test_edge_29_the_nodes_services_work_inside_initialize(serve: Serve) -> None:
    seen: dict[str, Any] = {}

    def initialize(ctx: vmsdk.Context, *_: bytes) -> None:
        ctx.db.put(b"key", b"value")
        seen["value"] = ctx.db[b"key"]
        seen["missing"] = ctx.db.get(b"missing")

    serve(PlainVM(initialize=initialize), run=False).initialize()
    assert seen == {"value": b"value", "missing": None}


def test_edge_30_the_own_chain_has_no_alias_yet_inside_initialize(serve: Serve) -> None:
    errors: list[str] = []

    def initialize(ctx: vmsdk.Context, *_: bytes) -> None:
        try:
            ctx.aliases.primary_alias(ctx.chain_id)
        except NodeError as error:
            errors.append(str(error))

    served = serve(PlainVM(initialize=initialize), run=False)
    served.initialize()
    assert errors == [f"there is no alias for ID: {served.config.chain_id}"]


def test_a_second_initialize_is_refused(serve: Serve) -> None:
    served = serve(PlainVM())
    assert "called before" in refused(served.initialize)[1]


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("SetState", pb.SetStateRequest(state=pb.STATE_NORMAL_OP)),
        ("ParseBlock", pb.ParseBlockRequest(bytes=b"x")),
        ("Health", None),
    ],
)
def test_engine_calls_before_initialize_are_refused(serve: Serve, method: str, request_: Any) -> None:
    served = serve(PlainVM(), run=False)
    text = refused(lambda: getattr(served.client, method)(request_ or pb_empty()))[1]
    assert text == "the chain is not initialised: call Initialize first"


def test_a_malformed_message_is_a_grpc_error_and_one_line_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve(PlainVM())
    caplog.clear()
    call: Any = served.client.channel.unary_unary("/vm.VM/ParseBlock")
    code, _ = refused(lambda: call(b"\xff\xff\xff", timeout=60))
    assert code is grpc.StatusCode.INTERNAL
    [record] = caplog.records
    assert record.getMessage().startswith("ParseBlock: the node sent a malformed message: ")
    assert record.exc_info is None
    assert served.client.Version(pb_empty()).version == "0.0.1-plain"


def pb_empty() -> Any:
    from google.protobuf.empty_pb2 import Empty

    return Empty()
