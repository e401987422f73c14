"""Bech32 (BIP-173), the checksummed text that P-chain addresses are written in.

Only the original bech32 is here: nodes do not use bech32m.
"""

from __future__ import annotations

from vmsdk.errors import VMError

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_CHECKSUM_CHARACTERS = 6
_MAX_CHARACTERS = 90  # BIP-173: in longer text the checksum no longer finds every error of four characters
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)  # BIP-173


class InvalidBech32(VMError, ValueError):
    """Raised for text that is not bech32, and for data that cannot be written so."""

    def __init__(self, text: str, reason: str) -> None:
        self.text = text
        self.reason = reason
        super().__init__(f"{text!r} is not bech32: {reason}")


def encode(prefix: str, payload: bytes) -> str:
    """Writes `payload` under the human-readable `prefix` (lower case, 1 to 83 visible ASCII characters).

    Raises:
        InvalidBech32: the prefix is not of that form, or the text would be longer than 90 characters.
    """
    if not prefix or prefix != prefix.lower() or not _is_visible_ascii(prefix):
        raise InvalidBech32(prefix, "a prefix is visible ASCII in lower case")
    groups = _bytes_to_groups(payload)
    checksum = _polymod([*_expand(prefix), *groups, *[0] * _CHECKSUM_CHARACTERS]) ^ 1
    groups += [checksum >> 5 * (5 - i) & 31 for i in range(_CHECKSUM_CHARACTERS)]
    text = f"{prefix}1{''.join(_ALPHABET[group] for group in groups)}"
    if len(text) > _MAX_CHARACTERS:
        raise InvalidBech32(text, f"{len(text)} characters, and at most {_MAX_CHARACTERS} are allowed")
    return text


def decode(text: str) -> tuple[str, bytes]:
    """Reads the prefix and the payload of `text`.

    Raises:
        InvalidBech32: wrong length, characters, case, checksum or padding.
    """
    prefix, groups = decode_groups(text)
    return prefix, _groups_to_bytes(text, groups)


def decode_groups(text: str) -> tuple[str, list[int]]:
    """Reads the prefix and the groups of five bits, checksum removed.

    Raises:
        InvalidBech32: wrong length, characters, case or checksum.
    """
    if len(text) > _MAX_CHARACTERS:
        raise InvalidBech32(text, f"{len(text)} characters, and at most {_MAX_CHARACTERS} are allowed")
    if not _is_visible_ascii(text):
        raise InvalidBech32(text, "only visible ASCII characters are allowed")
    if text != text.lower() and text != text.upper():
        raise InvalidBech32(text, "upper and lower case are mixed")
    prefix, separator, data = text.lower().rpartition("1")
    if not separator or not prefix:
        raise InvalidBech32(text, "there is no prefix before a '1'")
    if len(data) < _CHECKSUM_CHARACTERS:
        raise InvalidBech32(text, f"the checksum's {_CHECKSUM_CHARACTERS} characters are not all there")
    unknown = sorted(set(data) - set(_ALPHABET))
    if unknown:
        raise InvalidBech32(text, f"{unknown[0]!r} is not in the alphabet")
    groups = [_ALPHABET.index(character) for character in data]
    if _polymod([*_expand(prefix), *groups]) != 1:
        raise InvalidBech32(text, "the checksum is wrong, so the text was mistyped or cut")
    return prefix, groups[:-_CHECKSUM_CHARACTERS]


def _is_visible_ascii(text: str) -> bool:
    return all(33 <= ord(character) <= 126 for character in text)


def _expand(prefix: str) -> list[int]:
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def _polymod(groups: list[int]) -> int:
    checksum = 1
    for group in groups:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ group
        for i, generator in enumerate(_GENERATORS):
            checksum ^= generator if top >> i & 1 else 0
    return checksum


def _bytes_to_groups(payload: bytes) -> list[int]:
    padding = -len(payload) * 8 % 5
    number = int.from_bytes(payload, "big") << padding
    count = (len(payload) * 8 + padding) // 5
    return [number >> 5 * (count - 1 - i) & 31 for i in range(count)]


def _groups_to_bytes(text: str, groups: list[int]) -> bytes:
    number = 0
    for group in groups:
        number = number << 5 | group
    padding = len(groups) * 5 % 8
    if padding >= 5:
        raise InvalidBech32(text, "there is a character too many")
    if number & (1 << padding) - 1:
        raise InvalidBech32(text, "the padding is not zero")
    return (number >> padding).to_bytes(len(groups) * 5 // 8, "big")
