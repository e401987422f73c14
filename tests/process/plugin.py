"""The plugins that the process tests start."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.waiting import wait_until
from vmsdk.host.control import Control
from vmsdk.host.node import Host
from vmsdk.protocol import DEFAULT_PROTOCOL

PLUGINS = Path(__file__).parent / "plugins"
ROOT = Path(__file__).parents[2]
# Only a failing test waits that long.
PATIENCE_S = 60.0


def lively(**orders: Any) -> list[str]:
    """The command of `plugins/lively.py` with these orders; the protocol is the host's unless one
    is.
    """
    return [
        sys.executable,
        str(PLUGINS / "lively.py"),
        json.dumps({"protocol": DEFAULT_PROTOCOL, **orders}),
    ]


def timestamp(protocol: int) -> list[str]:
    """The command that serves the timestamp example at a protocol version."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import timestampvm, vmsdk; "
        "vmsdk.serve(timestampvm.TimestampVM(), protocol_version=int(sys.argv[2]))"
    )
    return [sys.executable, "-c", code, str(ROOT / "examples" / "timestamp"), str(protocol)]


class Lines:
    """Collects what a plugin writes, and waits for lines of it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.all: list[tuple[str, str]] = []

    def __call__(self, stream: str, line: str) -> None:
        with self._changed:
            self.all.append((stream, line))
            self._changed.notify_all()

    def wait_for(self, text: str) -> str:
        """The first line that contains *text*."""

        def found() -> str | None:
            return next((line for _, line in self.all if text in line), None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, PATIENCE_S), (
                f"no {text!r} in {self.all}"
            )
            line = found()
        assert line is not None
        return line

    def wait_for_more_than(self, count: int) -> None:
        """Block until there are more than *count* lines."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.all) > count, PATIENCE_S)

    @property
    def text(self) -> str:
        with self._changed:
            return "\n".join(line for _, line in self.all)


@contextmanager
def mining(host: Host) -> Iterator[None]:
    """Make a block whenever the VM of a host that has started has work."""

    def broken(error: Exception) -> None:
        raise error

    control = Control(None, restart=lambda kill: None)
    control.begin(host, lambda error: None, broken)
    try:
        yield
    finally:
        control.end()
        control.join()


def alive(pid: int) -> bool:
    """Whether the process runs: a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def await_end(pid: int) -> None:
    """Wait until the process has ended."""
    wait_until(lambda: not alive(pid))


_NODE = """
import sys
import threading
sys.path.insert(0, {root!r})
from vmsdk.host.node import Host
host = Host({command!r}, protocol={protocol}, handshake_timeout_s={patience_s})
host.{begin}()
print(host.process.pid, flush=True)
sys.stdin.read()
"""


@contextmanager
def node_to_kill(command: list[str], begin: str = "start") -> Iterator[int]:
    """Let a node in a process of its own start the plugin, and yield the plugin's process ID. At
    the end of the block, kill the node, and wait until the plugin has ended.

    *begin* is the method of `Host` that starts the plugin.
    """
    code = _NODE.format(
        root=str(ROOT), command=command, protocol=DEFAULT_PROTOCOL, patience_s=PATIENCE_S, begin=begin
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as node:
        assert node.stdout is not None
        pid = int(node.stdout.readline())
        assert alive(pid)
        yield pid
        node.kill()
        node.wait(PATIENCE_S)
        await_end(pid)
