"""Mistakes of a chain's author: each is refused, in words that name the place and the cure."""

from __future__ import annotations

import asyncio
import functools
import logging
import operator
import sqlite3
import sys
import threading
import types
from pathlib import Path
from typing import Annotated, Any, Protocol
from unittest import mock

import pytest

import vmsdk
from vmsdk import chain
from vmsdk.chain import keys
from vmsdk.chain.block import BLOCK_OVERHEAD_BYTES, TRANSACTION_OVERHEAD_BYTES
from vmsdk.errors import VMError
from vmsdk.memorydb import MemoryDatabase

from .engine import Engine


class Notes(chain.Chain):
    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> bytes | None:
        state[tx] = b""
        return None


def submit(vm: chain.Chain, tx: Any) -> None:
    engine = Engine(vm)
    try:
        engine.vm.submit(tx)
    finally:
        engine.stop()


@pytest.mark.parametrize("tx", ["text", bytearray(b"x"), 7, None])
def test_submit_of_what_is_not_a_transaction_names_the_kinds(tx: Any) -> None:
    with pytest.raises(TypeError, match=r"Notes\.submit takes bytes, not a .*"):
        submit(Notes(), tx)


def produce(vm: chain.Chain) -> None:
    engine = Engine(vm)
    engine.vm.submit(b"x")
    engine.produce()


class Bare:
    """A class of transactions without `raw`."""

    @classmethod
    def from_bytes(cls, raw: bytes) -> Bare:
        return cls()


class Bares(Notes):
    transaction = Bare


def test_submit_of_a_transaction_without_raw_names_it() -> None:
    with pytest.raises(TypeError, match=r"Bares\.submit takes bytes, or a Bare whose `raw` is bytes"):
        submit(Bares(), Bare())


def kind(**members: Any) -> Any:
    """A chain of transactions with these members."""
    transaction = type("Tx", (Bare,), {"from_bytes": classmethod(lambda cls, raw: cls()), **members})
    return type("Typed", (Notes,), {"transaction": transaction, "execute": lambda *_: None})()


def broken(self: Any) -> Any:
    return self.nonc


@pytest.mark.parametrize(
    ("members", "error", "message"),
    [
        ({"sender": "alice"}, TypeError, r"Tx\.sender is 'alice', but must be bytes or None"),
        ({"sequence": "1"}, TypeError, r"Tx\.sequence is '1', but must be an int"),
        ({"priority": 0.5}, TypeError, r"Tx\.priority is 0\.5, but must be an int"),
        ({"sender": property(broken)}, AttributeError, "nonc"),
        ({"check": lambda self, chain_id: False}, TypeError, "returned False, but its result is not used"),
    ],
)
def test_an_attribute_that_the_mempool_can_not_use_is_named(
    members: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        submit(kind(**members), b"x")


@pytest.mark.parametrize("name", ["initialize", "set_state", "shutdown", "connected", "app_gossip"])
def test_an_override_that_leaves_out_the_chain_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=rf"Mine\.{name} replaces .*: call super\(\)\.{name}\("):
        type("Mine", (Notes,), {name: lambda self, *arguments: None})


def test_an_override_that_calls_super_is_not() -> None:
    class Mine(Notes):
        def initialize(self, *arguments: Any) -> None:
            super().initialize(*arguments)

        def shutdown(self) -> None:
            Notes.shutdown(self)

    Engine(Mine()).stop()


@pytest.mark.parametrize("name", ["initialize", "shutdown"])
def test_a_mixin_that_leaves_out_the_chain_is_refused(name: str) -> None:
    mixin = type("Logged", (), {name: lambda self, *arguments: None})
    with pytest.raises(TypeError, match=rf"Logged\.{name} replaces .*: call super\(\)\.{name}\("):
        type("Mine", (mixin, Notes), {})
    type("Mine", (Notes, mixin), {})  # never called


def test_an_override_may_call_super_in_a_helper_or_below_a_decorator() -> None:
    def traced(method: Any) -> Any:
        def wrapper(*arguments: Any) -> Any:
            return method(*arguments)

        return wrapper

    class Mine(Notes):
        def initialize(self, *arguments: Any) -> None:
            self._begin(arguments)

        def _begin(self, arguments: tuple[Any, ...]) -> None:
            Notes.initialize(self, *arguments)

        @traced
        def shutdown(self) -> None:
            super().shutdown()

    Engine(Mine()).stop()


def test_a_class_that_is_made_again_may_call_super() -> None:
    class First(Notes):
        def shutdown(self) -> None:
            super().shutdown()

    # As by attrs, and by dataclass(slots=True) from Python 3.14 on, after which `super()` works.
    members = {name: value for name, value in vars(First).items() if name != "__weakref__"}
    mine: Any = type("Mine", First.__bases__, members)
    (cell,) = First.shutdown.__closure__ or ()
    cell.cell_contents = mine
    Engine(mine()).stop()


def test_a_decorator_without_wraps_may_call_the_base() -> None:
    def extends(method: Any) -> Any:
        def wrapper(*arguments: Any) -> Any:
            method(*arguments)
            return getattr(Notes, method.__name__)(*arguments)

        return wrapper

    class Mine(Notes):
        @extends
        def shutdown(self) -> None: ...

    Engine(Mine()).stop()


class Executes(Notes):
    executor: Any = None

    def log_it(self) -> None:
        self.executor.shutdown()


def test_a_call_of_another_objects_method_does_not_replace_the_chains() -> None:
    with pytest.raises(TypeError, match=r"Mine\.shutdown replaces .*: call super\(\)\.shutdown\("):

        class Mine(Executes):
            def shutdown(self) -> None:
                self.log_it()

    with pytest.raises(TypeError, match=r"Direct\.shutdown replaces .*: call super\(\)\.shutdown\("):

        class Direct(Executes):
            def shutdown(self) -> None:
                self.executor.shutdown()


class Stops:
    def shutdown(self) -> None:
        raise NotImplementedError


class Ends:
    def shutdown(self) -> None:
        self.ended = True


class Pool(Stops):
    def shutdown(self) -> None:
        super().shutdown()


def test_super_of_another_class_is_not_the_chains() -> None:
    with pytest.raises(TypeError, match=r"Mine\.shutdown replaces .*: call super\(\)\.shutdown\("):

        class Mine(Notes):
            def shutdown(self) -> None:
                Pool().shutdown()


def test_an_override_may_call_super_in_a_helper_of_its_base() -> None:
    class Base(Notes):
        def _really_stop(self) -> None:
            super().shutdown()

    class Mine(Base):
        def shutdown(self) -> None:
            self._really_stop()

    Engine(Mine()).stop()


def test_an_override_may_call_the_chains_by_name_past_an_interface() -> None:
    other_name = Notes

    class Mine(Stops, Notes):
        def shutdown(self) -> None:
            self.stopped = object()
            chain.Chain.shutdown(self)

    class Other(Stops, Notes):
        def shutdown(self) -> None:
            other_name.shutdown(self)

    for vm in (Mine(), Other()):
        Engine(vm).stop()
    with pytest.raises(TypeError, match=r"Stops\.shutdown replaces .*: call super\(\)\.shutdown\("):

        class Wrong(Stops, Notes):
            def shutdown(self) -> None:
                Stops.shutdown(self)


def stop_by_name(vm: Any) -> None:
    chain.Chain.shutdown(vm)


def stop_in_a_thread(vm: Any) -> None:
    thread = threading.Thread(target=lambda: stop_by_name(vm))
    thread.start()
    thread.join()


class Lifecycle:
    @staticmethod
    def stop(vm: chain.Chain) -> None:
        chain.Chain.shutdown(vm)


def stop_then(method: Any) -> Any:
    @functools.wraps(method)
    def stop(self: chain.Chain) -> None:
        Notes.shutdown(self)
        method(self)

    return stop


def after_the_base(method: Any) -> Any:
    @functools.wraps(method)
    def wrapper(self: Any, *arguments: Any) -> None:
        getattr(super(type(self), self), method.__name__)(*arguments)
        method(self, *arguments)

    return wrapper


THIS_MODULE = sys.modules[__name__]
CALL = mock.call


@pytest.mark.parametrize(
    "method",
    [
        lambda self: stop_by_name(vm=self),
        lambda self: stop_in_a_thread(vm=self),
        lambda self: Lifecycle.stop(vm=self),
        lambda self: THIS_MODULE.stop_by_name(vm=self),
        lambda self: getattr(super(type(self), self), "shutdown")(),  # noqa: B009
        stop_then(lambda self: None),
        after_the_base(Ends.shutdown),
        functools.partialmethod(lambda self, now: chain.Chain.shutdown(self), True),
        chain.Chain.shutdown,
    ],
)
def test_an_override_may_call_the_chains_in_any_place(method: Any) -> None:
    Engine(type("Mine", (Notes,), {"shutdown": method})()).stop()


def logged(stop_by_name: Any) -> Any:
    """A decorator whose parameter has the name of a function of the module."""

    @functools.wraps(stop_by_name)
    def wrapper(self: Any) -> None:
        logging.info("stops")
        stop_by_name(self)

    return wrapper


def test_an_override_below_a_decorator_that_leaves_out_the_chain_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Mine\.shutdown replaces .*: call super\(\)\.shutdown\("):
        type("Mine", (Notes,), {"shutdown": logged(Ends.shutdown)})


def test_a_class_made_by_a_function_may_call_super_with_its_name() -> None:
    def shutdown(self: Any) -> None:
        super(made, self).shutdown()

    made: Any = type("Made", (Notes,), {"shutdown": shutdown})
    Engine(made()).stop()


def test_a_global_whose_attributes_never_end_is_not_followed() -> None:
    with pytest.raises(TypeError, match=r"Mine\.shutdown replaces .*: call super\(\)\.shutdown\("):
        type("Mine", (Notes,), {"shutdown": lambda self: CALL(vm=self)})


def test_a_check_that_leaves_out_the_signature_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Loose\.check replaces .*: call super\(\)\.check\("):

        class Loose(chain.Signed):
            amount: chain.U64

            def check(self, chain_id: vmsdk.ID) -> None:
                if not self.amount:
                    raise chain.Invalid("send something")


@pytest.mark.parametrize("method", ["execute", "begin", "end", "check", "genesis"])
@pytest.mark.parametrize("call", ["submit", "snapshot"])
def test_rules_can_not_use_what_is_for_handlers(method: str, call: str) -> None:
    def rule(self: Any, *arguments: Any) -> None:
        if call == "submit":
            self.submit(b"again")
        else:
            with self.snapshot():
                pass

    vm = type("Reaching", (Notes,), {method: rule})()
    with pytest.raises(vmsdk.VMError, match=rf"Reaching\.{call} is for handlers, .*{method}"):
        produce(vm)


@pytest.mark.parametrize(
    "limits",
    [
        {"block_bytes": BLOCK_OVERHEAD_BYTES + TRANSACTION_OVERHEAD_BYTES + 9, "transaction_bytes": 10},
        {"transaction_bytes": 0},
        {"transaction_bytes": 1.5},
        {"written_bytes": 0},
        {"written_bytes": 1 << 32},
        {"future_ms": -1},
        {"build_seconds": 0},
        {"mempool_transactions": 0},
        {"mempool_bytes": 100},
        {"mempool_per_sender": 0},
        {"mempool_seconds": 0},
        {"snapshots": 0},
        {"snapshot_seconds": 0},
        {"snapshot_blocks": 0},
        {"cache_bytes": -1},
        {"blocks": 0},
        {"receipts": "all"},
        {"blocks": True},
    ],
)
def test_limits_that_can_not_work_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match="|".join(limits)):
        chain.Limits(**limits)


def test_limits_that_nodes_must_share_are_compared_with_those_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = MemoryDatabase()

    def start(**limits: int) -> list[str]:
        caplog.clear()
        Engine(type("Mine", (Notes,), {"limits": chain.Limits(**limits)})(), database).stop()
        return [record.getMessage() for record in caplog.records]

    assert start() == start(mempool_transactions=7) == []
    (lower,) = start(transaction_bytes=100)
    assert "Mine.limits: transaction_bytes was 65536 and is now 100" in lower
    assert "set it back to 65536" in lower
    assert start(transaction_bytes=100) == [lower]  # the older blocks are still there
    assert start() == []
    (higher,) = start(transaction_bytes=70_000)
    assert "transaction_bytes was 65536 and is now 70000: update all validators" in higher
    assert start(transaction_bytes=70_000) == []


def test_limits_are_stored_for_a_chain_of_earlier_code(caplog: pytest.LogCaptureFixture) -> None:
    database = MemoryDatabase()
    Engine(Notes(), database).stop()
    database.delete(b"mlimits")
    Engine(Notes(), database).stop()
    assert ["written_bytes had no limit and is now" in each.getMessage() for each in caplog.records] == [True]
    caplog.clear()
    Engine(type("Mine", (Notes,), {"limits": chain.Limits(transaction_bytes=100)})(), database).stop()
    (record,) = caplog.records
    assert "transaction_bytes was 65536 and is now 100" in record.getMessage()


def test_a_limit_that_earlier_code_did_not_have_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    database = MemoryDatabase()
    Engine(Notes(), database).stop()
    database[b"mlimits"] = database[b"mlimits"][:8]
    Engine(type("Mine", (Notes,), {"limits": chain.Limits(written_bytes=100_000)})(), database).stop()
    (record,) = caplog.records
    assert "Mine.limits: written_bytes had no limit and is now 100000" in record.getMessage()
    caplog.clear()
    Engine(type("Mine", (Notes,), {"limits": chain.Limits(written_bytes=100_000)})(), database).stop()
    assert caplog.records == []
    Engine(type("Mine", (Notes,), {"limits": chain.Limits(written_bytes=99_000)})(), database).stop()
    (record,) = caplog.records
    assert "written_bytes was 100000 and is now 99000" in record.getMessage()


def test_limits_of_another_type_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Mine\.limits is \{'blocks': 5\}: set it to chain\.Limits\("):
        type("Mine", (Notes,), {"limits": {"blocks": 5}})


@pytest.mark.parametrize("followers", [None, object()])
def test_followers_that_are_not_a_tuple_of_them_are_refused(followers: Any) -> None:
    vm = type("Mine", (Notes,), {"followers": lambda self: followers})()
    with pytest.raises(TypeError, match=r"Mine\.followers returned .*: return a list or tuple"):
        Engine(vm)


def test_a_str_is_not_a_key() -> None:
    state = chain.Overlay(chain.Overlay(None))  # type: ignore[arg-type]
    state[b"alice"] = b""
    with pytest.raises(TypeError, match="keys and values are bytes, and 'alice' is of type str"):
        assert "alice" in state  # type: ignore[operator]


@pytest.mark.parametrize("topic", ["x" * 256, b"", 7])
def test_events_of_an_impossible_topic_are_refused(topic: Any) -> None:
    engine = Engine(Notes())
    with pytest.raises((TypeError, ValueError), match="a topic"):
        engine.vm.events(topic)
    engine.stop()


@pytest.mark.parametrize("method", ["begin", "end"])
def test_a_block_that_begin_or_end_refuses_is_invalid(method: str) -> None:
    def refuse(self: Any, state: chain.State, block: chain.Header) -> None:
        if block.timestamp < self.closed:
            raise chain.Invalid("closed")

    vm = type("Closing", (Notes,), {method: refuse, "closed": 0})()
    engine = Engine(vm)
    engine.vm.submit(b"x")
    block = engine.vm.build_block()
    vm.closed = block.block.timestamp + 1
    block.executed = None
    with pytest.raises(vmsdk.InvalidBlock, match=rf"{method} refuses it: closed"):
        engine.verify(block.raw)
    engine.stop()


class Bid(chain.Transaction):
    amount: chain.U64


def test_a_number_of_a_client_that_does_not_fit_is_invalid() -> None:
    vm = type("Auction", (Notes,), {"transaction": Bid, "execute": lambda *_: None})()
    with pytest.raises(chain.Invalid, match=r"Bid\.amount: -1 is not an integer of 64 bits"):
        submit(vm, Bid(-1))


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("execute", lambda self, state, tx: None, r"def execute\(self, state, tx, block\)"),
        ("execute", lambda state, tx, block: None, r"def execute\(self, state, tx, block\)"),
        ("execute", lambda self, state, tx, block, more: None, r"def execute\(self, state, tx, block\)"),
        ("genesis", lambda self, state: None, r"def genesis\(self, state, data\)"),
        ("check", lambda self, state, tx: None, r"def check\(self, tx\)"),
        ("begin", lambda self, block: None, r"def begin\(self, state, block\)"),
        ("end", lambda self: None, r"def end\(self, state, block\)"),
    ],
)
def test_a_rule_with_other_parameters_is_refused(name: str, method: Any, expected: str) -> None:
    with pytest.raises(TypeError, match=rf"Mine\.{name} .*: write `{expected}`"):
        type("Mine", (Notes,), {name: method})


@pytest.mark.parametrize(
    "method", [lambda self, *arguments: None, lambda self, state, tx, block, more=1: None]
)
def test_a_rule_that_can_take_the_arguments_is_not(method: Any) -> None:
    type("Mine", (Notes,), {"execute": method})


@pytest.mark.parametrize("name", ["execute", "genesis", "check", "begin", "end"])
def test_a_rule_that_yields_is_refused(name: str) -> None:
    def rule(self: Any, *arguments: Any) -> Any:
        yield

    with pytest.raises(TypeError, match=rf"Mine\.{name} contains `yield`, so calling it runs nothing"):
        type("Mine", (Notes,), {name: rule})


async def awaited(self: Any, *arguments: Any) -> None: ...


@pytest.mark.parametrize("name", ["execute", "genesis", "check", "begin", "end", "on_accept", "followers"])
def test_a_method_that_is_async_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=rf"Mine\.{name} is async, .*: write `def {name}`"):
        type("Mine", (Notes,), {name: awaited})


@pytest.mark.parametrize(
    "result", [True, False, 0, "done", [b"x"], bytearray(b"x"), chain.Invalid("no"), 1.5]
)
def test_a_result_of_execute_that_is_not_bytes_is_refused(result: Any) -> None:
    vm = type("Mine", (Notes,), {"execute": lambda self, *_: result})()
    with pytest.raises(TypeError, match=r"Mine\.execute returned .*: return None, or bytes .*raise Invalid"):
        produce(vm)


@pytest.mark.parametrize("name", ["genesis", "check", "begin", "end"])
@pytest.mark.parametrize("result", [False, chain.Invalid("no")])
def test_a_result_of_another_rule_is_refused(name: str, result: Any) -> None:
    def rule(self: Any, *arguments: Any) -> Any:
        return result

    vm = type("Mine", (Notes,), {name: rule})()
    with pytest.raises(TypeError, match=r"rule returned .*, but its result is not used: raise Invalid"):
        produce(vm)


@pytest.mark.parametrize("name", ["execute", "genesis", "check", "begin", "end"])
def test_a_rule_that_keeps_something_on_self_is_refused(name: str) -> None:
    def rule(self: Any, *arguments: Any) -> None:
        self.seen = arguments

    vm = type("Mine", (Notes,), {name: rule})()
    with pytest.raises(vmsdk.VMError, match=rf"Mine\.{name} sets self\.seen, .*: keep it in the state"):
        produce(vm)


@pytest.mark.parametrize("name", ["execute", "genesis", "begin", "end"])
def test_a_state_that_is_kept_after_its_method_takes_no_writes(name: str) -> None:
    kept: list[Any] = []
    vm = type("Mine", (Notes,), {name: lambda self, state, *_: kept.append(state)})()
    produce(vm)
    # At admission, `begin` gets the pending state, which lives on.
    for state in kept[1:] if name == "begin" else kept:
        with pytest.raises(vmsdk.VMError, match="written to after it ended"):
            state[b"late"] = b""
        with pytest.raises(vmsdk.VMError, match="written to after it ended"), state.nested() as attempt:
            attempt[b"late"] = b""


def test_a_nested_state_takes_no_writes_after_its_block() -> None:
    state = chain.Overlay(chain.Overlay(None))  # type: ignore[arg-type]
    with state.nested() as attempt:
        attempt[b"in time"] = b""
    with pytest.raises(vmsdk.VMError, match="written to after it ended"):
        attempt[b"late"] = b""
    with pytest.raises(chain.Invalid), state.nested() as dropped:
        raise chain.Invalid("no")
    with pytest.raises(vmsdk.VMError, match="written to after it ended"):
        del dropped[b"in time"]
    assert state.writes == {b"in time": b""}


NOT_FOR_RULES = (
    *("db", "node_id", "public_key", "chain_data_dir", "protocol_version", "services", "lock", "chain"),
    *("notify", "get_block", "preferred", "processing", "sender", "aliases", "warp_signer"),
)


@pytest.mark.parametrize(
    ("call", "read"),
    [
        ("last", lambda vm: vm.last),
        ("feed", lambda vm: vm.feed.height),
        ("blocks", lambda vm: vm.blocks()),
        ("receipt", lambda vm: vm.receipt(vmsdk.ID.EMPTY)),
        ("events", lambda vm: vm.events(b"topic")),
        ("dropped", lambda vm: vm.dropped(vmsdk.ID.EMPTY)),
        ("accepted", lambda vm: vm.accepted.get(b"count")),
        ("history", lambda vm: vm.history.block_at(0)),
        ("pool", lambda vm: len(vm.pool)),
        ("config", lambda vm: vm.config),
        ("network", lambda vm: vm.network.peers),
        ("listeners", lambda vm: vm.listeners),
        ("last_accepted", lambda vm: vm.last_accepted()),
        ("has_pending_work", lambda vm: vm.has_pending_work()),
        *((f"ctx.{name}", operator.attrgetter(f"ctx.{name}")) for name in NOT_FOR_RULES),
    ],
)
def test_rules_can_not_read_what_differs_between_nodes(call: str, read: Any) -> None:
    vm = type("Mine", (Notes,), {"execute": lambda self, *_: read(self)})()
    with pytest.raises(vmsdk.VMError, match=rf"Mine\.{call} is for handlers, but execute uses it"):
        produce(vm)


def test_rules_read_of_the_context_what_is_the_same_on_all_nodes() -> None:
    def execute(self: Any, state: chain.State, tx: bytes, block: chain.Header) -> None:
        state[b"chain"] = self.ctx.chain_id
        self.ctx.log.debug("upgrades: %s", self.ctx.upgrades)

    engine = Engine(type("Mine", (Notes,), {"execute": execute})(), chain_id=vmsdk.ID(b"c" * 32))
    engine.vm.submit(b"x")
    engine.produce()
    with engine.vm.snapshot() as state:
        assert state[b"chain"] == engine.vm.ctx.chain_id == b"c" * 32
    assert engine.vm.ctx.db is engine.database
    engine.stop()


def test_a_chain_that_has_not_begun_names_what_it_lacks() -> None:
    for name in ("ctx", "pool", "feed", "history", "accepted"):
        with pytest.raises(AttributeError, match=rf"Notes\.{name} is not set before initialize"):
            getattr(Notes(), name)


@pytest.mark.parametrize("call", ["receipt", "dropped"])
def test_the_text_of_an_id_is_not_an_id(call: str) -> None:
    engine = Engine(Notes())
    with pytest.raises(TypeError, match=r"'2Z' is not the ID of a transaction: .*ID\.from_string"):
        getattr(engine.vm, call)("2Z")
    engine.stop()


@pytest.mark.parametrize("txs", [b"one", "one", None])
def test_submit_many_takes_several(txs: Any) -> None:
    engine = Engine(Notes())
    with pytest.raises(TypeError, match=r"Notes\.submit_many takes several transactions: pass a list"):
        engine.vm.submit_many(txs)
    engine.stop()


def attributes_after_the_start(base: Any) -> set[str]:
    engine = Engine(type("Mine", (base,), {"execute": Notes.execute})())
    attributes = set(vars(engine.vm))
    engine.stop()
    return attributes - {"network"}  # created on first use


def attributes_of_a_follower(path: Path) -> set[str]:
    index = type("Index", (chain.SQLiteFollower,), {"schema": "", "add": lambda *_: None})(path)
    engine = Engine(type("Mine", (Notes,), {"followers": lambda self: [index]})())
    index.wait_for(0, timeout=60)
    engine.stop()
    return set(vars(index)) - {"path"}


def test_the_names_that_a_start_sets_are_all_refused(tmp_path: Path) -> None:
    tried = [
        *((chain.Chain, name) for name in attributes_after_the_start(chain.Chain)),
        *((chain.SyncableChain, name) for name in attributes_after_the_start(chain.SyncableChain)),
        *((chain.SQLiteFollower, name) for name in attributes_of_a_follower(tmp_path / "index.db")),
    ]
    assert {"_chain_progress", "_sync_worker", "_db", "_changed", "pool"} <= {name for _, name in tried}
    for base, name in tried:
        values: tuple[Any, ...] = (lambda self: [], 5)
        for value in values:
            cure = rf"{name} is overwritten when the chain starts, because .*: choose another one$"
            with pytest.raises(TypeError, match=rf"^Mine\.{cure}"):
                type("Mine", (base,), {name: value})
            mixin = type("Mixin", (), {name: value})
            with pytest.raises(TypeError, match=rf"^Mixin\.{cure}"):
                type("Mine", (mixin, base), {})
            with pytest.raises(TypeError, match=rf"^Mixin\.{cure}"):
                type("Mine", (base, mixin), {})


def test_a_private_name_of_the_authors_own_is_not() -> None:
    class Mine(Notes):
        _fees = 5

        def __init__(self) -> None:
            self._ledger: list[int] = []

    Engine(Mine()).stop()


@pytest.mark.parametrize("keys", [b"alice", "alice", ["alice"], 7, lambda self: b"alice"])
def test_keys_that_are_not_a_list_of_bytes_are_named(keys: Any) -> None:
    with pytest.raises(TypeError, match=r"Tx\.keys is .*: make it a list of keys of the state, in bytes"):
        submit(kind(keys=keys), b"x")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda state: state.put_int(b"n", 1.5), r"put_int stores integers, but 1\.5 is of type float"),
        (lambda state: state.put_int(b"n", -1), "put_int stores 0 to 2"),
        (lambda state: state.__setitem__(b"n", 7), "keys and values are bytes, and 7 is"),
        (lambda state: state.__setitem__(b"n", None), "keys and values are bytes, and None is"),
        (lambda state: state.__setitem__("n", b""), "keys and values are bytes, and 'n' is"),
        (lambda state: state.emit("t", "data"), "keys and values are bytes, and 'data' is"),
        (lambda state: list(state.scan(limit=-1)), "limit is -1: give a whole number, 0 or more"),
        (lambda state: list(state.scan(limit=1.5)), "limit is 1.5: give a whole number, 0 or more"),
    ],
)
def test_a_wrong_value_for_the_state_is_shown(write: Any, message: str) -> None:
    vm = type("Mine", (Notes,), {"execute": lambda self, state, *_: write(state)})()
    with pytest.raises((TypeError, ValueError), match=message):
        produce(vm)


@pytest.mark.parametrize("kind", [dict, 7, "bytes", bytearray, Notes])
def test_a_kind_of_transaction_that_is_none_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"is not a kind of transaction: give bytes, a subclass of"):
        type("Mine", (Notes,), {"transaction": kind})


# Tables -------------------------------------------------------------------------------------------

ITEMS = chain.Table(b"item", chain.U64, chain.U64)


@pytest.mark.parametrize(
    "other",
    [
        chain.Table(b"item", chain.U64, chain.U8),
        chain.Table(b"item", chain.Address, chain.U64),
        chain.Table(b"items/", chain.U64, chain.U64),
        chain.Table(b"", chain.U64, chain.U64),
        chain.Counter(b"items"),
        chain.Counter(b"item"),
    ],
    ids=str,
)
def test_tables_that_share_keys_are_refused(other: Any) -> None:
    def execute(self: Any, state: chain.State, tx: bytes, block: chain.Header) -> None:
        ITEMS.of(state)[1] = 1
        with state.nested() as attempt:
            other.get(attempt) if isinstance(other, chain.Counter) else other.of(attempt)

    vm = type("Mine", (Notes,), {"execute": execute})()
    with pytest.raises(TypeError, match=r"(Table|Counter)\(b'.*'\) and .* are different, but share keys"):
        produce(vm)


def test_a_table_that_is_made_again_is_not_refused() -> None:
    def execute(self: Any, state: chain.State, tx: bytes, block: chain.Header) -> None:
        for table in (ITEMS, chain.Table(b"item", chain.U64, chain.U64), ITEMS):
            table.of(state)[1] = 1

    produce(type("Mine", (Notes,), {"execute": execute})())


def accept(engine: Engine, block: Any) -> None:
    engine.prefer(block)
    engine.accept(block)


def test_a_table_that_a_handler_reads_with_does_not_count_for_blocks() -> None:
    class Counts(Notes):
        def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
            ITEMS.of(state)[1] = 1

    other, here = Engine(Counts()), Engine(Counts())
    other.vm.submit(b"x")
    block = other.build()
    for prefix in (b"item", b"it", b""):
        table = chain.Table(prefix, chain.U64, chain.U8)
        with here.vm.snapshot() as state:
            table.of(state)
        with here.vm.snapshot(pending=True) as state:
            table.of(state)
        table.of(here.vm.accepted)
    here.vm.submit(b"x")
    accept(here, here.verify(block.raw))
    here.vm.submit(b"y")
    here.produce()


class PerName(Notes):
    """Has a table for each name. The name "q/r" shares keys with "q"."""

    def begin(self, state: chain.State, block: chain.Header) -> None:
        chain.Counter(b"t/q/r/").add(state)

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        for name in tx.rstrip(b"!").split(b" "):
            chain.Table(b"t/" + name + b"/", chain.U64, chain.U64).of(state)[1] = 1
        if tx.endswith(b"!"):
            raise chain.Invalid("no")


def test_tables_that_other_transactions_use_do_not_count() -> None:
    old, restarted = Engine(PerName()), Engine(PerName())
    with pytest.raises(chain.Invalid):
        old.vm.submit(b"q/r!")
    with pytest.raises(TypeError, match="share keys"):
        old.vm.submit(b"q/r q")
    for builder, verifier in ((restarted, old), (old, restarted)):
        for tx in (b"q", b"q/r"):
            builder.vm.submit(b" ".join([tx] * (1 + builder.last.height)))
        block = builder.build()
        assert len(block.block.transactions) == 2
        accept(verifier, verifier.verify(block.raw))
        accept(builder, block)


@pytest.mark.parametrize("error", [NameError, AttributeError, TypeError])
def test_annotations_that_can_not_be_evaluated_are_passed_over(error: type[Exception]) -> None:
    class Lazy(type(Notes)):  # type: ignore[misc]
        @property
        def __annotations__(cls) -> Any:  # type: ignore[override]  # as from Python 3.14 on
            raise error("later")

    assert Lazy("Mine", (Notes,), {})


def test_a_prefix_is_bytes() -> None:
    prefix: Any = "a/"
    for made in (chain.Counter, lambda text: chain.Table(text, chain.U64, chain.U64)):
        with pytest.raises(TypeError, match="keys and values are bytes, and 'a/' is"):
            made(prefix)


def test_an_entry_of_another_type_is_named() -> None:
    state = chain.Overlay(chain.Overlay(None))  # type: ignore[arg-type]
    state[ITEMS.key(7)] = b"short"
    with pytest.raises(
        vmsdk.VMError, match=r"Table\(b'item'\): the stored value of 7 is not of the table's type"
    ):
        ITEMS.of(state)[7]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (-1, 1, r"Table\(b'item'\): the key -1 is not an integer of 64 bits"),
        (7, 2**64, r"Table\(b'item'\): the value of 7: 18446744073709551616 is not an integer"),
    ],
)
def test_what_a_table_can_not_store_is_named_with_the_table(key: int, value: int, message: str) -> None:
    with pytest.raises(vmsdk.VMError, match=message):
        ITEMS.of(chain.Overlay(chain.Overlay(None)))[key] = value  # type: ignore[arg-type]


@pytest.mark.parametrize("mark", [chain.Max(-1), chain.Max(0), chain.Fixed(0), chain.Fixed(2.5)])  # type: ignore[arg-type]
def test_a_length_is_a_whole_number(mark: Any) -> None:
    with pytest.raises(TypeError, match=r"the length of (Max|Fixed)\(length=.*\) must be a whole number"):
        type("Tx", (chain.Transaction,), {"__annotations__": {"data": Annotated[bytes, mark]}})


# Classes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["raw", "id", "tag", "from_bytes", "sender", "sign", "check", "signature"])
def test_a_field_that_hides_what_a_transaction_has_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=rf"Tx\.{name} hides (Transaction|Signed)\.{name}: give the field"):
        type("Tx", (chain.Signed,), {"__annotations__": {name: chain.U64}})


def test_fields_of_a_transactions_own_names_are_not() -> None:
    class Own(chain.Transaction):
        sender: chain.Address
        priority: chain.U64

    class Longer(Own):
        amount: chain.U64 = 7

    assert Longer.from_bytes(Longer(bytes(20), 1).raw).amount == 7


@pytest.mark.parametrize("name", ["transaction", "limits"])
def test_an_annotation_in_place_of_a_value_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=rf"Mine\.{name} is annotated, but has no value: write `{name} = "):
        type("Mine", (Notes,), {"__annotations__": {name: Bid}})


def test_limits_that_an_object_sets_are_checked_as_well() -> None:
    vm: Any = Notes()
    vm.limits = {"blocks": 5}
    with pytest.raises(TypeError, match=r"Notes\.limits is \{'blocks': 5\}"):
        Engine(vm)


def test_an_interface_before_the_chain_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Mine: derive it from chain\.Chain first"):
        type("Mine", (vmsdk.BuildBlockWithContext, chain.Chain), {"execute": Notes.execute})


@pytest.mark.parametrize("every", [0, -1, 4096.0])
def test_a_number_of_blocks_between_checkpoints_is_whole(every: Any) -> None:
    with pytest.raises(ValueError, match=r"Mine\.sync_every is .*: set the number of blocks"):
        type("Mine", (chain.SyncableChain,), {"execute": Notes.execute, "sync_every": every})


class Offer(chain.Transaction):
    amount: chain.U64
    until: chain.U64


def test_a_chain_of_transactions_of_another_encoding_is_refused() -> None:
    database = MemoryDatabase()
    for kind in (Bid, Offer):
        vm = type("Auction", (Notes,), {"transaction": kind, "execute": lambda *_: None})()
        if kind is Offer:
            with pytest.raises(
                vmsdk.VMError, match=r"block at height 1 has a transaction that this code can't"
            ):
                Engine(vm, database)
        else:
            engine = Engine(vm, database)
            engine.vm.submit(Bid(5))
            engine.produce()
            engine.stop()


def test_only_a_private_key_and_a_chains_id_sign() -> None:
    class Vote(chain.Signed):
        choice: chain.U8

    key: Any = keys.Ed25519Key.generate()
    for chain_id in (str(vmsdk.ID.EMPTY), b"short"):
        with pytest.raises(TypeError, match=r"chain_id is b?'(1111|short).*ID\.from_string\(text\)"):
            Vote(1).sign(key, chain_id)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Vote\.sign takes a private key, not a bytes"):
        Vote(1).sign(key.public_key, vmsdk.ID.EMPTY)
    text: Any = "a text"
    with pytest.raises(TypeError, match=r"Vote\.from_bytes takes bytes, not a str"):
        Vote.from_bytes(text)


def test_a_listener_that_fails_keeps_no_transaction_from_waiting(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(Notes())

    def fails(pending: Any) -> None:
        raise ZeroDivisionError

    engine.vm.admission_listeners.append(fails)
    assert engine.vm.submit_many([b"one", b"two"]) == [vmsdk.ID.of(b"one"), vmsdk.ID.of(b"two")]
    assert engine.vm.submit(b"three") in engine.vm.pool
    assert engine.notified > 1
    assert caplog.text.count("fails failed for transaction") == 3
    engine.stop()


def test_an_index_that_ends_the_transaction_is_named(tmp_path: Path) -> None:
    class Index(chain.SQLiteFollower[chain.Block]):
        schema = "CREATE TABLE IF NOT EXISTS blocks (height)"

        def add(self, db: sqlite3.Connection, block: chain.Block) -> None:
            db.execute("INSERT INTO blocks VALUES (?)", [block.height])
            db.commit()

    index = Index(tmp_path / "index.db")
    index.open()
    with pytest.raises(vmsdk.VMError, match=r"Index\.add ended the transaction, .*: leave out commit"):
        index.apply(chain.Block(chain.Header(vmsdk.ID.EMPTY, 1, 0), bytes(32), (b"x",)))
    index.close()


class Basket(chain.Transaction):
    items: Annotated[list[chain.U64], chain.Max(9)]


class Purse:
    """A transaction of an author's own class, which can be changed."""

    def __init__(self, coins: int) -> None:
        self.items = [coins]
        self.raw = b"%d" % coins

    @classmethod
    def from_bytes(cls, raw: bytes) -> Purse:
        return cls(int(raw))


@pytest.mark.parametrize("tx", [Basket([1, 2, 3]), Purse(3)])
def test_what_execute_does_to_a_transaction_does_not_show_in_another_execution(tx: Any) -> None:
    class Taking(chain.Chain):
        version = "1.0.0"
        transaction = type(tx)

        def execute(self, state: chain.State, tx: Any, block: chain.Header) -> None:
            state.put_int(b"taken", tx.items.pop())

    engine, other = Engine(Taking()), Engine(Taking())
    engine.vm.submit(tx)
    with engine.vm.snapshot(pending=True) as state:
        assert state.get_int(b"taken") == 3
    block = engine.build()
    other.verify(block.raw)  # refuses different effects
    engine.accept(block)
    with engine.vm.snapshot() as state:
        assert state.get_int(b"taken") == 3
    engine.stop()
    other.stop()


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("name", ["execute", "check", "begin", "end"])
def test_a_rule_that_would_end_the_thread_is_a_bug(name: str, error: type[BaseException]) -> None:
    def rule(self: Any, *arguments: Any) -> None:
        raise error("enough")

    vm = type("Ending", (Notes,), {name: rule})()
    with pytest.raises(RuntimeError, match=rf"rule raised {error.__name__}\('enough'\): raise Invalid to"):
        produce(vm)


@pytest.mark.parametrize("start", ["1", 1.5, b"1"])
def test_a_height_is_a_whole_number(start: Any) -> None:
    engine = Engine(Notes())
    vm = engine.vm
    with pytest.raises(TypeError, match=r"start is .*: give the height of a block"):
        vm.blocks(start)
    with pytest.raises(TypeError, match=r"start is .*: give the height of a block"):
        vm.events("topic", start)
    with pytest.raises(TypeError, match=r"stop is .*: give the height of a block"):
        vm.events("topic", 0, start)
    with pytest.raises(TypeError, match=r"start is .*: give the height of a block"):
        vm.feed.blocks(start)
    with pytest.raises(TypeError, match=r"timeout is '1': give a number of seconds"):
        vm.feed.blocks(0, timeout="1")
    engine.stop()


def test_heights_that_no_block_has_are_not_errors() -> None:
    engine = Engine(Notes())
    assert engine.vm.blocks(2**70) == engine.vm.events("topic", 2**70, 2**80) == []
    assert [block.height for block in engine.vm.blocks(-(2**70))] == [0]
    with pytest.raises(vmsdk.NotFound, match=f"no block has height {2**70}"):
        engine.vm.feed.blocks(2**70)
    engine.stop()


@pytest.mark.parametrize(("written", "meant"), [("onAccept", "on_accept"), ("FollowErs", "followers")])
def test_a_method_in_another_spelling_is_refused(written: str, meant: str) -> None:
    with pytest.raises(TypeError, match=rf"^Mine\.{written} is never called: vmsdk calls `{meant}`$"):
        type("Mine", (Notes,), {written: lambda self, *_: None})


class Lists:
    def _accept(self, candidate: Any) -> None: ...


@pytest.mark.parametrize(
    ("base", "members", "name", "owner"),
    [
        (Notes, {"_add": lambda self, account, amount: None}, "_add", "Chain"),
        (Notes, {"_load": staticmethod(lambda: None)}, "_load", "Chain"),
        (chain.SQLiteFollower, {"_name": property(lambda self: "index")}, "_name", "Follower"),
    ],
)
def test_a_method_in_place_of_a_private_one_is_refused(
    base: type, members: dict[str, Any], name: str, owner: str
) -> None:
    with pytest.raises(
        TypeError, match=rf"^Mine\.{name} replaces a method of {owner}, which needs it: choose"
    ):
        type("Mine", (base,), members)


def test_a_mixins_method_in_place_of_a_private_one_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"^Lists\._accept replaces a method of Chain, which needs it: choose"
    ):
        type("Mine", (Lists, Notes), {})


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("submit", lambda self, tx, tip: None, "self, tx"),
        ("admit", lambda self, who: None, "self, raw, source"),
        ("decode", lambda self: None, "self, raw"),
        ("knows", lambda self, name, raw: None, "self, transaction_id"),
        ("blocks", lambda self: None, "self, start=0, limit=100"),
        ("blocks", lambda self, start, limit: None, "self, start=0, limit=100"),
        ("events", lambda self, topic: None, "self, topic, start=0, stop=None, limit=1000"),
        ("snapshot", lambda self: None, r"self, \*, pending=False"),
        ("snapshot", lambda self, *, pending: None, r"self, \*, pending=False"),
        ("snapshot", lambda self, *, depth, pending=False: None, r"self, \*, pending=False"),
    ],
)
def test_a_method_of_the_chain_keeps_its_arguments(name: str, method: Any, expected: str) -> None:
    cure = rf"write `def {name}\({expected}\)`$"
    with pytest.raises(TypeError, match=rf"^Mine\.{name} does not take the arguments .*: {cure}"):
        type("Mine", (Notes,), {name: method})
    mixin = type("Mixin", (), {name: method})
    with pytest.raises(TypeError, match=rf"^Mixin\.{name} does not take the arguments .*: {cure}"):
        type("Mine", (mixin, Notes), {})


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("decode", lambda self, raw, more=1: None),
        ("blocks", lambda self, start=0, limit=10: None),
        ("snapshot", lambda self, *, pending=True, depth=1: None),
        ("snapshot", lambda self, pending=True: None),
        ("snapshot", lambda self, **options: None),
        ("last", property(lambda self: None)),
        ("transfer", lambda self: None),
    ],
)
def test_a_method_that_takes_more_than_the_chains_is_not_refused(name: str, method: Any) -> None:
    type("Mine", (Notes,), {name: method})


@pytest.mark.parametrize("name", ["last", "network"])
@pytest.mark.parametrize(
    ("written", "kind"),
    [(lambda self: 1, "a method"), (staticmethod(lambda: 1), "a method"), (5, "5"), (None, "None")],
)
def test_a_property_of_the_chain_stays_one(name: str, written: Any, kind: str) -> None:
    with pytest.raises(
        TypeError,
        match=rf"^Mine\.{name} is {kind}, but Chain\.{name} is a property, .*: choose another name$",
    ):
        type("Mine", (Notes,), {name: written})


def with_an_attribute(base: type, name: str, *arguments: Any) -> Any:
    def begin(self: Any) -> None:
        base.__init__(self, *arguments)  # type: ignore[misc]
        setattr(self, name, {})

    return type("Mine", (base,), {"__init__": begin, "schema": "", "add": lambda *_: None})()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        *((name, "is overwritten when the chain starts") for name in ("pool", "_chain_progress", "_recent")),
        *((name, "replaces a method of Chain, which needs it") for name in ("_later", "_prune")),
    ],
)
def test_an_attribute_in_place_of_the_chains_is_refused(name: str, what: str) -> None:
    with pytest.raises(TypeError, match=rf"^Mine\.{name} {what}.*: choose another"):
        Engine(with_an_attribute(Notes, name))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        *((name, "is overwritten when the chain starts") for name in ("_log", "_db", "_changed", "_thread")),
        ("_follow", "replaces a method of Follower, which needs it"),
    ],
)
def test_an_attribute_in_place_of_a_followers_is_refused(tmp_path: Path, name: str, what: str) -> None:
    index = with_an_attribute(chain.SQLiteFollower, name, tmp_path / "index.db")
    with pytest.raises(TypeError, match=rf"^Mine\.{name} {what}.*: choose another"):
        Engine(type("Indexed", (Notes,), {"followers": lambda self: [index]})())


@pytest.mark.parametrize("value", [None, []])
@pytest.mark.parametrize("name", ["_chain_progress", "_recent", "pool", "ctx", "_worker", "listeners"])
def test_an_attribute_of_the_chains_can_not_be_set_later(
    name: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine(type("Mine", (Notes,), {"on_accept": lambda self, block: setattr(self, name, value)})())
    engine.vm.submit(b"x")
    assert engine.produce().height == 1
    engine.stop()
    assert f"Mine sets {name}, an attribute that vmsdk's Chain needs: choose another name" in caplog.text
    assert (f"or add to it: self.{name}.append(" in caplog.text) == (name == "listeners")


def test_an_attribute_of_the_chains_can_be_set_to_what_it_is() -> None:
    heights: list[int] = []

    class Mine(Notes):
        def initialize(self, ctx: vmsdk.Context, *arguments: Any) -> None:
            self.ctx = ctx  # legal before and after, also when the object starts again
            super().initialize(ctx, *arguments)
            self.ctx = ctx
            self.listeners += [lambda block: heights.append(block.height)]
            self.listeners = [*self.listeners, lambda block: heights.append(-block.height)]
            self._pool = operator.add  # an author's name

    vm = Mine()
    Engine(vm, begins=False).stop()
    produce(vm)
    vm.shutdown()
    assert heights == [1, -1]


@pytest.mark.parametrize("name", ["history", "pool", "listeners", "ctx"])
def test_a_test_may_put_a_mock_in_place_of_an_attribute_of_the_chains(name: str) -> None:
    engine = Engine(Notes())
    before = getattr(engine.vm, name)
    with mock.patch.object(engine.vm, name) as double:
        assert getattr(engine.vm, name) is double
    assert getattr(engine.vm, name) is before
    engine.stop()


class Executor(Protocol):
    def execute(self, state: chain.State, tx: Any, block: chain.Header) -> bytes | None:
        """Apply a transaction."""


class Plain(Protocol):
    def execute(self, state: chain.State, tx: Any, block: chain.Header) -> bytes | None: ...


class Hears(Protocol):
    def on_accept(self, block: Any) -> None: ...


class Notifier(Protocol):
    def on_accept(self, block: Any) -> None:
        logging.info("accepted %d", block.height)


class Healthy(Protocol):
    def health_check(self) -> Any:
        return "fine"


class Following(Protocol):
    def followers(self) -> Any: ...


@pytest.mark.parametrize("protocol", [Executor, Plain])
def test_a_protocol_before_what_it_describes_is_refused(protocol: Any) -> None:
    name = protocol.__name__
    cure = rf"hides Notes\.execute: write {name} after Notes in the bases of Mine"
    with pytest.raises(TypeError, match=rf"^{name}\.execute does nothing, but {cure}$"):
        types.new_class("Mine", (protocol, Notes))


def test_a_protocol_that_hides_what_returns_a_constant_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^Following\.followers does nothing, but hides Hooks\.followers"):
        types.new_class("Mine", (Following, Notes))


def test_a_protocol_that_hides_nothing_is_a_base_like_others() -> None:
    members = {"execute": lambda self, state, tx, block: None}
    for bases in ((Notes, Executor), (Notifier, Notes), (Hears, Notes), (Healthy, Notes)):
        Engine(types.new_class("Mine", bases)()).stop()
    Engine(type("Mine", (Executor, Notes), members)()).stop()


@pytest.mark.parametrize("name", ["_later", "_worker"])
def test_a_value_in_place_of_what_the_chain_needs_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=rf"^Mine\.{name} .*: choose another"):
        type("Mine", (Notes,), {name: 5})


def test_a_list_is_not_a_kind_of_transaction() -> None:
    with pytest.raises(TypeError, match=r"is not a kind of transaction: give bytes"):
        type("Mine", (Notes,), {"transaction": [bytes]})


@pytest.mark.parametrize(
    ("members", "cure"),
    [
        ({"add": lambda self, block: None}, r"write `def add\(self, db, block\)`"),
        ({"add": awaited}, "without `async`"),
    ],
)
def test_a_followers_method_with_other_arguments_is_refused(members: dict[str, Any], cure: str) -> None:
    with pytest.raises(TypeError, match=rf"^Mine\.add .*{cure}"):
        type("Mine", (chain.SQLiteFollower,), members)


def test_an_on_accept_with_other_arguments_is_refused() -> None:
    with pytest.raises(TypeError, match=r"write `def on_accept\(self, block\)`"):
        type("Mine", (Notes,), {"on_accept": lambda self: None})


@pytest.mark.parametrize("attribute", ["on_accept", "add"])
def test_a_generator_that_would_never_run_is_refused(attribute: str) -> None:
    def method(self: Any, *arguments: Any) -> Any:
        yield

    base = Notes if attribute == "on_accept" else chain.SQLiteFollower
    with pytest.raises(TypeError, match=rf"^Mine\.{attribute} contains `yield`"):
        type("Mine", (base,), {attribute: method})


def test_a_listener_that_would_never_run_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(Notes())

    async def listener(block: Any) -> None: ...

    engine.vm.listeners.append(listener)
    engine.vm.submit(b"x")
    engine.produce()
    engine.stop()
    (record,) = caplog.records
    assert "listener failed for block" in record.getMessage()
    assert record.exc_info is not None
    assert "returned a coroutine: make it a plain function" in str(record.exc_info[1])


@pytest.mark.parametrize(
    "make", [lambda: chain.Table(b"t", chain.U64, chain.U64), lambda: chain.Counter(b"t")]
)
def test_what_is_not_a_state_is_named(make: Any) -> None:
    table = make()
    use: Any = table.of if isinstance(table, chain.Table) else table.get
    with pytest.raises(TypeError, match=r"^(Table|Counter)\(b't'\)\S* takes a state.*, not a dict$"):
        use({})


def test_neither_a_state_nor_a_table_is_iterated_over() -> None:
    state = chain.Overlay(chain.Overlay(None))  # type: ignore[arg-type]
    views: tuple[Any, ...] = state, chain.Table(b"t", chain.U64, chain.U64).of(state)
    for each in views:
        with pytest.raises(TypeError, match="not iterable"):
            list(each)


class Failure(logging.Handler):
    """The first error of a follower."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._logged = threading.Event()
        self._text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self._text = self._text or record.getMessage()
        self._logged.set()

    def of(self, follower: chain.Follower[Any]) -> str:
        log = logging.getLogger("vmsdk.chain")
        log.addHandler(self)
        try:
            engine = Engine(type("Mine", (Notes,), {"followers": lambda vm: [follower]})())
            assert self._logged.wait(60)
            engine.stop()
        finally:
            log.removeHandler(self)
        return self._text


def test_a_followers_mistakes_are_named(tmp_path: Path) -> None:
    def sqlite(**members: Any) -> Any:
        return type("Index", (chain.SQLiteFollower,), {"add": lambda self, db, block: None, **members})

    class Numbers(chain.Follower[Any]):
        def height(self) -> int: ...  # type: ignore[empty-body]
        def apply(self, block: Any) -> None: ...

    path = tmp_path / "index.db"
    for follower, mistake in (
        (sqlite()(path), "Index.schema is None: set it to the SQL"),
        (sqlite(schema=["create table t (x)"])(path), "Index.schema is ['create table t (x)']: set it"),
        (sqlite(schema="create tabel t (x)")(path), "Index.schema fails: near "),
        (sqlite(schema="", __init__=lambda self: None)(), "Index.__init__ must call super().__init__(path)"),
        (Numbers(), "Numbers.height returned None: return the last block's, or -1"),
    ):
        assert mistake in Failure().of(follower)


@pytest.mark.parametrize(
    ("schema", "error"),
    [
        ("CREATE TABLE t (x)", "table t already exists"),
        (
            "CREATE TABLE IF NOT EXISTS t (x UNIQUE); INSERT INTO t VALUES (1)",
            "UNIQUE constraint failed: t.x",
        ),
    ],
)
def test_a_schema_that_fails_at_the_second_start_runs_at_each(
    schema: str, error: str, tmp_path: Path
) -> None:
    class Index(chain.SQLiteFollower[chain.Block]):
        def add(self, db: sqlite3.Connection, block: chain.Block) -> None: ...

    Index.schema = schema
    first, second = Index(tmp_path / "index.db"), Index(tmp_path / "index.db")
    first.open()
    first.close()
    with pytest.raises(VMError) as caught:
        second.open()
    assert str(caught.value) == (
        f"Index.schema fails: {error}. Correct its SQL, which runs at each start: use CREATE TABLE IF NOT "
        f"EXISTS and INSERT OR IGNORE. If {second.path} is from an earlier schema, delete the file; it will "
        "be rebuilt"
    )
