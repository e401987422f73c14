"""A plugin that never announces itself; SIGTERM ends it."""

import signal

signal.pause()
