"""`vmsdk dev --debug`: the author's breakpoints work, in the terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import threading
import time
from pathlib import Path

from .devcommand import TIMEOUT_S, TIMESTAMP_VM, Dev, call

VM = f"""\
import sys
sys.path.insert(0, {str(TIMESTAMP_VM.parent)!r})
from timestampvm import TimestampVM

class Debugged(TimestampVM):
    def build_block(self):
        waiting = len(self.mempool)
        breakpoint()
        return super().build_block()
"""


class Terminal:
    """`vmsdk dev` in a terminal of its own."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            argv = [sys.executable, "-m", "vmsdk", "dev", *arguments, "--port", "0"]
            os.execve(sys.executable, argv, {"LANG": "C", "TERM": "dumb", "COLUMNS": "500"})
        self._text = ""
        self._seen = 0

    def find(self, pattern: str) -> re.Match[str]:
        """The next place with *pattern*, waiting for it."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            match = re.compile(pattern).search(self._text, self._seen)
            if match is not None:
                self._seen = match.end()
                return match
            ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {pattern!r} in time:\n{self._text}"
            try:
                self._text += os.read(self._fd, 65_536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"ended without {pattern!r}:\n{self._text}") from None

    def type(self, line: str) -> None:
        os.write(self._fd, line.encode() + b"\n")

    def close(self) -> None:
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._fd)


def test_a_breakpoint_stops_the_vm_in_the_terminal_and_lets_it_go_on(tmp_path: Path) -> None:
    (tmp_path / "vm.py").write_text(VM)
    terminal = Terminal("vm.py", "--debug", folder=tmp_path)
    try:
        url = terminal.find(r"http://[\d.:]+/ext/bc/\w+")[0]
        thread = threading.Thread(
            target=call, args=(url, "timestampvm.proposeBlock"), kwargs={"data": "0x01"}
        )
        thread.start()
        terminal.find(r"vm\.py\(\d+\)build_block\(\)")
        terminal.find(r"\(Pdb\) ")
        terminal.type("p 'waiting', waiting")
        terminal.find(r"\('waiting', 1\)")
        terminal.type("continue")
        terminal.find(r"block 1 ")
        thread.join(TIMEOUT_S)
    finally:
        terminal.close()


def test_without_a_terminal_the_other_way_is_named(tmp_path: Path) -> None:
    with Dev(TIMESTAMP_VM, "--debug", folder=tmp_path) as dev:
        assert dev.wait() == 1
    assert "--debug needs a terminal: run vmsdk dev in one, or use --debug PORT with debugpy" in dev.output


def test_debugging_an_executable_is_refused(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text("#!/bin/sh\n")
    plugin.chmod(0o755)
    with Dev(plugin, "--debug", "5678", folder=tmp_path) as dev:
        assert dev.wait() == 1
    assert "--debug is for VMs in Python, and" in dev.output
