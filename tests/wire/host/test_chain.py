"""A chain driven like a node drives it, against a VM of bare grpcio in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

from tests.process.plugins.bare_vm import GENESIS, BareVM, block_bytes, block_id
from tests.wire.host.rawstub import DEADLINE_S
from vmsdk._pb.io.prometheus.client import metrics_pb2
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.context import NetworkUpgrades
from vmsdk.host.appnetwork import Peer
from vmsdk.host.block import Block
from vmsdk.host.chain import Chain
from vmsdk.host.errors import CallFailed, ChainFatal, ChainMisused, InvalidResponse
from vmsdk.host.metrics import InvalidMetrics
from vmsdk.ids import ID, NodeID
from vmsdk.state import Event, State

StartChain = Callable[..., Chain]
VERSIONS = range(35, 47)


@pytest.fixture
def vm() -> BareVM:
    return BareVM()


@pytest.fixture
def chain(vm: BareVM, start_chain: StartChain) -> Chain:
    """In normal operation."""
    chain = start_chain(vm)
    chain.start()
    return chain


def names(vm: BareVM, *ignored: str) -> list[str]:
    """The calls so far, without WaitForEvent, whose place among them is free."""
    return [name for name, _ in vm.calls if name not in ("WaitForEvent", *ignored)]


def new_calls(vm: BareVM) -> list[str]:
    """The calls since the last time."""
    calls = names(vm)
    vm.calls.clear()
    return calls


def child(parent: Block, payload: bytes, seconds: int = 1) -> bytes:
    return block_bytes(parent.height + 1, parent.timestamp.seconds + seconds, parent.id, payload)


def processing(chain: Chain, parent: Block, payload: bytes) -> Block:
    """A verified child of *parent*."""
    block = chain.parse_block(child(parent, payload))
    chain.verify(block)
    return block


# Start --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_chain_starts_with_the_calls_of_its_protocol(
    vm: BareVM, start_chain: StartChain, version: int
) -> None:
    chain = start_chain(vm, version)
    chain.start()
    http2 = {41: ["CreateHTTP2Handler"]}.get(version, ["NewHTTPHandler"] if version > 41 else [])
    assert names(vm) == [
        "Initialize",
        "CreateHandlers",
        *http2,
        "StateSyncEnabled",
        "SetState",
        "Connected",
        "SetPreference",
        "SetState",
    ]
    assert chain.state is State.NORMAL_OP
    states = [request.state for name, request in vm.calls if name == "SetState"]
    assert states == [pb.STATE_BOOTSTRAPPING, pb.STATE_NORMAL_OP]


def test_initialize_sends_the_whole_configuration(vm: BareVM, start_chain: StartChain, tmp_path: Any) -> None:
    chain = start_chain(
        vm, genesis=b"g", upgrade=b"u", config=b"c", network_id=7, chain_data_dir=tmp_path / "data"
    )
    chain.initialize()
    config, request = chain.config, vm.request
    assert request.network_id == 7
    assert (request.subnet_id, request.chain_id) == (config.subnet_id, config.chain_id)
    assert (request.node_id, request.public_key) == (config.identity.node_id, config.identity.public_key)
    assert (request.x_chain_id, request.c_chain_id) == (config.x_chain_id, config.c_chain_id)
    assert request.avax_asset_id == config.avax_asset_id
    assert (request.genesis_bytes, request.upgrade_bytes, request.config_bytes) == (b"g", b"u", b"c")
    assert request.chain_data_dir == str(tmp_path / "data")
    assert request.db_server_addr == chain.services.db_address
    assert request.server_addr == chain.services.address
    assert chain.last_accepted.raw == GENESIS + b"g"


@pytest.mark.parametrize(
    ("version", "present"),
    [
        (37, set()),
        (39, {"fortuna_time"}),
        (40, {"fortuna_time", "granite_time"}),
        (43, {"fortuna_time", "granite_time"}),
        (44, {"fortuna_time", "granite_time", "granite_epoch_duration", "helicon_time"}),
    ],
)
def test_initialize_sends_the_upgrades_that_the_protocol_knows(
    vm: BareVM, start_chain: StartChain, version: int, present: set[str]
) -> None:
    start_chain(vm, version).initialize()
    upgrades = vm.request.network_upgrades
    later = ["fortuna_time", "granite_time", "granite_epoch_duration", "helicon_time"]
    assert {name for name in later if upgrades.HasField(name)} == present  # type: ignore[arg-type]
    assert upgrades.apricot_phase_1_time.ToJsonString() == "2020-12-05T05:00:00Z"
    assert upgrades.cortina_x_chain_stop_vertex_id == bytes(32)
    if version == 44:
        assert upgrades.helicon_time.ToJsonString() == "9999-12-01T00:00:00Z"
        assert upgrades.granite_epoch_duration.seconds == 30


def test_initialize_sends_no_upgrades_until_protocol_36(vm: BareVM, start_chain: StartChain) -> None:
    start_chain(vm, 36).initialize()
    assert not vm.request.HasField("network_upgrades")


def test_edge_23_a_chain_can_tell_the_upgrades_of_1_14_0(vm: BareVM, start_chain: StartChain) -> None:
    start_chain(vm, 44, network_upgrades=NetworkUpgrades(granite_time=None)).initialize()
    assert not vm.request.network_upgrades.HasField("helicon_time")
    assert not vm.request.network_upgrades.HasField("granite_epoch_duration")


def test_edge_30_the_chains_own_alias_exists_only_after_initialize(start_chain: StartChain) -> None:
    seen: list[list[str]] = []

    class AskingVM(BareVM):
        def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
            seen.append(names_of(ID(request.chain_id)))
            return super().Initialize(request)

    asked = start_chain(AskingVM())
    names_of = asked.services.aliases.names
    asked.initialize()
    seen.append(names_of(asked.config.chain_id))
    assert seen == [[], [str(asked.config.chain_id)]]


def test_a_failed_initialize_has_the_vms_text_and_stops_the_chain(start_chain: StartChain) -> None:
    class BrokenVM(BareVM):
        def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
            raise ValueError("bad genesis")

    chain = start_chain(BrokenVM())
    with pytest.raises(ChainFatal) as caught:
        chain.start()
    cause = caught.value.cause
    assert isinstance(cause, CallFailed)
    assert (cause.method, cause.code, cause.details) == ("Initialize", "UNKNOWN", "bad genesis")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"last_accepted_id": bytes(31)}, "invalid hash length: expected 32 bytes but got 31"),
        ({"last_accepted_parent_id": b""}, "invalid hash length: expected 32 bytes but got 0"),
        ({"timestamp": None}, "invalid timestamp: proto: invalid nil Timestamp"),
    ],
)
def test_an_invalid_response_to_initialize_stops_the_chain(
    start_chain: StartChain, change: dict[str, Any], text: str
) -> None:
    class SloppyVM(BareVM):
        def last_accepted_fields(self) -> dict[str, Any]:
            return {**super().last_accepted_fields(), **change}

    with pytest.raises(ChainFatal, match=text):
        start_chain(SloppyVM()).initialize()


def test_handlers_are_kept_and_the_last_of_two_with_one_prefix_wins(start_chain: StartChain) -> None:
    class WebVM(BareVM):
        def CreateHandlers(self, request: Empty) -> pb.CreateHandlersResponse:
            pairs = [("", "127.0.0.1:1"), ("/rpc", "127.0.0.1:2"), ("", "127.0.0.1:3")]
            return pb.CreateHandlersResponse(
                handlers=[pb.Handler(prefix=prefix, server_addr=address) for prefix, address in pairs]
            )

        def NewHTTPHandler(self, request: Empty) -> pb.NewHTTPHandlerResponse:
            return pb.NewHTTPHandlerResponse(server_addr="127.0.0.1:4")

    chain = start_chain(WebVM())
    chain.start()
    assert chain.handlers == {"": "127.0.0.1:3", "/rpc": "127.0.0.1:2"}
    assert chain.http_handler == "127.0.0.1:4"


def test_an_error_of_create_handlers_leaves_a_chain_without_http(start_chain: StartChain) -> None:
    class NoWebVM(BareVM):
        def CreateHandlers(self, request: Empty) -> pb.CreateHandlersResponse:
            raise ValueError("no port left")

    vm = NoWebVM()
    chain = start_chain(vm)
    chain.start()
    assert chain.handlers == {}
    assert "NewHTTPHandler" not in names(vm)


def test_a_chain_restarts_where_it_was(vm: BareVM, start_chain: StartChain, chain: Chain) -> None:
    vm.propose(b"1")
    block = chain.produce()
    again = BareVM()
    again.Initialize(vm.request)
    assert again.last_accepted == block.id


# Blocks -------------------------------------------------------------------------------------------


def test_a_block_is_built_verified_preferred_and_accepted(vm: BareVM, chain: Chain) -> None:
    vm.propose(b"1")
    assert chain.next_event(DEADLINE_S) is Event.BUILD_BLOCK
    vm.calls.clear()
    block = chain.produce()
    assert new_calls(vm) == ["BuildBlock", "BlockVerify", "SetPreference", "BlockAccept"]
    assert chain.last_accepted == block
    assert chain.processing == []
    assert chain.get_block_id_at_height(1) == block.id


def test_a_build_that_fails_is_benign(vm: BareVM, chain: Chain) -> None:
    with pytest.raises(CallFailed) as caught:
        chain.produce()
    assert (caught.value.method, caught.value.details) == ("BuildBlock", "nothing to build")
    vm.propose(b"1")
    assert chain.produce().height == 1


def test_a_built_block_must_extend_the_preferred_one(vm: BareVM, chain: Chain) -> None:
    vm.propose(b"1")
    vm.preferred = processing(chain, chain.last_accepted, b"other").id
    with pytest.raises(InvalidResponse, match="but the preferred block is"):
        chain.build_block()


def test_a_built_block_must_fit_into_a_message_between_nodes(vm: BareVM, chain: Chain) -> None:
    vm.propose(bytes(2 << 20))
    with pytest.raises(
        InvalidResponse, match=r"nodes can't send each other more than 2097152: build smaller"
    ):
        chain.build_block()


def test_edge_39_a_block_can_be_verified_again_with_another_context(vm: BareVM, chain: Chain) -> None:
    block = chain.parse_block(child(chain.last_accepted, b"1"))
    chain.verify(block, 5)
    chain.verify(block, 6)
    chain.accept(block)
    heights = [call.p_chain_height for name, call in vm.calls if name == "BlockVerify"]
    assert heights == [5, 6]


def test_edge_40_a_failed_verification_is_not_remembered(vm: BareVM, chain: Chain) -> None:
    block = chain.parse_block(child(chain.last_accepted, b"1"))
    find = vm.find
    vm.find = lambda block_id: None  # type: ignore[method-assign]
    with pytest.raises(CallFailed, match="unknown parent"):
        chain.verify(block)
    assert chain.processing == []
    vm.find = find  # type: ignore[method-assign]
    chain.verify(block)
    assert chain.accept(block) == []


def test_a_verification_without_a_timestamp_counts_as_failed(start_chain: StartChain) -> None:
    class SloppyVM(BareVM):
        def BlockVerify(self, request: pb.BlockVerifyRequest) -> pb.BlockVerifyResponse:
            super().BlockVerify(request)
            return pb.BlockVerifyResponse()

    chain = start_chain(SloppyVM())
    chain.start()
    with pytest.raises(InvalidResponse, match="invalid nil Timestamp"):
        processing(chain, chain.last_accepted, b"1")
    assert chain.processing == []


def test_edge_43_in_protocol_35_a_block_without_status_is_refused(start_chain: StartChain) -> None:
    class StatuslessVM(BareVM):
        def status(self, block: Any) -> pb.Status.ValueType:
            return pb.STATUS_UNSPECIFIED

    for version, refused in ((35, True), (36, False)):
        chain = start_chain(StatuslessVM(), version)
        chain.start()
        data = child(chain.last_accepted, b"1")
        if refused:
            with pytest.raises(InvalidResponse, match=r"found unexpected status for blk .*: 0"):
                chain.parse_block(data)
        else:
            assert chain.parse_block(data).height == 1


def test_edge_43_in_protocol_35_a_vm_that_sets_the_status_goes_through_a_blocks_life(
    vm: BareVM, start_chain: StartChain
) -> None:
    chain = start_chain(vm, 35)
    chain.start()
    block = chain.parse_block(child(chain.last_accepted, b"1"))
    assert block.status == pb.STATUS_PROCESSING
    chain.verify(block)
    chain.accept(block)
    again = chain.client.ParseBlock(pb.ParseBlockRequest(bytes=block.raw))
    assert again.status == pb.STATUS_ACCEPTED


def test_edge_44_a_missing_block_that_was_parsed_since_comes_from_the_cache(vm: BareVM, chain: Chain) -> None:
    data = child(chain.last_accepted, b"1")
    wanted = ID(block_id(data))
    vm.calls.clear()
    assert chain.get_block(wanted) is None
    assert chain.get_block(wanted) is None
    assert new_calls(vm) == ["GetBlock"], "that it is missing is remembered"
    block = chain.parse_block(data)
    assert chain.get_block(wanted) == block
    assert chain.parse_block(data) is block
    assert new_calls(vm) == ["ParseBlock"]


def test_edge_45_set_state_with_processing_blocks_is_an_error(vm: BareVM, chain: Chain) -> None:
    block = processing(chain, chain.last_accepted, b"1")
    vm.accept(vm.parse(block.raw))
    with pytest.raises(ChainFatal, match="cannot set last accepted block with blocks processing: 1"):
        chain.set_state(State.NORMAL_OP)


def test_edge_47_accept_comes_first_and_parents_are_rejected_before_children(
    vm: BareVM, chain: Chain
) -> None:
    genesis = chain.last_accepted
    loser = processing(chain, genesis, b"loser")
    winner = processing(chain, genesis, b"winner")
    losers_child = processing(chain, loser, b"loser's child")
    other = processing(chain, genesis, b"other loser")
    winners_child = processing(chain, winner, b"winner's child")
    chain.prefer(loser.id)
    vm.calls.clear()
    assert chain.accept(winner) == [loser, losers_child, other]
    decisions = [(name, call.id) for name, call in vm.calls if name != "WaitForEvent"]
    assert decisions == [
        ("BlockAccept", winner.id),
        ("BlockReject", loser.id),
        ("BlockReject", losers_child.id),
        ("BlockReject", other.id),
        ("SetPreference", winner.id),
    ]
    assert chain.processing == [winners_child]
    assert vm.undecided.keys() == {winners_child.id}


def test_the_preference_stays_on_a_descendant_of_the_accepted_block(vm: BareVM, chain: Chain) -> None:
    parent = processing(chain, chain.last_accepted, b"1")
    tip = processing(chain, parent, b"2")
    chain.prefer(tip.id)
    vm.calls.clear()
    chain.accept(parent)
    chain.prefer(tip.id)
    assert new_calls(vm) == ["BlockAccept"]
    assert chain.preference == tip.id


def test_produce_accepts_processing_ancestors_first(vm: BareVM, chain: Chain) -> None:
    parent = processing(chain, chain.last_accepted, b"1")
    chain.prefer(parent.id)
    vm.propose(b"2")
    vm.calls.clear()
    block = chain.produce()
    accepted = [call.id for name, call in vm.calls if name == "BlockAccept"]
    assert accepted == [parent.id, block.id]


def test_edge_48_any_other_preference_is_refused_before_the_vm_is_asked(vm: BareVM, chain: Chain) -> None:
    chain.prefer(processing(chain, chain.last_accepted, b"1").id)
    chain.prefer(chain.last_accepted.id)
    vm.calls.clear()
    with pytest.raises(ChainMisused, match="neither processing nor the last accepted"):
        chain.prefer(ID(bytes(range(32))))
    assert new_calls(vm) == []


def test_what_a_node_never_does_is_refused(chain: Chain) -> None:
    first = processing(chain, chain.last_accepted, b"1")
    second = processing(chain, first, b"2")
    orphan = chain.parse_block(block_bytes(9, 9, bytes(32), b"orphan"))
    with pytest.raises(ChainMisused, match="not a processing child"):
        chain.accept(second)
    with pytest.raises(ChainMisused, match="its parent is neither"):
        chain.verify(orphan)


@pytest.mark.parametrize("method", ["BlockAccept", "BlockReject", "SetPreference", "SetState"])
def test_an_error_of_a_decision_stops_the_chain(start_chain: StartChain, method: str) -> None:
    vm = BareVM()
    chain = start_chain(vm)
    chain.start()
    loser, winner = (processing(chain, chain.last_accepted, name) for name in (b"loser", b"winner"))

    def fail(request: Any) -> Any:
        raise ValueError("not found")

    setattr(vm, method, fail)

    def decide() -> None:
        chain.prefer(loser.id)
        chain.accept(winner)
        chain.set_state(State.NORMAL_OP)

    with pytest.raises(ChainFatal, match=f"shutting down chain: {method}: not found"):
        decide()
    with pytest.raises(ChainFatal):
        chain.get_block(ID(bytes(32)))


def test_parsed_batches_keep_their_order_and_ask_only_for_the_unknown(vm: BareVM, chain: Chain) -> None:
    first, second, third = (child(chain.last_accepted, payload) for payload in (b"1", b"2", b"3"))
    known = chain.parse_block(second)
    vm.calls.clear()
    blocks = chain.parse_blocks([first, second, third, first])
    assert [block.raw for block in blocks] == [first, second, third, first]
    assert blocks[1] is known
    [(name, request)] = [call for call in vm.calls if call[0] != "WaitForEvent"]
    assert (name, list(request.request)) == ("BatchedParseBlock", [first, third])
    assert chain.parse_blocks([]) == []


def test_a_batch_with_another_number_of_responses_is_refused(start_chain: StartChain) -> None:
    class ShortVM(BareVM):
        def BatchedParseBlock(self, request: pb.BatchedParseBlockRequest) -> pb.BatchedParseBlockResponse:
            return pb.BatchedParseBlockResponse()

    chain = start_chain(ShortVM())
    chain.start()
    with pytest.raises(InvalidResponse, match="returned different number of blocks than expected"):
        chain.parse_blocks([child(chain.last_accepted, b"1")])


def test_an_error_number_of_get_block_that_does_not_exist_is_refused(start_chain: StartChain) -> None:
    class OddVM(BareVM):
        def GetBlock(self, request: pb.GetBlockRequest) -> pb.GetBlockResponse:
            return pb.GetBlockResponse(err=pb.Error.ValueType(9))

    chain = start_chain(OddVM())
    chain.start()
    with pytest.raises(InvalidResponse, match="unknown error number 9"):
        chain.get_block(ID(bytes(32)))


def test_ancestors_and_heights_are_asked_from_the_vm(vm: BareVM, chain: Chain) -> None:
    for payload in (b"1", b"2"):
        vm.propose(payload)
        chain.produce()
    tip = chain.last_accepted
    assert len(chain.get_ancestors(tip.id)) == 3
    assert len(chain.get_ancestors(tip.id, max_blocks=2)) == 2
    assert chain.get_ancestors(ID(bytes(32))) == []
    request = next(call for name, call in vm.calls if name == "GetAncestors")
    assert (request.max_blocks_num, request.max_blocks_size) == (2000, 1_677_721)
    assert request.max_blocks_retrival_time == 50_000_000
    assert chain.get_block_id_at_height(3) is None


# The P-chain's height -----------------------------------------------------------------------------

ACTIVE = 1_607_144_400  # 2020-12-05T05:00:00Z: children of this or later are wrapped


class ContextVM(BareVM):
    """Wants the P-chain's height for every block; its blocks have the times in `times`."""

    def __init__(self) -> None:
        super().__init__()
        self.times = [ACTIVE - 1, ACTIVE, ACTIVE + 1, ACTIVE + 2]

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        parent = self.find(self.preferred)
        assert parent is not None
        data = block_bytes(parent.height + 1, self.times.pop(0), self.preferred)
        response = self.response_of(self.parse(data))
        response.verify_with_context = True
        return response


def heights(vm: BareVM, method: str) -> list[int | None]:
    return [
        call.p_chain_height if call.HasField("p_chain_height") else None
        for name, call in vm.calls
        if name == method
    ]


def test_the_p_chain_height_is_sent_from_the_second_wrapped_block_on(start_chain: StartChain) -> None:
    vm = ContextVM()
    chain = start_chain(vm)
    chain.start()
    chain.services.validators.set_heights(current=9, minimum=7)
    for _ in range(4):
        chain.produce()
    # Genesis (time 0) and the first block are before the fork; the third block is the first wrapped
    # one.
    assert heights(vm, "BuildBlock") == heights(vm, "BlockVerify") == [None, None, None, 7]


def test_the_fork_is_remembered_over_a_restart(start_chain: StartChain) -> None:
    vm = ContextVM()
    chain = start_chain(vm)
    chain.start()
    for _ in range(3):
        chain.produce()
    chain.services.validators.set_heights(current=5)
    again = Chain(chain.client, chain.services)
    again.initialize()
    again.produce()
    assert heights(vm, "BuildBlock")[-1] == 5


def test_a_block_that_does_not_want_the_height_is_verified_without(start_chain: StartChain) -> None:
    class PlainVM(ContextVM):
        def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
            built = super().BuildBlock(request)
            built.verify_with_context = False
            return built

    vm = PlainVM()
    chain = start_chain(vm)
    chain.start()
    for _ in range(4):
        chain.produce()
    assert heights(vm, "BuildBlock") == [None, None, None, 0]
    assert heights(vm, "BlockVerify") == [None, None, None, None]


# Bootstrapping and state sync ---------------------------------------------------------------------


def history(parent: Block, count: int) -> list[bytes]:
    datas = []
    parent_id, height = parent.id, parent.height
    for _ in range(count):
        height += 1
        datas.append(block_bytes(height, height, parent_id))
        parent_id = ID(block_id(datas[-1]))
    return datas


def test_bootstrapping_executes_blocks_by_height_and_skips_accepted_ones(
    vm: BareVM, start_chain: StartChain
) -> None:
    chain = start_chain(vm)
    genesis = chain.initialize()
    blocks = history(genesis, 4)
    vm.calls.clear()
    chain.bootstrap([blocks[2], blocks[0], genesis.raw, blocks[3], blocks[1]])
    assert new_calls(vm) == ["BatchedParseBlock", *["BlockVerify", "BlockAccept"] * 4]
    assert chain.last_accepted.height == 4
    chain.bootstrap(blocks)
    assert new_calls(vm) == [], "all are remembered and accepted"


def test_an_invalid_block_while_bootstrapping_stops_the_chain(start_chain: StartChain) -> None:
    class StrictVM(BareVM):
        def BlockVerify(self, request: pb.BlockVerifyRequest) -> pb.BlockVerifyResponse:
            raise ValueError("bad signature")

    chain = start_chain(StrictVM())
    blocks = history(chain.initialize(), 1)
    with pytest.raises(ChainFatal, match="BlockVerify: bad signature"):
        chain.bootstrap(blocks)


class SyncingVM(BareVM):
    """Takes a summary that is the block itself, and reports the end of the sync when it may."""

    mode: pb.StateSummaryAcceptResponse.Mode.ValueType = pb.StateSummaryAcceptResponse.MODE_STATIC
    ongoing_summary: bytes | None = None

    def StateSyncEnabled(self, request: Empty) -> pb.StateSyncEnabledResponse:
        return pb.StateSyncEnabledResponse(enabled=True)

    def GetOngoingSyncStateSummary(self, request: Empty) -> pb.GetOngoingSyncStateSummaryResponse:
        data = self.ongoing_summary
        if data is None:
            return pb.GetOngoingSyncStateSummaryResponse(err=pb.ERROR_NOT_FOUND)
        height = self.parse(data).height
        return pb.GetOngoingSyncStateSummaryResponse(id=block_id(data), height=height, bytes=data)

    def ParseStateSummary(self, request: pb.ParseStateSummaryRequest) -> pb.ParseStateSummaryResponse:
        if len(request.bytes) < 48:
            raise ValueError("no summary")
        block = self.parse(request.bytes)
        return pb.ParseStateSummaryResponse(id=block.id, height=block.height)

    def StateSummaryAccept(self, request: pb.StateSummaryAcceptRequest) -> pb.StateSummaryAcceptResponse:
        if self.mode != pb.StateSummaryAcceptResponse.MODE_SKIPPED:
            self.accept(self.parse(request.bytes))
            with self.wake:
                self.synced = True
                self.wake.notify_all()
        return pb.StateSummaryAcceptResponse(mode=self.mode)

    synced = False

    def WaitForEvent(self, request: Empty, context: Any) -> pb.WaitForEventResponse:
        def wake() -> None:
            with self.wake:
                self.wake.notify_all()

        context.add_callback(wake)
        with self.wake:
            self.wake.wait_for(lambda: self.synced or not context.is_active())
        return pb.WaitForEventResponse(message=pb.MESSAGE_STATE_SYNC_FINISHED)


def test_edge_68_after_a_static_sync_has_finished_the_new_last_accepted_block_is_taken(
    start_chain: StartChain,
) -> None:
    vm = SyncingVM()
    chain = start_chain(vm)
    summaries = [block_bytes(5, 5, bytes(32)), b"garbage", block_bytes(9, 9, bytes(32))]
    chain.start(summaries=summaries)
    assert chain.last_accepted.height == 9
    assert chain.state is State.NORMAL_OP
    states = [call.state for name, call in vm.calls if name == "SetState"]
    assert states == [pb.STATE_STATE_SYNCING, pb.STATE_BOOTSTRAPPING, pb.STATE_NORMAL_OP]
    accepted = [call.bytes for name, call in vm.calls if name == "StateSummaryAccept"]
    assert accepted == [summaries[2]]


def test_an_ongoing_sync_continues_if_a_peer_still_offers_its_summary(start_chain: StartChain) -> None:
    vm = SyncingVM()
    old, new = block_bytes(5, 5, bytes(32)), block_bytes(9, 9, bytes(32))
    vm.ongoing_summary = old
    chain = start_chain(vm)
    chain.start(summaries=[new, old])
    assert chain.last_accepted.height == 5


@pytest.mark.parametrize("mode", ["MODE_SKIPPED", "MODE_DYNAMIC", "MODE_UNSPECIFIED"])
def test_a_skipped_or_dynamic_sync_waits_for_nothing(start_chain: StartChain, mode: str) -> None:
    vm = SyncingVM()
    vm.mode = pb.StateSummaryAcceptResponse.Mode.Value(mode)
    chain = start_chain(vm)
    chain.start(summaries=[block_bytes(9, 9, bytes(32))])
    assert chain.last_accepted.height == (0 if mode == "MODE_SKIPPED" else 9)


def test_without_an_acceptable_summary_bootstrapping_begins(start_chain: StartChain) -> None:
    vm = SyncingVM()
    chain = start_chain(vm)
    chain.start(summaries=[b"garbage"])
    assert chain.state is State.NORMAL_OP
    assert "StateSummaryAccept" not in names(vm)


def test_edge_67_any_error_but_not_found_of_the_ongoing_summary_stops_the_chain(
    start_chain: StartChain,
) -> None:
    class BrokenVM(SyncingVM):
        def GetOngoingSyncStateSummary(self, request: Empty) -> pb.GetOngoingSyncStateSummaryResponse:
            return pb.GetOngoingSyncStateSummaryResponse(err=pb.ERROR_CLOSED)

    with pytest.raises(ChainFatal, match="GetOngoingSyncStateSummary: closed"):
        start_chain(BrokenVM()).start()


def test_edge_66_a_vm_without_state_sync_may_say_so_by_the_enum(start_chain: StartChain) -> None:
    class PlainVM(BareVM):
        def StateSyncEnabled(self, request: Empty) -> pb.StateSyncEnabledResponse:
            return pb.StateSyncEnabledResponse(err=pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED)

        def GetLastStateSummary(self, request: Empty) -> pb.GetLastStateSummaryResponse:
            return pb.GetLastStateSummaryResponse(err=pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED)

    chain = start_chain(PlainVM())
    chain.start()
    assert chain.state is State.NORMAL_OP
    with pytest.raises(CallFailed, match="vm does not implement StateSyncableVM interface"):
        chain.state_sync.last()


# Events -------------------------------------------------------------------------------------------


def test_an_event_comes_once_until_something_changes(vm: BareVM, chain: Chain) -> None:
    vm.propose(b"1")
    assert chain.next_event(DEADLINE_S) is Event.BUILD_BLOCK
    assert chain.next_event(0.05) is None, "the VM is asked again only after a change"
    vm.pending.clear()
    with pytest.raises(CallFailed):
        chain.build_block()
    vm.propose(b"2")
    assert chain.next_event(DEADLINE_S) is Event.BUILD_BLOCK


def test_a_change_cancels_the_call_in_flight_and_asks_again(start_chain: StartChain) -> None:
    class WatchedVM(BareVM):
        def __init__(self) -> None:
            super().__init__()
            self.asked = threading.Condition()

        def WaitForEvent(self, request: Empty, context: Any) -> pb.WaitForEventResponse:
            with self.asked:
                self.asked.notify_all()
            return super().WaitForEvent(request, context)

        def is_asked_after(self, earlier: str) -> bool:
            order = [name for name, _ in self.calls]
            return "WaitForEvent" in order[order.index(earlier) :]

    vm = WatchedVM()
    chain = start_chain(vm)
    chain.start()
    block = processing(chain, chain.last_accepted, b"1")
    vm.calls.clear()
    chain.prefer(block.id)
    with vm.asked:
        assert vm.asked.wait_for(lambda: vm.is_asked_after("SetPreference"), DEADLINE_S)


def test_a_failing_wait_for_event_is_repeated(start_chain: StartChain) -> None:
    class StutteringVM(BareVM):
        failures = 2

        def WaitForEvent(self, request: Empty, context: Any) -> pb.WaitForEventResponse:
            if self.failures:
                self.failures -= 1
                raise ValueError("not now")
            return super().WaitForEvent(request, context)

    vm = StutteringVM()
    chain = start_chain(vm)
    vm.propose(b"1")
    chain.start()
    assert chain.next_event(DEADLINE_S) is Event.BUILD_BLOCK


def test_an_event_that_does_not_exist_takes_the_turn_and_is_skipped(start_chain: StartChain) -> None:
    class OddVM(BareVM):
        def __init__(self) -> None:
            super().__init__()
            self.was_odd = threading.Event()

        def WaitForEvent(self, request: Empty, context: Any) -> pb.WaitForEventResponse:
            if self.state == State.NORMAL_OP and not self.was_odd.is_set():
                self.was_odd.set()
                return pb.WaitForEventResponse(message=pb.Message.ValueType(77))
            return super().WaitForEvent(request, context)

        state = 0

        def SetState(self, request: pb.SetStateRequest) -> pb.SetStateResponse:
            self.state = request.state
            return super().SetState(request)

    vm = OddVM()
    chain = start_chain(vm)
    chain.start()
    assert vm.was_odd.wait(DEADLINE_S)
    assert chain.next_event(0.3) is None
    vm.propose(b"1")
    assert chain.produce().height == 1


def test_events_can_be_resumed_after_their_end(vm: BareVM, chain: Chain) -> None:
    chain.end_events()
    vm.propose(b"1")
    assert chain.next_event(DEADLINE_S) is None
    chain.resume_events()
    assert chain.next_event(DEADLINE_S) is Event.BUILD_BLOCK


@pytest.mark.parametrize("version", [41, 42])
def test_shutdown_ends_the_event_loop_and_the_vm(vm: BareVM, start_chain: StartChain, version: int) -> None:
    chain = start_chain(vm, version)
    chain.start()
    chain.shutdown()
    chain.shutdown()
    assert chain.next_event() is None
    assert names(vm)[-1] == "Shutdown"
    assert names(vm).count("Shutdown") == 1


def test_a_shutdown_that_fails_is_logged_with_the_vms_own_text(
    start_chain: StartChain, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(BareVM):
        def Shutdown(self, request: Empty) -> Empty:
            raise RuntimeError("the cellar is locked")

    chain = start_chain(Failing())
    chain.start()
    chain.shutdown()
    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert message.startswith("the VM failed to shut down: Shutdown: ")
    assert message.endswith("the cellar is locked")


# Peers, health, metrics ---------------------------------------------------------------------------


def test_the_node_itself_is_the_first_peer(vm: BareVM, chain: Chain) -> None:
    peer = NodeID(bytes(range(20)))
    chain.connect(Peer(peer, name="metalgo", version=(1, 13, 5)))
    chain.disconnect(peer)
    connected = [call for name, call in vm.calls if name == "Connected"]
    assert [call.node_id for call in connected] == [chain.config.identity.node_id, peer]
    told = connected[1]
    assert (told.name, told.major, told.minor, told.patch) == ("metalgo", 1, 13, 5)
    assert [call.node_id for name, call in vm.calls if name == "Disconnected"] == [peer]


def test_health_is_the_vms_json_and_an_error_is_benign(start_chain: StartChain) -> None:
    class SickVM(BareVM):
        details: bytes | None = b'{"health": 1}'

        def Health(self, request: Empty) -> pb.HealthResponse:
            if self.details is None:
                raise ValueError("sick")
            return pb.HealthResponse(details=self.details)

    vm = SickVM()
    chain = start_chain(vm)
    chain.start()
    assert chain.health() == {"health": 1}
    vm.details = b""
    assert chain.health() is None
    vm.details = b"{"
    with pytest.raises(InvalidResponse, match="the details are not JSON"):
        chain.health()
    vm.details = None
    with pytest.raises(CallFailed, match="sick"):
        chain.health()
    assert chain.engine.fault is None


def test_edge_63_metrics_that_a_node_would_refuse_are_refused(start_chain: StartChain) -> None:
    class MeasuringVM(BareVM):
        good = True

        def Gather(self, request: Empty) -> pb.GatherResponse:
            metric = metrics_pb2.Metric(gauge=metrics_pb2.Gauge(value=1))
            if not self.good:
                metric.ClearField("gauge")
            family = metrics_pb2.MetricFamily(name="vm_x", type=metrics_pb2.GAUGE, metric=[metric])
            return pb.GatherResponse(metric_families=[family])

    vm = MeasuringVM()
    chain = start_chain(vm, alias="mine")
    chain.start()
    [family] = chain.gather()
    assert family.name == f"metal_{chain.config.vm_id}_vm_x"
    assert [(label.name, label.value) for label in family.metric[0].label] == [("chain", "mine")]
    vm.good = False
    with pytest.raises(InvalidMetrics, match="a metric has no gauge"):
        chain.gather()
