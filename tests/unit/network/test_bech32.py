"""Bech32, by the vectors of BIP-173."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsdk.network import bech32

VALID = [
    "A12UEL5L",
    "a12uel5l",
    "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
    "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
    "11qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqc8247j",
    "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
    "?1ezyfcl",
]

INVALID = [
    ("\x201nwldj5", "visible ASCII"),
    ("\x7f1axkwrx", "visible ASCII"),
    ("\x801eym55h", "visible ASCII"),
    (
        "an84characterslonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1569pvx",
        "at most 90",
    ),
    ("pzry9x0s0muk", "no prefix"),
    ("1pzry9x0s0muk", "no prefix"),
    ("x1b4n0q5v", "not in the alphabet"),
    ("li1dgmt3", "checksum's 6 characters"),
    ("de1lg7wt\xff", "visible ASCII"),
    ("A1G7SGD8", "checksum is wrong"),
    ("10a06t8", "no prefix"),
    ("1qzzfhee", "no prefix"),
    ("A12uEL5L", "mixed"),
]


@pytest.mark.parametrize("text", VALID)
def test_the_valid_texts_of_bip_173_are_read(text: str) -> None:
    prefix, _ = bech32.decode_groups(text)
    assert text.lower().startswith(prefix + "1")


@pytest.mark.parametrize(("text", "reason"), INVALID)
def test_the_invalid_texts_of_bip_173_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(bech32.InvalidBech32, match=reason) as caught:
        bech32.decode_groups(text)
    assert caught.value.text == text


def test_the_address_of_local_networks_is_read_and_written() -> None:
    payload = bytes.fromhex("3cb7d3842e8cee6a0ebd09f1fe884f6861e1b29c")
    assert bech32.encode("local", payload) == "local18jma8ppw3nhx5r4ap8clazz0dps7rv5u00z96u"
    assert bech32.decode("local18jma8ppw3nhx5r4ap8clazz0dps7rv5u00z96u") == ("local", payload)


@given(st.binary(max_size=40))
def test_what_is_written_is_read_back(payload: bytes) -> None:
    assert bech32.decode(bech32.encode("custom", payload)) == ("custom", payload)


@given(st.binary(min_size=1, max_size=40), st.data())
def test_one_wrong_character_is_always_found(payload: bytes, data: st.DataObject) -> None:
    text = bech32.encode("custom", payload)
    place = data.draw(st.integers(len("custom1"), len(text) - 1))
    wrong = data.draw(st.sampled_from([c for c in "qpzry9x8gf2tvdw0s3jn54khce6mua7l" if c != text[place]]))
    with pytest.raises(bech32.InvalidBech32):
        bech32.decode(text[:place] + wrong + text[place + 1 :])


@pytest.mark.parametrize("prefix", ["", "Upper", "with space", "é"])
def test_an_impossible_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(bech32.InvalidBech32, match="lower case"):
        bech32.encode(prefix, b"")


def test_more_than_fits_is_not_written() -> None:
    with pytest.raises(bech32.InvalidBech32, match="at most 90"):
        bech32.encode("local", bytes(60))


def test_bits_left_over_must_be_few_and_zero() -> None:
    with pytest.raises(bech32.InvalidBech32, match="padding is not zero"):
        bech32.decode(_with_groups("a", [31, 31]))
    with pytest.raises(bech32.InvalidBech32, match="a character too many"):
        bech32.decode(_with_groups("a", [0, 0, 0]))


def _with_groups(prefix: str, groups: list[int]) -> str:
    """A text of these groups of five bits, with the checksum that fits."""
    residue = bech32._polymod([*bech32._expand(prefix), *groups, *[0] * 6]) ^ 1
    checksum = [residue >> 5 * (5 - i) & 31 for i in range(6)]
    return f"{prefix}1" + "".join("qpzry9x8gf2tvdw0s3jn54khce6mua7l"[group] for group in [*groups, *checksum])
