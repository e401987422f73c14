"""What a VM has without writing it."""

from __future__ import annotations

import functools
import importlib.util
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from vmsdk.block import Block
from vmsdk.chain import Chain
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
    check_interfaces,
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
    methods = {name: lambda self, *_: None for name in power.__abstractmethods__}  # type: ignore[attr-defined]
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


@pytest.mark.parametrize(
    ("method", "function", "cure"),
    [
        ("initialize", lambda self, genesis: None, r"initialize\(self, ctx, genesis, upgrade, config\)"),
        ("parse_block", lambda data: None, r"parse_block\(self, data\)"),
        ("set_state", lambda self: None, r"set_state\(self, state\)"),
        ("wait_for_event", lambda self: None, r"wait_for_event\(self, cancelled\)"),
        ("shutdown", lambda self, reason: None, r"shutdown\(self\)"),
        (
            "app_request",
            lambda self, node_id, request: None,
            r"app_request\(self, node_id, request_id, deadline, request\)",
        ),
    ],
)
def test_a_method_with_other_arguments_is_refused(method: str, function: object, cure: str) -> None:
    with pytest.raises(TypeError, match=rf"^Mine\.{method} .*: write `def {cure}`"):
        type("Mine", (SmallestVM,), {method: function})


@pytest.mark.parametrize(
    "function",
    [lambda *arguments: None, lambda self, state, more=1: None, staticmethod(lambda state: None)],
)
def test_a_method_that_can_be_called_as_declared_is_not(function: object) -> None:
    type("Mine", (SmallestVM,), {"set_state": function})


def test_arguments_of_an_optional_interface_are_checked_too() -> None:
    methods = {"build_block_with_context": lambda self: None}
    with pytest.raises(TypeError, match=r"write `def build_block_with_context\(self, p_chain_height\)`"):
        type("Mine", (SmallestVM, BuildBlockWithContext), methods)


@pytest.mark.parametrize("value", [property(lambda self: ID.EMPTY), ID.EMPTY, None])
def test_a_property_or_value_in_place_of_a_method_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"^Mine\.last_accepted is a \w+, .*: make it a method$"):
        type("Mine", (SmallestVM,), {"last_accepted": value})


@pytest.mark.parametrize(
    ("method", "interface"),
    [
        ("state_sync_enabled", "StateSyncableVM"),
        ("build_block_with_context", "BuildBlockWithContext"),
        ("batched_parse_block", "BatchedParseBlock"),
        ("get_ancestors", "GetAncestors"),
        ("cross_chain_app_request", "CrossChainVM"),
    ],
)
def test_a_method_of_an_optional_interface_needs_it_as_a_base(method: str, interface: str) -> None:
    mine = type("Mine", (SmallestVM,), {method: lambda self: None})
    with pytest.raises(TypeError, match=rf"^Mine\.{method} is never called, .* vmsdk\.{interface}: add"):
        check_interfaces(mine)


def test_the_interface_of_a_method_may_be_added_by_a_class_below() -> None:
    middle = type("Middle", (SmallestVM,), {"get_ancestors": lambda self, *_: []})
    check_interfaces(type("Mine", (middle, GetAncestors), {}))


def test_a_method_that_chain_calls_itself_needs_no_interface() -> None:
    class Mine(Chain):
        def execute(self, state: Any, tx: Any, block: Any) -> None: ...
        def build_block_with_context(self, p_chain_height: int | None) -> Any:
            return super().build_block_with_context(p_chain_height)

    check_interfaces(Mine)


def test_a_helper_that_an_authors_own_base_calls_is_not_a_misspelling() -> None:
    base = type("Base", (SmallestVM,), {"create_handlers": lambda self: self.create_handler()})
    type("Mine", (base,), {"create_handler": lambda self: {}})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("createHandlers", "create_handlers"),
        ("create_handler", "create_handlers"),
        ("hasPendingWork", "has_pending_work"),
        ("healthcheck", "health_check"),
    ],
)
def test_a_method_in_another_spelling_is_refused(written: str, meant: str) -> None:
    with pytest.raises(TypeError, match=rf"^Mine\.{written} is never called: vmsdk calls `{meant}`$"):
        type("Mine", (SmallestVM,), {written: lambda self: None})


MODULE = """
from vmsdk import chain


class Mine(chain.Chain):
    def execute(self, state, tx, block): ...
    def NAME(self, *_): ...
    OTHER
"""
MIXIN = """
from vmsdk import chain


class Loud:
    def NAME(self, *_): ...


class Mine(Loud, chain.Chain):
    def execute(self, state, tx, block): ...
    OTHER
"""


def warnings_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, other: str = "pass", code: str = MODULE
) -> list[str]:
    """What is logged at the start of a VM in a module of its own, with a method of this name."""
    file = tmp_path / "mine.py"
    file.write_text(code.replace("NAME", name).replace("OTHER", other))
    spec = importlib.util.spec_from_file_location(f"mine_{abs(hash((name, other, code)))}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        check_interfaces(module.Mine)
        check_interfaces(module.Mine)
    finally:
        del sys.modules[spec.name]
    return caplog.messages


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("health_chek", "health_check"),
        ("set_preferense", "set_preference"),
        ("set_prefered", "set_preference"),
        ("shutdwon", "shutdown"),
        ("app_gosssip", "app_gossip"),
        ("app_requests", "app_request"),
        ("on_connected", "connected"),
        ("has_pending", "has_pending_work"),
        ("get_handlers", "create_handlers"),
        ("on_accepted", "on_accept"),
        ("on_acept", "on_accept"),
        ("initialise", "initialize"),
        ("begin_block", "begin"),
        ("init_genesis", "genesis"),
        ("follower", "followers"),
    ],
)
def test_a_likely_slip_in_a_name_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, written: str, meant: str
) -> None:
    assert warnings_for(tmp_path, caplog, written) == [
        f"Mine.{written}: vmsdk never calls this method; if {meant} is meant, rename it"
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("createHandlers", "create_handlers"), ("healthcheck", "health_check"), ("on_acept", "on_accept")],
)
def test_a_slip_in_a_mixin_is_reported_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, written: str, meant: str
) -> None:
    assert warnings_for(tmp_path, caplog, written, code=MIXIN) == [
        f"Loud.{written}: vmsdk never calls this method; if {meant} is meant, rename it"
    ]


@pytest.mark.parametrize("method", ["create_handlers", "on_accept"])
def test_a_method_in_a_mixin_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture, method: str) -> None:
    assert warnings_for(tmp_path, caplog, method, code=MIXIN) == []


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("get_blocks", "pass"),
        ("_create_handler", "pass"),
        ("connect", "pass"),
        ("on_shutdown", "pass"),
        ("get_state", "pass"),
        ("list_accepted", "pass"),
        ("has_pending", "busy = property(lambda self: self.has_pending())"),
        ("on_accepted", "def on_accept(self, block): ..."),
    ],
)
def test_a_helper_is_not_taken_for_a_slip(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, other: str
) -> None:
    assert warnings_for(tmp_path, caplog, name, other) == []


@pytest.mark.parametrize("method", ["initialize", "set_state", "shutdown", "app_gossip", "create_handlers"])
def test_a_generator_is_refused(method: str) -> None:
    def never_runs(self: object, *_: object) -> Any:
        yield

    with pytest.raises(TypeError, match=rf"^Mine\.{method} contains `yield`, so calling it runs nothing"):
        type("Mine", (SmallestVM,), {method: never_runs})


def test_a_method_that_returns_several_may_be_a_generator() -> None:
    def get_ancestors(self: object, *_: object) -> Any:
        yield b""

    type("Mine", (SmallestVM, GetAncestors), {"get_ancestors": get_ancestors})


@pytest.mark.parametrize("attribute", ["name", "version"])
@pytest.mark.parametrize(
    "value",
    [None, 1, (1, 0, 0), lambda self: "x", classmethod(lambda cls: "x"), staticmethod(lambda: "x")],
)
def test_a_name_or_version_that_is_not_a_str_is_refused(attribute: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"^Mine\.{attribute} is .*: make it a str, such as {attribute} = "):
        type("Mine", (SmallestVM,), {attribute: value})


class Text:
    def __get__(self, vm: object, kind: type) -> str:
        return "text"


@pytest.mark.parametrize("attribute", ["name", "version"])
@pytest.mark.parametrize(
    "value", [property(lambda self: "text"), functools.cached_property(lambda self: "text"), Text()]
)
def test_a_name_or_version_may_be_computed(attribute: str, value: Any) -> None:
    if isinstance(value, functools.cached_property):
        value = functools.cached_property(value.func)  # each belongs to one name
    vm = type("Mine", (SmallestVM,), {attribute: value})()
    assert getattr(vm, attribute) == "text"


def test_a_context_that_is_used_too_early_is_named() -> None:
    with pytest.raises(AttributeError, match=r"^SmallestVM\.ctx is set when .*: use it in `initialize`"):
        _ = SmallestVM().ctx
    vm = SmallestVM()
    vm.ctx = context = Context()
    assert vm.ctx is context
