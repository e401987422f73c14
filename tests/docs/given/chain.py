"""What the fragments of docs/chain.md are parts of: a state without keys, and an address."""

from collections.abc import Iterator
from dataclasses import dataclass as dataclass

from vmsdk import chain


class Nothing(chain.State):
    """A state without keys."""

    def lookup(self, key: bytes) -> None:
        return None

    def lookup_many(self, keys: list[bytes]) -> list[bytes | None]:
        return [None] * len(keys)

    def pairs(self, prefix: bytes, first: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(())


state = chain.Overlay(chain.Overlay(Nothing()))
address = bytes(20)
