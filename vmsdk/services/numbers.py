"""The ranges of the wire's numbers, checked before anything is sent."""

from __future__ import annotations

from vmsdk.errors import InvalidInput


def unsigned(what: str, value: int, *, bits: int) -> int:
    """*value*, an unsigned number of that many bits. Raises `InvalidInput`, which calls it *what*."""
    return _within(what, value, 0, (1 << bits) - 1)


def signed(what: str, value: int, *, bits: int) -> int:
    """*value*, a signed number of that many bits. Raises `InvalidInput`, which calls it *what*."""
    return _within(what, value, -1 << (bits - 1), (1 << (bits - 1)) - 1)


def _within(what: str, value: int, lowest: int, highest: int) -> int:
    if not lowest <= value <= highest:
        raise InvalidInput(f"{what} is a number from {lowest} to {highest}; {value} is not")
    return value
