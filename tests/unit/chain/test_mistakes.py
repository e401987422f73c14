"""Mistakes of a chain's author: each is refused, in words that name the place and the cure."""

from __future__ import annotations

from typing import Any

import pytest

import vmsdk
from vmsdk import chain
from vmsdk.chain.block import BLOCK_OVERHEAD_BYTES, TRANSACTION_OVERHEAD_BYTES

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
def test_submit_of_what_is_no_transaction_names_the_kinds(tx: Any) -> None:
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
    ],
)
def test_limits_that_can_not_work_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match="|".join(limits)):
        chain.Limits(**limits)


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
