"""The timestamp chain, whose ParseBlock fails and logs in the way that the block names."""

from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "examples" / "timestamp")]

from timestampvm import TimestampBlock, TimestampVM  # noqa: E402

import vmsdk  # noqa: E402


def fail(text: str) -> None:
    raise ValueError(text)


class Unclosed:
    def __del__(self) -> None:
        fail("in the destructor")


async def lose_a_task() -> None:
    async def task() -> None:
        fail("in the task")

    lost = asyncio.ensure_future(task())
    await asyncio.sleep(0)
    del lost


class NoisyVM(TimestampVM):
    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        super().initialize(ctx, genesis, upgrade, config)
        print(f"the VM's config: {config!r}")

    def parse_block(self, data: bytes) -> TimestampBlock:
        log = self.ctx.log
        if data == b"thread":
            threading.Thread(target=fail, args=("in the thread",), name="worker").start()
        elif data == b"task":
            asyncio.run(lose_a_task())
        elif data == b"destructor":
            Unclosed()
        elif data == b"warning":
            warnings.warn("two\nlines", stacklevel=1)
        elif data == b"flood":
            for _ in range(1_000):
                log.warning("the same")
        elif data == b"levels":
            log.debug("a detail")
            log.info("häppened \x9b\x7f", extra={"height": 7})
        elif data == b"print":
            print("printed\nin two lines")
        else:
            return super().parse_block(data)
        raise vmsdk.InvalidBlock(f"done: {data!r}")


if __name__ == "__main__":
    vmsdk.serve(NoisyVM(), protocol_version=int(sys.argv[1]))
