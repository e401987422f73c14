"""Blocks of any size and time, that may want the P-chain's height."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import vmsdk
from vmsdk.block import VerifyWithContext

if TYPE_CHECKING:
    from .vm import EverythingVM

HEADER = struct.Struct(">32sQqI?Q")
NO_P_CHAIN_HEIGHT = 2**64 - 1


@dataclass(frozen=True)
class EverythingBlock(vmsdk.Block, VerifyWithContext):
    """Parent 32 | height u64 | seconds i64 | nanoseconds u32 | wants context u8 | P-chain height
    u64 | payload.
    """

    vm: EverythingVM = field(repr=False, compare=False)
    parent_id: vmsdk.ID
    height: int
    timestamp: vmsdk.Timestamp
    wants_context: bool
    p_chain_height: int
    payload: bytes = field(repr=False)

    @classmethod
    def parse(cls, vm: EverythingVM, data: bytes) -> EverythingBlock:
        if len(data) < HEADER.size:
            raise vmsdk.InvalidBlock(f"{len(data)} bytes are not a block")
        parent_id, height, seconds, nanos, wants_context, p_chain_height = HEADER.unpack_from(data)
        timestamp = vmsdk.Timestamp(seconds, nanos)
        return cls(
            vm, vmsdk.ID(parent_id), height, timestamp, wants_context, p_chain_height, data[HEADER.size :]
        )

    @cached_property
    def raw(self) -> bytes:
        times = (self.timestamp.seconds, self.timestamp.nanos)
        header = HEADER.pack(self.parent_id, self.height, *times, self.wants_context, self.p_chain_height)
        return header + self.payload

    @cached_property
    def id(self) -> vmsdk.ID:
        return vmsdk.ID.of(self.raw)

    @property
    def should_verify_with_context(self) -> bool:
        return self.wants_context

    def verify(self) -> None:
        self.vm.verifications.append(None)
        self._check()

    def verify_with_context(self, p_chain_height: int) -> None:
        self.vm.verifications.append(p_chain_height)
        if p_chain_height < self.vm.ctx.validators.get_minimum_height():
            raise vmsdk.InvalidBlock(f"the P-chain's height {p_chain_height} is too long ago")
        self._check()

    def _check(self) -> None:
        parent = self.vm.ctx.get_block(self.parent_id)
        if self.height != parent.height + 1:
            raise vmsdk.InvalidBlock(f"height {self.height} does not follow {parent.height}")
        if self.payload == b"invalid":
            raise vmsdk.InvalidBlock("the payload says so")

    def accept(self) -> None:
        self.vm.store(self)

    def reject(self) -> None:
        self.vm.rejected.append(self.id)
