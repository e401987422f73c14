"""The timestamp VM keeps the plugin contract with every node's own host code, written in Go or with
vmsdk.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.shared import Shared
from vmsdk import ID

from . import jsonrpc
from .build import build
from .gohost import (
    BOOTSTRAPPING,
    BUILD_BLOCK,
    NORMAL_OPERATION,
    Block,
    GoHost,
    GoHostError,
    Handlers,
)
from .nodes import NODES, Node
from .pyplugin import TIMESTAMP, python_plugin

GENESIS = b"interop genesis"
BLOCKS = 200


def go_plugin(node: Node) -> Path:
    return build("timestampvm", node)


@pytest.fixture(scope="module", params=["go", "python"])
def plugin(request: pytest.FixtureRequest, node: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin in each language; it speaks the node's protocol version."""
    if request.param == "go":
        return go_plugin(node)
    return python_plugin(tmp_path_factory.mktemp("plugin"), TIMESTAMP, node.protocol)


@pytest.fixture(scope="module")
def chains(node: Node, plugin: Path) -> Iterator[Shared[tuple[GoHost, Handlers]]]:
    with Shared(lambda: running_chain(node, plugin)) as shared:
        yield shared


@contextlib.contextmanager
def running_chain(node: Node, plugin: Path) -> Iterator[tuple[GoHost, Handlers]]:
    with GoHost(node) as host:
        host.run(plugin, GENESIS)
        yield host, host.create_handlers()
        host.shutdown()


@pytest.fixture
def chain(
    chains: Shared[tuple[GoHost, Handlers]], request: pytest.FixtureRequest
) -> Iterator[tuple[GoHost, Handlers]]:
    with chains.lent(request.session) as chain:
        yield chain


@pytest.fixture
def shared(chain: tuple[GoHost, Handlers]) -> GoHost:
    """A host with a chain for the tests that leave it as good as they find it."""
    return chain[0]


@pytest.fixture
def handlers(chain: tuple[GoHost, Handlers]) -> Handlers:
    """What the shared chain serves."""
    return chain[1]


def encoded(
    block: Block, *, height: int | None = None, seconds: int | None = None, data: bytes = b""
) -> bytes:
    """A block that follows *block*."""
    return b"".join(
        (
            block.id,
            (block.height + 1 if height is None else height).to_bytes(8, "big"),
            (block.seconds if seconds is None else seconds).to_bytes(8, "big", signed=True),
            data.ljust(32, b"\0"),
        )
    )


def propose(handlers: Handlers, data: bytes) -> None:
    assert jsonrpc.call(handlers, "timestampvm.proposeBlock", data="0x" + data.hex()) == {"success": True}


def accept_next(host: GoHost, handlers: Handlers, data: bytes) -> Block:
    """One block, the way a node makes it."""
    propose(handlers, data)
    assert host.wait_for_event() == BUILD_BLOCK
    block = host.build()
    host.verify(block.id)
    host.set_preference(block.id)
    return host.accept(block.id)


def test_a_registration_launch_returns_the_version_and_ends_the_process(host: GoHost, plugin: Path) -> None:
    assert host.register(plugin)
    host.start(plugin)  # nothing of the first launch is in the way
    host.shutdown()


def test_the_genesis_block_is_accepted_in_every_state(host: GoHost, plugin: Path) -> None:
    host.start(plugin)
    genesis = host.initialize(GENESIS).last_accepted
    assert (genesis.height, genesis.parent_id, genesis.seconds) == (0, bytes(32), 0)
    assert genesis.raw == bytes(48) + GENESIS.ljust(32, b"\0")
    assert genesis.id == ID.of(genesis.raw)
    assert host.set_state(BOOTSTRAPPING) == genesis
    assert host.set_state(NORMAL_OPERATION) == genesis
    assert host.get_block_id_at_height(0) == genesis.id


def test_two_hundred_blocks_are_built_and_accepted_and_survive_a_restart(host: GoHost, plugin: Path) -> None:
    genesis = host.run(plugin, GENESIS)
    handlers = host.create_handlers()
    host.call(
        "cycle",
        count=BLOCKS,
        path="",
        body='{"jsonrpc":"2.0","id":1,"method":"timestampvm.proposeBlock","params":{"data":"0x{{data}}"}}',
    )
    last = host.last_accepted()
    assert last.height == BLOCKS
    assert jsonrpc.call(handlers, "timestampvm.lastAccepted") == {"id": str(ID(last.id)), "height": BLOCKS}
    host.shutdown()

    assert host.run(plugin, GENESIS) == last
    assert host.get_block_id_at_height(BLOCKS) == last.id
    assert host.get_block(genesis.id).height == 0


def test_a_block_carries_what_was_proposed(shared: GoHost, handlers: Handlers) -> None:
    parent = shared.last_accepted()
    block = accept_next(shared, handlers, b"hello")
    assert block.parent_id == parent.id
    assert block.raw[48:] == b"hello".ljust(32, b"\0")
    expected = {
        "id": str(ID(block.id)),
        "parentID": str(ID(parent.id)),
        "height": parent.height + 1,
        "timestamp": block.seconds,
        "data": "0x" + b"hello".ljust(32, b"\0").hex(),
    }
    assert jsonrpc.call(handlers, "timestampvm.getBlock", id=str(ID(block.id))) == expected
    assert jsonrpc.call(handlers, "timestampvm.getBlock") == expected


def test_of_two_branches_one_is_accepted_and_the_other_is_rejected(
    shared: GoHost, handlers: Handlers
) -> None:
    parent = shared.last_accepted()
    left = shared.parse(encoded(parent, data=b"left"))
    right = shared.parse(encoded(parent, seconds=parent.seconds + 1, data=b"right"))
    right_child = shared.parse(encoded(right, seconds=right.seconds + 1, data=b"right child"))
    for block in (left, right, right_child):
        shared.verify(block.id)
    shared.set_preference(right_child.id)
    shared.set_preference(left.id)
    assert shared.get_block(right_child.id).raw == right_child.raw
    shared.accept(left.id)
    shared.reject(right.id)
    shared.reject(right_child.id)
    assert shared.last_accepted().id == left.id
    assert shared.get_block_id_at_height(left.height) == left.id
    assert accept_next(shared, handlers, b"after the fork").parent_id == left.id


@pytest.mark.parametrize(
    ("more_height", "more_seconds"),
    [(2, 100), (1, 1 << 36), (1, -1)],
    ids=["wrong height", "far in the future", "before its parent"],
)
def test_an_invalid_block_is_refused_and_the_chain_goes_on(
    shared: GoHost, handlers: Handlers, more_height: int, more_seconds: int
) -> None:
    parent = accept_next(shared, handlers, b"parent")  # its time is not the genesis block's, 0
    bad = shared.parse(
        encoded(
            parent,
            height=parent.height + more_height,
            seconds=parent.seconds + more_seconds,
            data=b"bad",
        )
    )
    with pytest.raises(GoHostError):
        shared.verify(bad.id)
    assert accept_next(shared, handlers, b"good").parent_id == parent.id


@pytest.mark.parametrize("seconds", [-1, 253_402_300_800, -(2**63)])
def test_a_time_that_the_wire_cannot_carry_is_not_a_block(shared: GoHost, seconds: int) -> None:
    with pytest.raises(GoHostError, match=r"is (not )?within 0 and 253402300799"):
        shared.parse(encoded(shared.last_accepted(), seconds=seconds))


def test_a_block_ten_seconds_ahead_is_the_last_that_is_valid(shared: GoHost) -> None:
    parent = shared.last_accepted()
    # Whole seconds pass between here and the plugin's own clock, so the limit is tried from both
    # sides of a margin.
    near = shared.parse(encoded(parent, seconds=int(time.time()) + 8))
    far = shared.parse(encoded(parent, seconds=int(time.time()) + 70))
    shared.verify(near.id)
    shared.reject(near.id)
    with pytest.raises(GoHostError):
        shared.verify(far.id)


@pytest.mark.parametrize("data", [b"", b"\xff" * 7, bytes(79), bytes(81)], ids=["none", "few", "79", "81"])
def test_bytes_that_are_not_a_block_are_refused(shared: GoHost, data: bytes) -> None:
    before = shared.last_accepted()
    with pytest.raises(GoHostError):
        shared.parse(data)
    assert shared.last_accepted() == before


def test_many_blocks_are_parsed_in_one_call_or_none_is(shared: GoHost) -> None:
    parent = shared.last_accepted()
    blocks = [encoded(parent, data=bytes([n])) for n in range(50)]
    assert [block.raw for block in shared.batched_parse(blocks)] == blocks
    assert shared.batched_parse([]) == []
    with pytest.raises(GoHostError):
        shared.batched_parse([encoded(parent, data=b"new"), b"no block"])


def test_ancestors_come_newest_first_within_the_limits(shared: GoHost, handlers: Handlers) -> None:
    chain = [accept_next(shared, handlers, bytes([n])) for n in range(5)]
    newest_first = [block.raw for block in reversed(chain)]
    tip = chain[-1].id
    minute = 60 * 1_000_000_000
    all_of_them = shared.get_ancestors(tip, max_duration_ns=minute)
    assert all_of_them[:5] == newest_first
    assert len(all_of_them) == chain[-1].height + 1
    assert shared.get_ancestors(tip, max_blocks=2, max_duration_ns=minute) == newest_first[:2]
    two_blocks = 2 * (len(chain[-1].raw) + 4)
    assert shared.get_ancestors(tip, max_size=two_blocks, max_duration_ns=minute) == newest_first[:2]
    assert shared.get_ancestors(tip, max_size=two_blocks - 1, max_duration_ns=minute) == newest_first[:1]
    assert shared.get_ancestors(tip, max_size=-1, max_duration_ns=minute) == newest_first[:1]
    assert shared.get_ancestors(tip, max_duration_ns=-1) == newest_first[:1]
    assert shared.get_ancestors(b"\x07" * 32) == []


def test_what_is_not_there_is_not_found(shared: GoHost) -> None:
    with pytest.raises(GoHostError, match="not found"):
        shared.get_block(b"\x07" * 32)
    with pytest.raises(GoHostError, match="not found"):
        shared.get_block_id_at_height(shared.last_accepted().height + 1)


def test_nothing_to_build_is_an_error_and_no_more(shared: GoHost, handlers: Handlers) -> None:
    parent = shared.last_accepted()
    with pytest.raises(GoHostError):
        shared.build()
    assert accept_next(shared, handlers, b"now").parent_id == parent.id


def test_an_event_reports_work_and_waits_while_there_is_none(host: GoHost, plugin: Path) -> None:
    host.run(plugin, GENESIS)
    handlers = host.create_handlers()
    waiting = host.submit("wait_for_event")
    host.cancel(waiting)
    with pytest.raises(GoHostError, match=r"(?i)cancell?ed"):
        waiting.result(60)
    waiting = host.submit("wait_for_event")
    propose(handlers, b"work")
    assert waiting.result(60) == {"message": BUILD_BLOCK}
    assert host.build().height == 1


def test_a_vm_without_state_sync_says_so(shared: GoHost) -> None:
    assert shared.state_sync_enabled() is False
    for getter in (shared.last_state_summary, shared.ongoing_state_summary):
        with pytest.raises(GoHostError, match="vm does not implement StateSyncableVM interface"):
            getter()
    with pytest.raises(GoHostError, match="vm does not implement StateSyncableVM interface"):
        shared.parse_state_summary(b"summary")
    with pytest.raises(GoHostError, match="vm does not implement StateSyncableVM interface"):
        shared.state_summary(1)


def test_protocol_35_reports_the_status_of_a_block(host: GoHost, plugin: Path, node: Node) -> None:
    genesis = host.run(plugin, GENESIS)
    block = host.parse(encoded(genesis))
    assert block.status == ("Processing" if node.protocol == 35 else "")
    host.verify(block.id)
    host.accept(block.id)
    host.shutdown()
    host.run(plugin, GENESIS)
    assert host.get_block(genesis.id).status == ("Accepted" if node.protocol == 35 else "")


def test_health_is_json_with_both_parts(shared: GoHost) -> None:
    assert set(shared.health()) == {"database", "health"}


def test_metrics_show_the_plugin_beside_the_node(shared: GoHost) -> None:
    text = shared.gather()
    chain = ID(shared.info().chain_id)
    assert f'chain="{chain}"' in text
    assert "process_cpu_seconds_total" in text


def test_http_is_refused_until_the_chain_runs(host: GoHost, plugin: Path) -> None:
    host.start(plugin)
    host.initialize(GENESIS)
    handlers = host.create_handlers()
    body = jsonrpc.request("timestampvm.lastAccepted")
    assert httpx.post(handlers.url(), json=body).status_code == 503
    host.set_state(BOOTSTRAPPING)
    host.set_state(NORMAL_OPERATION)
    response = httpx.post(handlers.url(), json=body)
    assert response.status_code == 200
    assert response.json()["result"]["height"] == 0


def test_peers_come_and_go(shared: GoHost) -> None:
    before = shared.last_accepted()
    shared.connected(b"\x09" * 20, "metalgo", (1, 2, 3))
    shared.disconnected(b"\x09" * 20)
    assert shared.last_accepted() == before


def test_a_plugin_that_is_killed_fails_the_call_in_flight(host: GoHost, plugin: Path, node: Node) -> None:
    host.run(plugin, GENESIS)
    waiting = host.submit("wait_for_event", timeout_ms=60_000)
    host.version()  # by when the wait, which was asked for before, most likely has reached the plugin
    host.signal(signal.SIGKILL)
    if node.protocol >= 42:
        with pytest.raises(GoHostError, match="Unavailable"):
            waiting.result(60)
    host.wait_exited()
    assert host.run(plugin, GENESIS).height == 0


def test_sigterm_before_shutdown_is_ignored(host: GoHost, plugin: Path) -> None:
    genesis = host.run(plugin, GENESIS)
    host.signal(signal.SIGTERM)
    host.signal(signal.SIGINT)
    assert host.set_state(NORMAL_OPERATION) == genesis
    host.shutdown()


def test_a_plugin_of_another_protocol_is_refused_with_both_numbers(host: GoHost, node: Node) -> None:
    other = NODES["44"] if node.protocol != 44 else NODES["45"]
    with pytest.raises(GoHostError, match="protocol version mismatch") as refused:
        host.start(go_plugin(other))
    assert f"version {node.protocol}." in refused.value.text
    assert f"version {other.protocol}." in refused.value.text
