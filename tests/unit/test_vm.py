"""What a VM has without writing it."""

from __future__ import annotations

import threading

import pytest

from vmsdk.block import Block
from vmsdk.context import Context
from vmsdk.errors import AppError
from vmsdk.ids import ID, NodeID
from vmsdk.state import State
from vmsdk.timestamp import Timestamp
from vmsdk.vm import (
    BatchedParseBlock,
    BuildBlockWithContext,
    ChainVM,
    CrossChainVM,
    GetAncestors,
    NodeVersion,
)

REQUIRED = {
    "initialize",
    "last_accepted",
    "get_block",
    "parse_block",
    "build_block",
    "get_block_id_at_height",
}


class SmallestVM(ChainVM):
    """Nothing but what must be written."""

    def initialize(self, ctx: Context, genesis: bytes, upgrade: bytes, config: bytes) -> None: ...

    def last_accepted(self) -> ID:
        return ID.EMPTY

    def get_block(self, block_id: ID) -> Block:
        raise NotImplementedError

    def parse_block(self, data: bytes) -> Block:
        raise NotImplementedError

    def build_block(self) -> Block:
        raise NotImplementedError

    def get_block_id_at_height(self, height: int) -> ID:
        raise NotImplementedError


def test_six_methods_must_be_written() -> None:
    assert ChainVM.__abstractmethods__ == REQUIRED


@pytest.mark.parametrize("missing", sorted(REQUIRED))
def test_a_vm_that_lacks_one_cannot_be_made_and_the_error_names_it(missing: str) -> None:
    incomplete = type("Incomplete", (SmallestVM,), {missing: getattr(ChainVM, missing)})
    with pytest.raises(TypeError, match=missing):
        incomplete()


def test_everything_else_has_a_default_that_suits_a_vm_without_it() -> None:
    vm = SmallestVM()
    peer = NodeID.EMPTY
    assert vm.version == "0.0.0"
    assert vm.has_pending_work() is False
    assert vm.wait_for_event(threading.Event()) is None
    assert vm.create_handlers() == {}
    assert vm.new_http_handler() is None
    assert vm.health_check() is None
    vm.set_preference(ID.EMPTY)
    vm.set_state(State.NORMAL_OP)
    vm.connected(peer, NodeVersion("metalgo", 1, 12, 2))
    vm.disconnected(peer)
    vm.app_request_failed(peer, 1, AppError(AppError.TIMED_OUT, "timed out"))
    vm.app_response(peer, 1, b"")
    vm.app_gossip(peer, b"")
    vm.shutdown()


def test_a_request_that_nobody_handles_is_refused_as_the_go_sdk_refuses_it() -> None:
    with pytest.raises(AppError) as caught:
        SmallestVM().app_request(NodeID.EMPTY, 1, Timestamp.ZERO, b"")
    assert (caught.value.code, caught.value.message) == (-2, "unregistered handler")


@pytest.mark.parametrize("power", [BatchedParseBlock, BuildBlockWithContext, CrossChainVM, GetAncestors])
def test_a_power_is_recognised_by_its_class_and_must_be_complete(power: type) -> None:
    assert not isinstance(SmallestVM(), power)
    methods = {name: lambda self: None for name in power.__abstractmethods__}  # type: ignore[attr-defined]
    assert isinstance(type("Powerful", (SmallestVM, power), methods)(), power)
    with pytest.raises(TypeError, match="abstract"):
        type("Powerless", (SmallestVM, power), {})()


def test_a_peers_version_prints_like_in_the_nodes_log() -> None:
    assert str(NodeVersion("avalanchego", 1, 14, 2)) == "avalanchego/1.14.2"


@pytest.mark.parametrize(
    "method", ["initialize", "build_block", "has_pending_work", "app_request", "shutdown"]
)
def test_an_async_method_is_refused_when_the_class_is_made(method: str) -> None:
    async def never_awaited(self: object, *_: object) -> None: ...

    with pytest.raises(TypeError, match=rf"^Mine\.{method} is async"):
        type("Mine", (SmallestVM,), {method: never_awaited})
