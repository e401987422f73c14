"""A plugin whose grandchild inherits its streams and outlives it: prints the grandchild's PID."""

from __future__ import annotations

import subprocess
import sys

child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(child.pid, flush=True)
