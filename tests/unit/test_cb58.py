"""CB58, the text form of identifiers."""

from __future__ import annotations

import pytest

from vmsdk import cb58
from vmsdk.errors import InvalidInput


def test_appendix_a_the_empty_bytes() -> None:
    assert cb58.encode(b"") == "45PJLL"
    assert cb58.decode("45PJLL") == b""


@pytest.mark.parametrize("data", [b"\0", b"\0\0\0", b"\0\1", b"\1\0", b"\xff" * 32, bytes(64)])
def test_leading_and_trailing_zeros_survive(data: bytes) -> None:
    assert cb58.decode(cb58.encode(data)) == data


def test_each_leading_zero_byte_is_the_digit_one() -> None:
    assert cb58.encode(bytes(5)).startswith("11111")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param("45PJLM", "invalid input checksum", id="checksum"),
        pytest.param("111", "input string is smaller than the checksum size", id="short"),
        pytest.param("", "input string is smaller than the checksum size", id="empty"),
        pytest.param("45PJL0", "base58 decoding error: '0' at 5 is not in the alphabet", id="alphabet"),
        pytest.param("45 PJLL", "base58 decoding error: ' ' at 2 is not in the alphabet", id="space"),
    ],
)
def test_edge_97_each_kind_of_bad_text_has_an_error_of_its_own(text: str, rule: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        cb58.decode(text)
    assert caught.value.rule == rule
    assert repr(text) in str(caught.value)


def test_a_text_far_longer_than_any_is_refused_without_reading_it() -> None:
    with pytest.raises(InvalidInput, match="1000000 characters are too many") as caught:
        cb58.decode("!" * 1_000_000)
    assert len(str(caught.value)) < 1_000
