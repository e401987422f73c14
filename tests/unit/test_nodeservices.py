"""The canonical order of validators."""

from __future__ import annotations

from itertools import permutations

import pytest

from vmsdk.errors import WeightOverflow
from vmsdk.ids import NodeID
from vmsdk.nodeservices import MAX_WEIGHT, Validator, WarpValidator, WarpValidatorSet

LOW_KEY, HIGH_KEY = b"\x7f" + bytes(95), b"\x80" + bytes(95)
ALICE, BOB, CAROL = (NodeID(name * 20) for name in (b"a", b"b", b"c"))


def test_keys_ascend_bytewise_whatever_the_order_of_the_validators() -> None:
    validators = [Validator(ALICE, 1, HIGH_KEY), Validator(BOB, 2, LOW_KEY), Validator(CAROL, 4, HIGH_KEY)]
    expected = WarpValidatorSet(
        (WarpValidator(LOW_KEY, 2, (BOB,)), WarpValidator(HIGH_KEY, 5, (ALICE, CAROL))), 7
    )
    for order in permutations(validators):
        assert WarpValidatorSet.of(order) == expected


def test_a_validator_without_a_key_counts_in_the_total_only() -> None:
    assert WarpValidatorSet.of([Validator(ALICE, 3), Validator(BOB, 2, LOW_KEY)]) == WarpValidatorSet(
        (WarpValidator(LOW_KEY, 2, (BOB,)),), 5
    )


def test_no_validators_make_an_empty_set() -> None:
    assert WarpValidatorSet.of([]) == WarpValidatorSet((), 0)


def test_the_greatest_total_weight_is_64_bits() -> None:
    heaviest = [Validator(ALICE, MAX_WEIGHT, LOW_KEY)]
    assert WarpValidatorSet.of(heaviest).total_weight == 2**64 - 1
    with pytest.raises(WeightOverflow, match="overflowed") as caught:
        WarpValidatorSet.of([*heaviest, Validator(BOB, 1)])
    assert caught.value.total == 2**64
