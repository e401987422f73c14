"""The end of a plugin whose node is gone: its own shutdown, and out within seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable

# The process must be gone 5 s after its node. The VM's shutdown may wait for a database that nobody
# serves any more: after the first span its connections are cut, after the second it is left behind.
SHUTDOWN_S = 2.5
CUT_OFF_S = 1.0


def shut_down(shutdown: Callable[[], None], disconnect: Callable[[], None]) -> bool:
    """Run *shutdown* for at most 3.5 s, calling *disconnect* after 2.5 s. Whether it has ended."""
    ended = threading.Event()

    def run() -> None:
        try:
            shutdown()
        finally:
            ended.set()

    threading.Thread(target=run, name="vmsdk-orphan", daemon=True).start()
    if ended.wait(SHUTDOWN_S):
        return True
    disconnect()
    return ended.wait(CUT_OFF_S)
