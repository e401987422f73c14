"""A VM that says what it was given, in all the ways in which a VM can talk."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import vmsdk

if TYPE_CHECKING:
    from vmsdk import ChainVM

    class TimestampVM(ChainVM):
        def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
            raise NotImplementedError

else:
    sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples" / "timestamp"))
    from timestampvm import TimestampVM

# Well below what a node copies at a time (32 KiB): longer ones it may itself part, when the VM
# prints meanwhile.
LONG = "long" * 4_000


class ChattyVM(TimestampVM):
    """Its configuration is the level of its log."""

    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        super().initialize(ctx, genesis, upgrade, config)
        if config:
            ctx.log.setLevel(config.decode())
        ctx.log.debug("a detail")
        ctx.log.info("genesis %r, upgrade %r, config %r", genesis, upgrade, config)
        ctx.log.warning("Größe: 3 €")
        ctx.log.error("%s.", LONG)
        print("printed by the VM")
        warnings.warn("warned by the VM", stacklevel=1)
        try:
            raise KeyError("no such key")
        except KeyError:
            ctx.log.exception("caught")
