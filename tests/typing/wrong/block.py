"""Mistakes in blocks. Each line that is wrong names mypy's error in a comment."""

from __future__ import annotations

from dataclasses import dataclass

import vmsdk


@dataclass
class TextID(vmsdk.Block):
    id: str  # E: assignment
    parent_id: vmsdk.ID
    height: int
    timestamp: float  # E: assignment
    raw: bytes

    def verify(self) -> bool:  # E: override
        return True

    def accept(self) -> None: ...


class NoAccept(vmsdk.Block):
    def verify(self) -> None: ...


NoAccept()  # E: abstract


def decide(block: vmsdk.Block) -> None:
    block.height += 1  # E: misc
    block.heigth  # E: attr-defined
    block.verify(7)  # E: call-arg
