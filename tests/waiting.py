"""Waiting for what gives no signal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_DEADLINE_S = 60
_POLL_S = 0.01


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds, or fail after 60 s."""
    deadline_s = time.monotonic() + _DEADLINE_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline_s, "it never came to be"
        pause.wait(_POLL_S)
