"""What a forked child of a plugin is."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, signal
from vmsdk.runtime import children

def release():
    os.kill(os.getpid(), signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

signal.signal(signal.SIGTERM, lambda *_: None)
children.manage(release)
child = os.fork()
if child == 0:
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os.kill(os.getpid(), signal.SIGTERM)
print("the parent still has its handler, and receives signals")
"""


def test_a_signal_that_comes_before_a_child_has_its_own_handlers_ends_it() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines() == ["-15", "the parent still has its handler, and receives signals"]
