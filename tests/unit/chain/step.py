"""A transaction for chains with nonces."""

from __future__ import annotations

from dataclasses import dataclass

from vmsdk import chain


@dataclass(frozen=True)
class Step:
    """`sender sequence priority`, and what a test adds."""

    raw: bytes

    @classmethod
    def from_bytes(cls, raw: bytes) -> Step:
        if len(raw.split()) < 3:
            raise chain.Invalid("a step has three words")
        return cls(raw)

    @property
    def sender(self) -> bytes:
        return self.raw.split()[0]

    @property
    def sequence(self) -> int:
        return int(self.raw.split()[1])

    @property
    def priority(self) -> int:
        return int(self.raw.split()[2])
