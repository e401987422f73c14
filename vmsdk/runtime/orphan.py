"""The end of a plugin whose node is gone: its own shutdown, and out within seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable

# The process must be gone 5 s after its node. By then what waits for the node's services was cut off.
SHUTDOWN_S = 3.0


def shut_down(shutdown: Callable[[], None]) -> bool:
    """Run *shutdown* for at most 3 s; whether it has ended. What it raises is for its own log."""
    ended = threading.Event()

    def run() -> None:
        try:
            shutdown()
        finally:
            ended.set()

    threading.Thread(target=run, name="vmsdk-orphan", daemon=True).start()
    return ended.wait(SHUTDOWN_S)
