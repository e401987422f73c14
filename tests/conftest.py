"""What all tests share."""

from __future__ import annotations

import signal

# A shell starts what it runs in the background with Ctrl-C ignored, and every process inherits that: then the
# programs under test would not hear the Ctrl-C that tests send them.
if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
    signal.signal(signal.SIGINT, signal.default_int_handler)
