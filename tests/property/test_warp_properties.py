"""Warp validator sets, quorums and signers, for any weights and any order."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsdk.context import Context
from vmsdk.errors import AppError, InvalidWarpMessage
from vmsdk.ids import ID, NodeID
from vmsdk.nodeservices import Validator, WarpValidator, WarpValidatorSet
from vmsdk.timestamp import Timestamp
from vmsdk.warp import BitSetSignature, Message, SignatureHandler, UnsignedMessage, is_quorum, verify

u64 = st.integers(0, 2**64 - 1)
keys = st.sampled_from([b"", *(bytes([first]) + bytes(95) for first in range(8))])
validators = st.lists(
    st.builds(Validator, st.binary(min_size=20, max_size=20).map(NodeID), st.integers(0, 2**58), keys),
    max_size=30,
    unique_by=lambda validator: validator.node_id,
)


@given(validators, st.randoms(use_true_random=False))
def test_the_canonical_set_merges_keys_whatever_the_order(found: list[Validator], random: object) -> None:
    expected = WarpValidatorSet.of(found)
    random.shuffle(found)  # type: ignore[attr-defined]
    assert WarpValidatorSet.of(found) == expected
    order = [validator.public_key for validator in expected.validators]
    assert order == sorted({validator.public_key for validator in found} - {b""})
    for each in expected.validators:
        sharing = [validator for validator in found if validator.public_key == each.public_key]
        assert each.weight == sum(validator.weight for validator in sharing)
        assert set(each.node_ids) == {validator.node_id for validator in sharing}
    assert expected.total_weight == sum(validator.weight for validator in found)


@given(u64, u64, u64, st.integers(1, 2**64 - 1))
def test_a_quorum_is_exact(signed: int, total: int, num: int, den: int) -> None:
    assert is_quorum(signed, total, num, den) == (Fraction(num, den) * total <= signed)


@given(st.sets(st.integers(0, 3000)))
def test_signers_are_listed_as_they_were_given(indices: set[int]) -> None:
    assert BitSetSignature.of(indices, bytes(96)).indices == sorted(indices)


@given(st.binary(max_size=300), st.lists(u64, max_size=5), st.integers(0, 2))
def test_any_signers_and_weights_are_refused_with_a_rule(
    signers: bytes, weights: list[int], network_id: int
) -> None:
    message = Message(UnsignedMessage(1, ID.EMPTY, b""), BitSetSignature(signers, bytes(96)))
    found = WarpValidatorSet([WarpValidator(bytes(96), weight) for weight in weights], sum(weights) + 1)
    with pytest.raises(InvalidWarpMessage) as caught:
        verify(message, found, network_id, 1, 1)
    assert caught.value.rule in (
        "wrong networkID",
        "bitset is invalid",
        "unknown validator",
        "signature weight is insufficient",
    )


@given(st.binary(max_size=300))
def test_any_request_is_refused_in_a_few_words(data: bytes) -> None:
    handler = SignatureHandler(Context(chain_id=ID.of(b"chain")), lambda message, justification: None)
    with pytest.raises(AppError) as caught:
        handler.app_request(NodeID.EMPTY, Timestamp(0), data)
    assert caught.value.code == AppError.UNEXPECTED
    assert len(str(caught.value)) < 300
