"""Identifiers and the names of VMs. Names say which numbered edge case or vector of the contract a
test holds.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from vmsdk.errors import InvalidInput
from vmsdk.ids import ID, NodeID, vm_id

X = ID(bytes(range(1, 33)))
X_TEXT = "SkB92YpWm4Q2ijQHH34cqbKkCZWszsiQgHVjtNeFF2HdvDQU"
NODE = NodeID(bytes(range(1, 21)))
NODE_TEXT = "NodeID-6L5yRNPTuciSgXGHqYwn9N6NeoKMvqvy"


def test_edge_98_appendix_a_ids_as_text() -> None:
    assert str(ID.EMPTY) == "11111111111111111111111111111111LpoYY"
    assert str(X) == X_TEXT
    assert str(NodeID.EMPTY) == "NodeID-111111111111111111116DBWJs"
    assert str(NODE) == NODE_TEXT


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("timestampvm", "tGas3T58KzdjcJ2iKSyiYsWiqYctRXaPTqBCA11BqEkNg8kPc"),
        ("xsvm", "v3m4wPxaHpvGr8qfMeyK6PRW3idZrPHmYcMTt7oXdK47yurVH"),
        ("subnetevm", "srEXiWaHuhNyGwPUi444Tu47ZEDwxTWrbQiuD7FmgSAQ6X7Dy"),
    ],
)
def test_edge_98_appendix_a_vm_ids(name: str, text: str) -> None:
    assert str(vm_id(name)) == text


def test_edge_98_appendix_a_prefixes_and_suffixes() -> None:
    assert X.prefix(1).hex() == "6aa8b995c2cbc6c21a1cfe9addf8c86c68503d98f89d2b8b6ba7ef335da5270f"
    assert X.prefix(1, 2).hex() == "6b1d41979272107f04ce8f4de9143c75450c04ce8814aa7b70491e7033f1d17e"
    assert X.append(7).hex() == "5dbd1652f570fcbb719ea7ffcf3f8451dd0ea71472bd8c8a4d175d957df0c5ca"


def test_edge_98_appendix_a_the_space_that_two_chains_share() -> None:
    space = ID.of(b"\0\0" + min(X, ID.EMPTY) + max(X, ID.EMPTY))
    assert space.hex() == "6edacda688b3b3ae107008fd171003766518f977f3f275aebc845023e0ec5559"


def test_text_leads_back_to_the_identifier() -> None:
    assert ID.from_string(X_TEXT) == X
    assert NodeID.from_string(NODE_TEXT) == NODE


def test_the_repr_can_be_evaluated() -> None:
    assert eval(repr(X)) == X
    assert eval(repr(NODE)) == NODE


def test_format_prints_the_text_too() -> None:
    assert f"{X}" == X_TEXT
    assert f"{X:>60}" == X_TEXT.rjust(60)


def test_an_id_equals_and_hashes_like_its_bytes() -> None:
    assert bytes(range(1, 33)) == X
    assert {X: "found"}[bytes(range(1, 33))] == "found"  # type: ignore[index]


def test_the_customary_id_is_the_sha256() -> None:
    assert ID.of(b"block") == hashlib.sha256(b"block").digest()


def test_bits_count_from_the_least_significant_of_the_first_byte() -> None:
    one = ID(b"\x02" + bytes(30) + b"\x80")
    assert [index for index in range(256) if one.bit(index)] == [1, 255]


@pytest.mark.parametrize("length", [0, 20, 31, 33])
def test_an_id_has_32_bytes(length: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        ID(bytes(length))
    assert str(caught.value) == f"invalid hash length: expected 32 bytes but got {length}"


@pytest.mark.parametrize("length", [0, 19, 21, 32])
def test_a_node_id_has_20_bytes(length: int) -> None:
    with pytest.raises(InvalidInput, match=f"expected 20 bytes but got {length}$"):
        NodeID(bytes(length))


def test_a_text_of_another_length_is_not_an_id() -> None:
    with pytest.raises(InvalidInput):
        ID.from_string("45PJLL")
    with pytest.raises(InvalidInput):
        NodeID.from_string(f"NodeID-{X_TEXT}")


def test_a_node_id_needs_its_prefix() -> None:
    with pytest.raises(InvalidInput, match="a node ID starts with 'NodeID-'"):
        NodeID.from_string(NODE_TEXT.removeprefix("NodeID-"))


def test_a_vm_name_may_have_32_characters() -> None:
    assert vm_id("v" * 32) == b"v" * 32


@pytest.mark.parametrize("name", ["", "v" * 33, "fünf", "zero\0"])
def test_a_name_that_no_vm_can_have_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        vm_id(name)
    assert repr(name) in str(caught.value)
    assert "1 to 32 ASCII characters" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (X_TEXT, rf"ID\('{X_TEXT}'\) takes 32 bytes: use ID\.from_string"),
        ("x" * 32, r"ID\('xxx.* takes 32 bytes: use ID\.from_string"),
        (7, r"ID\(7\) takes 32 bytes"),
        (None, r"ID\(None\) takes 32 bytes"),
        ([0] * 32, r"ID\(\[0, 0.* takes 32 bytes"),
    ],
)
def test_an_id_is_made_from_bytes(value: Any, text: str) -> None:
    with pytest.raises(TypeError, match=f"^{text}"):
        ID(value)
