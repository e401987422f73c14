"""Inputs close to valid ones: those of the corpus, changed at random."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
"""One file a decoder; each line is an input in hexadecimal: valid ones, and what once did harm."""
MAX_BYTES = 64 * 1024
_LONG = 0.01
"""The share of inputs that are grown to `MAX_BYTES`."""
_TOKENS = (b"\0", b"\xff", b"\x80", b"\x7f\xff\xff\xff", b"\xff" * 8, b"1e999", b"[", b'{"', b"\\u", b"%", b"\r\n", b": ")  # fmt: skip  # noqa: E501


def corpus(decoder: str) -> list[bytes]:
    """The inputs to begin with."""
    return [bytes.fromhex(line) for line in (CORPUS / f"{decoder}.txt").read_text("ascii").splitlines()]


def mutated(seeds: Sequence[bytes], dice: random.Random) -> bytes:
    """One of *seeds* after a few random changes, or random bytes; at most `MAX_BYTES`."""
    data = bytearray(dice.choice(seeds) if dice.random() < 0.95 else dice.randbytes(dice.randrange(300)))
    for _ in range(dice.choice((1, 1, 2, 3, 8))):
        start = dice.randrange(len(data) + 1)
        end = min(len(data), start + dice.choice((1, 1, 2, 4, 8, 32, 1_000)))
        change = dice.randrange(6)
        if change == 0 and start < end:
            data[start] = dice.randrange(256)
        elif change == 1 and start < end:
            data[start] ^= 1 << dice.randrange(8)
        elif change == 2:
            del data[start:end]
        elif change == 3:
            data[start:end] = dice.choice(_TOKENS)
        elif change == 4:
            other = dice.choice(seeds)
            cut = dice.randrange(len(other) + 1)
            data[start:end] = other[cut : cut + dice.choice((4, 32, 1_000))]
        else:
            data[start:start] = data[start:end] * dice.choice((1, 1, 2, 50))
    if data and dice.random() < _LONG:
        start = dice.randrange(len(data))
        piece = bytes(data[start : start + dice.choice((1, 2, 5, 40))])
        data[start:start] = piece * (MAX_BYTES // len(piece))
    return bytes(data[:MAX_BYTES])
