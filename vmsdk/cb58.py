"""CB58: Base58 (Bitcoin alphabet) of the bytes followed by the last 4 bytes of their SHA-256."""

from __future__ import annotations

import hashlib

from vmsdk.errors import InvalidInput

CHECKSUM_LENGTH = 4

MAX_CHARACTERS = 256
"""The longest text to decode, since decoding takes quadratic time: the CB58 of 32 bytes."""

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}


def encode(data: bytes) -> str:
    """The CB58 text of *data*, which may be empty and of any length."""
    checked = data + hashlib.sha256(data).digest()[-CHECKSUM_LENGTH:]
    number = int.from_bytes(checked, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    leading_zeros = len(checked) - len(checked.lstrip(b"\0"))
    return _ALPHABET[0] * leading_zeros + "".join(reversed(digits))


def decode(text: str) -> bytes:
    """The bytes whose CB58 text is *text*.

    Raises `InvalidInput` if a character is outside the alphabet, if there are fewer bytes than the
    checksum's 4, or if the checksum does not match; its `rule` is the reason.
    """
    if len(text) > MAX_CHARACTERS:
        rule = f"{len(text)} characters are too many: CB58 of 32 bytes has at most 50"
        raise InvalidInput(rule, repr(text[:MAX_CHARACTERS] + "..."))
    number = 0
    for position, character in enumerate(text):
        value = _VALUES.get(character)
        if value is None:
            raise InvalidInput(
                f"base58 decoding error: {character!r} at {position} is not in the alphabet", repr(text)
            )
        number = number * 58 + value
    leading_zeros = len(text) - len(text.lstrip(_ALPHABET[0]))
    checked = b"\0" * leading_zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(checked) < CHECKSUM_LENGTH:
        raise InvalidInput("input string is smaller than the checksum size", repr(text))
    data, checksum = checked[:-CHECKSUM_LENGTH], checked[-CHECKSUM_LENGTH:]
    if hashlib.sha256(data).digest()[-CHECKSUM_LENGTH:] != checksum:
        raise InvalidInput("invalid input checksum", repr(text))
    return data
