"""VMs whose chain does not start, or does not last."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vmsdk

if TYPE_CHECKING:
    from vmsdk import ChainVM

    class TimestampVM(ChainVM):
        def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
            raise NotImplementedError

        def store(self, block: Any) -> None:
            raise NotImplementedError

        def build_block(self) -> Any:
            raise NotImplementedError

else:
    sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples" / "timestamp"))
    from timestampvm import TimestampVM


class PickyVM(TimestampVM):
    """Takes no genesis but one."""

    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        if genesis != b"good":
            raise ValueError(f"the genesis {genesis!r} has no owner")
        super().initialize(ctx, genesis, upgrade, config)


class StuckVM(TimestampVM):
    """Does not want to bootstrap."""

    def set_state(self, state: vmsdk.State) -> None:
        raise RuntimeError("the state cannot be set, the disk is full")


class MortalVM(TimestampVM):
    """Ends its process, which no VM should do."""

    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        os._exit(3)


class DoomedVM(TimestampVM):
    """Fails to accept its first block, which stops the chain."""

    def store(self, block: Any) -> None:
        if block.height > 0:
            raise OSError("the disk is full")
        super().store(block)


class ResignedVM(TimestampVM):
    """Stops its chain when it should build a block, a call whose errors a node ignores."""

    def build_block(self) -> Any:
        raise vmsdk.Fatal("the rules have run out")


class UnservedVM(TimestampVM):
    """Has an interface that cannot be made."""

    def create_handlers(self) -> dict[str, Any]:
        raise RuntimeError("the interface has no colour")
