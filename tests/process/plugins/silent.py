"""A plugin that never announces itself; SIGTERM ends it."""

from __future__ import annotations

import signal

signal.pause()
