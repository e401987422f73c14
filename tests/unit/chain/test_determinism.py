"""`check_determinism` finds rules that depend on the machine, at their first block."""

from __future__ import annotations

import random
import time

import pytest

from vmsdk import chain
from vmsdk.chain.determinism import Nondeterministic, check_determinism

TRANSACTIONS = [b"one", b"two", b"three"]


class Rules(chain.Chain):
    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        state[tx] = self.value(tx).encode()

    def value(self, tx: bytes) -> str:
        return ""


class Good(Rules):
    def value(self, tx: bytes) -> str:
        return ",".join(sorted({"a", "b", "c", tx.decode()}))


class SetOrder(Rules):
    def value(self, tx: bytes) -> str:
        return ",".join({str(each) for each in range(20)})


class TextHash(Rules):
    def value(self, tx: bytes) -> str:
        return str(hash("text"))


class Clock(Rules):
    def value(self, tx: bytes) -> str:
        return str(int(time.time()))


class LocalTime(Rules):
    def value(self, tx: bytes) -> str:
        return str(time.localtime(0).tm_hour)


class Random(Rules):
    def value(self, tx: bytes) -> str:
        return str(random.random())


class Address(Rules):
    def value(self, tx: bytes) -> str:
        return str(id(object()))


class Memory(Rules):
    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def value(self, tx: bytes) -> str:
        self.seen.append(tx)
        return str(len(self.seen))


class Upgraded(Rules):
    upgrades = ("v2",)

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        assert self.ctx.upgrades.is_active("v2", block) == (block.height >= 2)


class Third(Rules):
    def value(self, tx: bytes) -> str:
        return str(hash("text")) if tx == b"three" else ""


def test_rules_that_depend_on_their_arguments_pass() -> None:
    check_determinism(Good, TRANSACTIONS, genesis=b"x")
    check_determinism(Good, TRANSACTIONS, per_block=2)


def test_both_processes_have_the_same_upgrades() -> None:
    check_determinism(Upgraded, TRANSACTIONS, upgrade=b'{"upgrades": [{"name": "v2", "height": 2}]}')


@pytest.mark.parametrize("rules", [SetOrder, TextHash, Clock, LocalTime, Random, Address, Memory])
def test_rules_that_do_not_are_found_at_the_first_block(rules: type[chain.Chain]) -> None:
    with pytest.raises(Nondeterministic, match="nondeterminism") as failure:
        check_determinism(rules, TRANSACTIONS)
    assert failure.value.height == 1


def test_the_first_block_that_differs_is_named() -> None:
    with pytest.raises(Nondeterministic, match="block 3") as failure:
        check_determinism(Third, TRANSACTIONS)
    assert failure.value.height == 3


def test_a_transaction_that_is_refused_is_not_hidden() -> None:
    class Strict(Good):
        def check(self, tx: bytes) -> None:
            raise chain.Invalid("no")

    with pytest.raises(chain.Invalid, match="no"):
        check_determinism(Strict, TRANSACTIONS)
