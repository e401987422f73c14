"""Not a plugin but a host: starts the plugin given as arguments, prints its PID, and waits to be
killed.
"""

from __future__ import annotations

import signal
import sys

from vmsdk.host.plugin import PluginProcess

process = PluginProcess(sys.argv[1:], handshake_timeout_s=60)
process.start()
print(process.pid, flush=True)
signal.pause()
