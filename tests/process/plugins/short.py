"""The timestamp chain in a process that runs out of threads or descriptors when a block says so."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "examples" / "timestamp")]

NOBODY = 65_533
NOT_LIMITED = 3
CAP_SYS_ADMIN, CAP_SYS_RESOURCE = 21, 24


def become_limitable() -> None:
    """Linux limits nobody's threads who is root, or has one of these capabilities."""
    if os.getuid() != 0:
        return
    os.setresuid(NOBODY, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None)
    assert libc.capget(header, sets) == 0
    for index in (0, 1):
        sets[index] &= ~(1 << CAP_SYS_ADMIN | 1 << CAP_SYS_RESOURCE)
    assert libc.capset(header, sets) == 0


if sys.platform == "linux":
    become_limitable()

from timestampvm import TimestampBlock, TimestampVM  # noqa: E402

import vmsdk  # noqa: E402
from vmsdk.http import JSONRPC  # noqa: E402


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class ShortVM(TimestampVM):
    def create_handlers(self) -> dict[str, Any]:
        return {**super().create_handlers(), "/app": app, "/order": JSONRPC({"lack": self.lack_for})}

    def parse_block(self, data: bytes) -> TimestampBlock:
        order(data.decode(errors="replace"))
        return super().parse_block(data)

    def lack_for(self, what: str, seconds: float) -> None:
        """Be without threads or descriptors for a while."""
        threading.Timer(seconds, order, ["plenty"]).start()
        order(f"no {what}")


def order(text: str) -> None:
    if text == "no threads":
        limit(resource.RLIMIT_NPROC, 1)
        try:
            threading.Thread(target=int).start()
        except RuntimeError:
            pass
        else:
            os._exit(NOT_LIMITED)
    elif text == "no descriptors":
        limit(resource.RLIMIT_NOFILE, len(os.listdir("/proc/self/fd")) + 4)
        try:
            while True:
                HELD.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
    elif text == "plenty":
        while HELD:
            os.close(HELD.pop())
        for kind in (resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE):
            limit(kind, resource.getrlimit(kind)[1])
        print("there is plenty again")


HELD: list[int] = []


def limit(kind: int, soft: int) -> None:
    resource.setrlimit(kind, (soft, resource.getrlimit(kind)[1]))


if __name__ == "__main__":
    vmsdk.serve(ShortVM())
