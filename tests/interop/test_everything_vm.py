"""Every power of a Python VM, with every node's own host code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shared import Shared
from vmsdk import ID

from . import jsonrpc
from .chain import GENESIS, Chain
from .everything.block import HEADER, NO_P_CHAIN_HEIGHT
from .gohost import (
    BOOTSTRAPPING,
    BUILD_BLOCK,
    NORMAL_OPERATION,
    STATE_SYNC_FINISHED,
    STATE_SYNCING,
    Block,
    GoHost,
    GoHostError,
)
from .jsonrpc import JSONRPCError
from .nodes import Node
from .pyplugin import EVERYTHING, python_plugin

PEER = bytes(range(100, 120))
OTHER_PEER = bytes(range(120, 140))
SKIPPED, STATIC, DYNAMIC = 1, 2, 3


@pytest.fixture(scope="module")
def plugin(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return python_plugin(tmp_path_factory.mktemp("plugin"), EVERYTHING, node.protocol)


@pytest.fixture(scope="module")
def chains(node: Node, plugin: Path) -> Iterator[Shared[Chain]]:
    with Shared(lambda: running_chain(node, plugin)) as shared:
        yield shared


@contextlib.contextmanager
def running_chain(node: Node, plugin: Path) -> Iterator[Chain]:
    with GoHost(node) as host:
        yield Chain(host, plugin)
        host.shutdown()


@pytest.fixture
def chain(chains: Shared[Chain], request: pytest.FixtureRequest) -> Iterator[Chain]:
    """One chain for most of this file: of earlier tests it has nothing but their blocks."""
    with chains.lent(request.session) as chain:
        chain.reset()
        yield chain


@pytest.fixture
def host(chain: Chain) -> GoHost:
    return chain.host


@pytest.fixture
def new_host(node: Node) -> Iterator[GoHost]:
    with GoHost(node) as host:
        yield host


def child(
    parent: Block, payload: bytes = b"", seconds: int = 0, nanos: int = 0, *, wants_context: bool = False
) -> bytes:
    return (
        HEADER.pack(parent.id, parent.height + 1, seconds, nanos, wants_context, NO_P_CHAIN_HEIGHT) + payload
    )


# Initialize


def test_initialize_passes_everything_that_the_node_sends(chain: Chain, host: GoHost, node: Node) -> None:
    told = chain.ask("context")
    who = host.info()
    assert told["network_id"] == who.network_id
    for name in (
        "node_id",
        "subnet_id",
        "chain_id",
        "x_chain_id",
        "c_chain_id",
        "avax_asset_id",
        "public_key",
    ):
        assert bytes.fromhex(told[name]) == getattr(who, name), name
    assert told["chain_data_dir"] == who.chain_data_dir
    assert told["protocol_version"] == node.protocol
    assert bytes.fromhex(told["genesis"]) == GENESIS


def test_network_upgrades_are_those_that_the_node_knows(chain: Chain, node: Node) -> None:
    upgrades = chain.ask("context")["upgrades"]
    if node.protocol < 37:
        assert upgrades is None
        return
    since = {
        "etna_time": 37,
        "fortuna_time": 39,
        "granite_time": 40,
        "helicon_time": 44,
        "granite_epoch_duration": 44,
    }
    expected = {name for name, protocol in since.items() if node.protocol >= protocol}
    if node.name == "44-first":
        expected -= {"helicon_time", "granite_epoch_duration"}
    assert {name for name in since if name in upgrades} == expected


def test_upgrade_and_config_reach_the_vm(new_host: GoHost, plugin: Path) -> None:
    new_host.start(plugin)
    new_host.initialize(GENESIS, upgrade=b"an upgrade", config=b"a config")
    new_host.set_state(NORMAL_OPERATION)
    told = jsonrpc.call(new_host.create_handlers(), "everything.context", "/rpc")
    assert bytes.fromhex(told["upgrade"]) == b"an upgrade"
    assert bytes.fromhex(told["config"]) == b"a config"


def test_an_initialize_that_fails_returns_its_text_and_leaves_the_process(
    new_host: GoHost, plugin: Path
) -> None:
    new_host.start(plugin)
    with pytest.raises(GoHostError, match="initialize was told to fail"):
        new_host.initialize(GENESIS, config=b"fail")
    assert new_host.version() == "7.8.9"


def test_states_come_in_the_node_s_order(new_host: GoHost, plugin: Path) -> None:
    new_host.start(plugin)
    new_host.initialize(GENESIS)
    for state in (STATE_SYNCING, BOOTSTRAPPING, NORMAL_OPERATION):
        new_host.set_state(state)
    seen = jsonrpc.call(new_host.create_handlers(), "everything.seen", "/rpc")
    assert [state.replace("_", " ").lower() for state in seen["states"]] == [
        "state syncing",
        "bootstrapping",
        "normal op",
    ]


# Blocks


def test_a_block_of_five_mebibytes_passes_in_both_directions(chain: Chain, host: GoHost) -> None:
    payload = bytes(range(256)) * (5 << 12)  # gRPC's own limit is 4 MiB
    block = host.parse(child(chain.last, payload))
    host.verify(block.id)
    host.accept(block.id)
    assert host.get_ancestors(block.id, max_duration_ns=10**10)[0] == block.raw


@pytest.mark.parametrize(
    ("seconds", "nanos"),
    [(0, 0), (-62_135_596_800, 0), (1_700_000_000, 123_456_789), (253_402_300_799, 999_999_999), (-1, 1)],
)
def test_block_times_keep_every_nanosecond(chain: Chain, host: GoHost, seconds: int, nanos: int) -> None:
    block = host.parse(child(chain.last, b"", seconds, nanos))
    assert (block.seconds, block.nanoseconds) == (seconds, nanos)
    verified = host.verify(block.id)
    assert (verified.seconds, verified.nanoseconds) == (seconds, nanos)
    host.reject(block.id)


def test_a_p_chain_height_reaches_a_block_that_wants_it(chain: Chain, host: GoHost) -> None:
    block = chain.build(b"with context", p_chain_height=95)
    assert block.verify_with_context
    host.verify(block.id, p_chain_height=95)
    host.verify(block.id, p_chain_height=96)  # the same block in another wrapping of the proposervm
    host.accept(block.id)
    assert chain.ask("seen")["verifications"] == [95, 96]


def test_a_p_chain_height_of_zero_is_not_the_same_as_none(chain: Chain, host: GoHost) -> None:
    block = host.parse(child(chain.last, wants_context=True))
    with pytest.raises(GoHostError, match="P-chain's height 0 is too long ago"):
        host.verify(block.id, p_chain_height=0)
    host.verify(block.id)
    assert chain.ask("seen")["verifications"] == [0, None]
    host.reject(block.id)


def test_an_invalid_block_is_recognised_by_its_text(chain: Chain, host: GoHost) -> None:
    block = host.parse(child(chain.last, b"invalid"))
    for _ in range(2):  # a failure is not remembered
        with pytest.raises(GoHostError, match="the payload says so"):
            host.verify(block.id)


def test_rejected_blocks_are_reported_one_by_one(chain: Chain, host: GoHost) -> None:
    winner = host.parse(child(chain.last, b"winner"))
    loser = host.parse(child(chain.last, b"loser"))
    loser_child = host.parse(child(loser, b"loser's child"))
    for block in (winner, loser, loser_child):
        host.verify(block.id)
    host.accept(winner.id)
    host.reject(loser.id)
    host.reject(loser_child.id)
    assert chain.ask("seen")["rejected"] == [loser.id.hex(), loser_child.id.hex()]


def test_preferring_an_unknown_block_is_an_error(chain: Chain, host: GoHost) -> None:
    with pytest.raises(GoHostError):
        host.set_preference(b"\x07" * 32)


def test_work_is_reported_again_until_it_is_done(new_host: GoHost, plugin: Path, node: Node) -> None:
    chain = Chain(new_host, plugin)
    chain.ask("propose", payload="01")
    chain.ask("propose", payload="02")
    for expected in (b"\x01", b"\x02"):
        assert new_host.wait_for_event() == BUILD_BLOCK
        if node.protocol >= 42:
            assert new_host.wait_for_event() == BUILD_BLOCK  # the node dropped the first answer
        block = new_host.build()
        new_host.verify(block.id)
        new_host.set_preference(block.id)
        new_host.accept(block.id)
        assert block.raw[HEADER.size :] == expected
    with pytest.raises(GoHostError):
        new_host.wait_for_event(timeout_s=0.5)


def test_an_event_wait_ends_with_the_shutdown(new_host: GoHost, plugin: Path) -> None:
    new_host.run(plugin, GENESIS)
    waiting = new_host.submit("wait_for_event")
    new_host.version()  # by when the wait, which was asked for before, most likely has reached the plugin
    new_host.shutdown()
    with pytest.raises(GoHostError, match=r"(?i)cancell?ed"):
        waiting.result(60)


# State sync


def summary_of(mode: int, block: bytes, *, waits: bool = False) -> bytes:
    return bytes([mode, waits]) + block


def test_state_sync_is_on_where_the_vm_says_so(new_host: GoHost, plugin: Path) -> None:
    Chain(new_host, plugin, config=b"sync")
    assert new_host.state_sync_enabled() is True
    new_host.shutdown()
    Chain(new_host, plugin)
    assert new_host.state_sync_enabled() is False


def test_summaries_are_served_parsed_and_missed(chain: Chain, host: GoHost) -> None:
    block = chain.accept(b"block")
    last = host.last_state_summary()
    assert (last.height, last.raw) == (block.height, summary_of(STATIC, block.raw))
    assert last.id == ID.of(last.raw)
    assert host.state_summary(chain.last.height).raw == summary_of(STATIC, chain.last.raw)
    assert host.parse_state_summary(last.raw) == last
    with pytest.raises(GoHostError, match="not found"):
        host.state_summary(block.height + 1)
    with pytest.raises(GoHostError, match="not found"):
        host.ongoing_state_summary()
    with pytest.raises(GoHostError, match="this is not a summary"):
        host.parse_state_summary(b"rubbish")


@pytest.mark.parametrize("mode", [STATIC, DYNAMIC])
def test_a_sync_moves_the_last_accepted_block_and_reports_its_end(
    new_host: GoHost, plugin: Path, mode: int
) -> None:
    new_host.start(plugin)
    genesis = new_host.initialize(GENESIS, config=b"sync").last_accepted
    new_host.set_state(STATE_SYNCING)
    far = HEADER.pack(genesis.id, 1000, 1_700_000_000, 0, False, NO_P_CHAIN_HEIGHT) + b"synced"
    assert new_host.accept_state_summary(summary_of(mode, far)) == mode
    assert new_host.wait_for_event() == STATE_SYNC_FINISHED
    last = new_host.set_state(BOOTSTRAPPING)
    assert (last.height, last.raw) == (1000, far)
    assert new_host.get_block_id_at_height(1000) == last.id


def test_an_unfinished_sync_is_found_after_a_restart(new_host: GoHost, plugin: Path) -> None:
    new_host.start(plugin)
    genesis = new_host.initialize(GENESIS, config=b"sync").last_accepted
    new_host.set_state(STATE_SYNCING)
    summary = summary_of(STATIC, child(genesis), waits=True)
    assert new_host.accept_state_summary(summary) == STATIC
    new_host.shutdown()
    new_host.start(plugin)
    new_host.initialize(GENESIS, config=b"sync")
    assert new_host.ongoing_state_summary().raw == summary


def test_a_summary_may_be_skipped(chain: Chain, host: GoHost) -> None:
    assert host.accept_state_summary(summary_of(SKIPPED, chain.last.raw)) == SKIPPED
    assert host.last_accepted() == chain.last


# Peers


def test_a_peer_s_request_is_answered(chain: Chain, host: GoHost) -> None:
    host.app_request(PEER, 7, b"hello")
    sent = host.next_sent()
    assert (sent.kind, sent.node_ids, sent.request_id, sent.bytes) == ("response", (PEER,), 7, b"HELLO")
    (received,) = chain.ask("received", count=1)
    assert received["node_id"] == PEER.hex()
    assert 0 < received["seconds"] <= 11


def test_a_refusal_goes_to_the_peer_with_its_code(chain: Chain, host: GoHost) -> None:
    host.app_request(PEER, 8, b"refuse")
    sent = host.next_sent()
    assert (sent.kind, sent.request_id, sent.code, sent.message) == ("error", 8, 7, "refused")


def test_a_bug_in_a_handler_is_contained(chain: Chain, host: GoHost) -> None:
    host.app_request(PEER, 9, b"bug")
    sent = host.next_sent()
    assert (sent.kind, sent.request_id, sent.code) == ("error", 9, -1)
    assert host.last_accepted() == chain.last


def test_a_vm_may_mean_to_stop_the_chain(new_host: GoHost, plugin: Path) -> None:
    new_host.run(plugin, GENESIS)
    with pytest.raises(GoHostError, match="told to be fatal"):
        new_host.app_request(PEER, 9, b"fatal")


def test_an_answer_may_come_later(chain: Chain, host: GoHost) -> None:
    host.app_request(PEER, 10, b"later")
    chain.ask("sendResponse", node_id=PEER.hex(), request_id=10, data=b"at last".hex())
    sent = host.next_sent()
    assert (sent.kind, sent.request_id, sent.bytes) == ("response", 10, b"at last")


def test_requests_of_the_vm_reach_every_node_and_their_outcomes_come_back(chain: Chain, host: GoHost) -> None:
    chain.ask("sendRequest", node_ids=[OTHER_PEER.hex(), PEER.hex()], request_id=2**32 - 1, data=b"ask".hex())
    sent = host.next_sent()
    assert (sent.kind, sent.node_ids, sent.request_id) == ("request", (PEER, OTHER_PEER), 2**32 - 1)
    host.app_response(PEER, 2**32 - 1, b"told")
    host.app_request_failed(OTHER_PEER, 2**32 - 1, -1, "timed out")
    assert chain.ask("received", count=2) == [
        {"kind": "response", "node_id": PEER.hex(), "request_id": 2**32 - 1, "bytes": b"told".hex()},
        {
            "kind": "failed",
            "node_id": OTHER_PEER.hex(),
            "request_id": 2**32 - 1,
            "code": -1,
            "message": "timed out",
        },
    ]


def test_gossip_goes_both_ways(chain: Chain, host: GoHost) -> None:
    host.app_gossip(PEER, b"news")
    assert chain.ask("received", count=1) == [
        {"kind": "gossip", "node_id": PEER.hex(), "bytes": b"news".hex()}
    ]
    chain.ask(
        "sendGossip", data=b"more".hex(), node_ids=[PEER.hex()], validators=3, non_validators=2, peers=1
    )
    sent = host.next_sent()
    assert (sent.kind, sent.bytes, sent.node_ids) == ("gossip", b"more", (PEER,))
    assert (sent.validators, sent.non_validators, sent.peers) == (3, 2, 1)


def test_a_request_to_itself_is_looped_back(chain: Chain, host: GoHost) -> None:
    host.configure_sender(loop=True)
    me = host.info().node_id
    chain.ask("sendRequest", node_ids=[me.hex()], request_id=1, data=b"echo".hex())
    request, response = chain.ask("received", count=2)
    assert (request["kind"], request["node_id"]) == ("request", me.hex())
    assert (response["kind"], response["bytes"]) == ("response", b"ECHO".hex())
    assert [host.next_sent().kind for _ in range(2)] == ["request", "response"]


def test_a_sender_that_fails_gives_the_vm_the_reason(chain: Chain, host: GoHost) -> None:
    host.configure_sender(failure="the network is down")
    with pytest.raises(JSONRPCError, match="the network is down"):
        chain.ask("sendRequest", node_ids=[PEER.hex()], request_id=1, data="")


def test_peers_tell_their_version_and_go(chain: Chain, host: GoHost) -> None:
    host.connected(PEER, "metalgo", (1, 14, 2))
    host.disconnected(PEER)
    assert chain.ask("received", count=2) == [
        {"kind": "connected", "node_id": PEER.hex(), "version": "metalgo/1.14.2"},
        {"kind": "disconnected", "node_id": PEER.hex()},
    ]


def test_other_chains_can_be_asked_up_to_protocol_36(chain: Chain, host: GoHost, node: Node) -> None:
    other = host.info().x_chain_id
    if node.protocol >= 37:
        with pytest.raises(JSONRPCError, match="RemovedFromProtocol: "):
            chain.ask("sendCrossChainRequest", chain_id=other.hex(), request_id=1, data="")
        return
    host.cross_chain_request(3, b"hello")
    sent = host.next_sent()
    assert (sent.kind, sent.chain_id, sent.request_id) == ("cross_chain_response", other, 3)
    assert sent.bytes == b"HELLO"
    host.cross_chain_request(4, b"refuse")
    sent = host.next_sent()
    assert (sent.kind, sent.code, sent.message) == ("cross_chain_error", 7, "refused")
    chain.ask("sendCrossChainRequest", chain_id=other.hex(), request_id=5, data=b"ask".hex())
    sent = host.next_sent()
    assert (sent.kind, sent.chain_id, sent.bytes) == ("cross_chain_request", other, b"ask")
    host.cross_chain_response(5, b"told")
    host.cross_chain_request_failed(6, -1, "timed out")
    assert [each["kind"] for each in chain.ask("received", count=4)] == [
        "chain request",
        "chain request",
        "chain response",
        "chain failed",
    ]


# Health and metrics


def test_health_is_the_vm_s_own(chain: Chain, host: GoHost) -> None:
    healthy = {"database": None, "health": {"height": chain.last.height}}
    assert host.health() == healthy
    chain.ask("setHealthy", healthy=False)
    with pytest.raises(GoHostError, match="told to be unhealthy"):
        host.health()
    chain.ask("setHealthy", healthy=True)
    assert host.health() == healthy


def test_the_vm_s_metrics_of_every_type_pass_the_node_s_merge(chain: Chain, host: GoHost, node: Node) -> None:
    block = chain.accept(b"one more")
    platform = "metal" if node.application == "metalgo" else "avalanche"
    plugin = "plugin_" if node.protocol == 35 else ""
    label = f'chain="{ID(host.info().chain_id)}"'
    lines = [line for line in host.gather().splitlines() if "_vm_" in line and label in line]
    shown = {line.split("{")[0].removeprefix(f"{platform}_").split("_", 1)[1]: line for line in lines}
    assert shown[f"{plugin}vm_blocks_total"].endswith(f" {block.height + 1}")
    assert shown[f"{plugin}vm_level"].endswith(" 3.5")
    assert 'kind="high"' in shown[f"{plugin}vm_level"]
    assert shown[f"{plugin}vm_size_count"].endswith(" 1")
    assert shown[f"{plugin}vm_duration_sum"].endswith(" 0.25")
    buckets = [line for line in lines if "vm_size_bucket" in line]
    assert [line.split()[-1] for line in buckets] == ["0", "1", "1"]


def test_metrics_can_be_gathered_before_initialize(new_host: GoHost, plugin: Path) -> None:
    new_host.start(plugin)
    assert "vm_" not in new_host.gather(from_plugin=True)
    new_host.initialize(GENESIS)
    assert "vm_blocks_total 1" in new_host.gather(from_plugin=True)
