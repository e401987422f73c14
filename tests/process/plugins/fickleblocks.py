"""A VM without `vmsdk.chain` whose blocks store a clock: their bytes are equal everywhere."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "timestamp"))

import timestampvm

import vmsdk


class ClockVM(timestampvm.TimestampVM):
    def store(self, block: timestampvm.TimestampBlock) -> None:
        super().store(block)
        if block.height:
            self.ctx.db[b"stored at"] = str(int(time.time())).encode()


if __name__ == "__main__":
    vmsdk.serve(ClockVM())
