"""A VM for tests: the smallest chain, with every method replaceable."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import vmsdk
from vmsdk.block import VerifyWithContext
from vmsdk.timestamp import TimestampLike

TIME_RULE = "be a Timestamp, a datetime with a time zone, or an int of Unix seconds"
"""What a block's `timestamp` must do, in the errors about it."""

_HEADER = struct.Struct(">32sQ")


def encode(parent_id: bytes, height: int, body: bytes = b"") -> bytes:
    """A block of the plain chain: its parent, its height, anything."""
    return _HEADER.pack(parent_id, height) + body


@dataclass
class PlainBlock(vmsdk.Block):
    parent_id: vmsdk.ID
    height: int
    body: bytes = b""
    timestamp: TimestampLike = 0
    fate: list[str] = field(default_factory=list)
    invalid: str = ""
    vm: PlainVM | None = None

    @cached_property
    def raw(self) -> bytes:
        return encode(self.parent_id, self.height, self.body)

    @cached_property
    def id(self) -> vmsdk.ID:
        return vmsdk.ID.of(self.raw)

    def verify(self) -> None:
        self.fate.append("verified")
        if self.vm is not None:
            self.vm.on_verify(self)

    def accept(self) -> None:
        self.fate.append("accepted")
        if self.vm is not None:
            self.vm.accepted[self.id] = self
            self.vm.last = self

    def reject(self) -> None:
        self.fate.append("rejected")


@dataclass
class ContextBlock(PlainBlock, VerifyWithContext):
    heights: list[int] = field(default_factory=list)
    should_verify_with_context = True

    def verify_with_context(self, p_chain_height: int) -> None:
        self.heights.append(p_chain_height)


class PlainVM(vmsdk.ChainVM):
    """Keeps its blocks in memory; remembers what it was asked."""

    name = "plain"
    version = "0.0.1-plain"

    def __init__(self, **replaced: Callable[..., Any]) -> None:
        self.asked: list[str] = []
        self.made: dict[vmsdk.ID, PlainBlock] = {}
        self.to_build: list[PlainBlock] = []
        self.genesis = self.make(vmsdk.ID.EMPTY, 0, b"genesis")
        self.accepted: dict[vmsdk.ID, PlainBlock] = {self.genesis.id: self.genesis}
        self.last = self.genesis
        for name, function in replaced.items():
            setattr(self, name, function)

    def make(self, parent_id: vmsdk.ID, height: int, body: bytes = b"", **options: Any) -> PlainBlock:
        block = PlainBlock(parent_id, height, body, vm=self, **options)
        return self.made.setdefault(block.id, block)

    def child(self, body: bytes = b"", **options: Any) -> PlainBlock:
        return self.make(self.last.id, self.last.height + 1, body, **options)

    def on_verify(self, block: PlainBlock) -> None:
        if block.invalid:
            raise vmsdk.InvalidBlock(block.invalid)

    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        self.ctx = ctx

    def shutdown(self) -> None:
        self.asked.append("shutdown")

    def last_accepted(self) -> vmsdk.ID:
        return self.last.id

    def get_block(self, block_id: vmsdk.ID) -> PlainBlock:
        self.asked.append("get_block")
        if block_id not in self.accepted:
            raise vmsdk.NotFound(f"no block {block_id}")
        return self.accepted[block_id]

    def parse_block(self, data: bytes) -> PlainBlock:
        self.asked.append("parse_block")
        if len(data) < _HEADER.size:
            raise vmsdk.InvalidBlock(f"{len(data)} bytes are too few for a block")
        parent_id, height = _HEADER.unpack_from(data)
        known = self.made.get(vmsdk.ID.of(data))
        return known or self.make(vmsdk.ID(parent_id), height, data[_HEADER.size :])

    def build_block(self) -> PlainBlock:
        if not self.to_build:
            raise vmsdk.NothingToBuild
        return self.to_build.pop(0)

    def set_preference(self, block_id: vmsdk.ID) -> None:
        self.asked.append("set_preference")

    def get_block_id_at_height(self, height: int) -> vmsdk.ID:
        for block in self.accepted.values():
            if block.height == height:
                return block.id
        raise vmsdk.NotFound(f"no block at height {height}")
