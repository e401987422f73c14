"""What stands between `spawn` and the program that it starts."""

from __future__ import annotations

import signal
import sys

import pytest

from vmsdk.host import spawn as spawn_module
from vmsdk.host.errors import StartFailed
from vmsdk.host.spawn import spawn

INTERRUPTED = """\
import os, signal, socket, sys
control = socket.socket(fileno=int(sys.argv[1]))
{ready}
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the program is started directly")
@pytest.mark.parametrize("ready", ["pass", "control.sendall(b'+')"], ids=["before", "after"])
def test_ctrl_c_while_a_process_starts_is_distinguished_from_other_exits(
    ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawn_module, "_BECOME", INTERRUPTED.format(ready=ready))
    with pytest.raises(StartFailed, match="the interpreter died") as caught:
        spawn(["/bin/true"], {})
    assert caught.value.exit_code == -signal.SIGINT
