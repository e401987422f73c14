"""`vmsdk dev --debug`: the author's breakpoints work, in the terminal and in an editor."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

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


CHAIN = """\
import vmsdk
from vmsdk import chain
from vmsdk.http import JSONRPC

class Notes(chain.Chain):
    def execute(self, state, tx, block):
        height = block.height
        state[tx] = b"noted"

    def create_handlers(self):
        return {"": JSONRPC({"write": lambda text: str(self.submit(text.encode()))})}
"""
LINE = 1 + CHAIN.splitlines().index('        state[tx] = b"noted"')


class Editor:
    """A client of the Debug Adapter Protocol, as editors are."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._stream = self._socket.makefile("rwb")
        self._number = 0
        self._seen: list[dict[str, Any]] = []

    def send(self, command: str, **arguments: Any) -> int:
        self._number += 1
        message = {"seq": self._number, "type": "request", "command": command, "arguments": arguments}
        data = json.dumps(message).encode()
        self._stream.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        self._stream.flush()
        return self._number

    def request(self, command: str, **arguments: Any) -> Any:
        number = self.send(command, **arguments)
        response = self._find(lambda each: each.get("request_seq") == number)
        assert response["success"], response
        return response.get("body")

    def event(self, name: str) -> Any:
        return self._find(lambda each: each.get("event") == name).get("body")

    def _find(self, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while not any(map(matches, self._seen)):
            length = 0
            while line := self._stream.readline().strip():
                length = int(line.partition(b":")[2])
            assert length, "the debugger has hung up"
            self._seen.append(json.loads(self._stream.read(length)))
        return next(each for each in self._seen if matches(each))

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


TAKES_THE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """`vmsdk dev` in a terminal of its own."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        command = [sys.executable, "-m", "vmsdk", "dev", *arguments, "--port", "0"]
        environment = {"LANG": "C", "TERM": "dumb", "COLUMNS": "500"}
        self._fd, terminal = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKES_THE_TERMINAL, *command],
            cwd=folder,
            env=environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
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
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._fd)


def test_a_breakpoint_stops_the_vm_in_the_terminal_and_lets_it_go_on(tmp_path: Path) -> None:
    (tmp_path / "vm.py").write_text(VM)
    terminal = Terminal("vm.py", "--debug", folder=tmp_path)
    try:
        url = terminal.find(r"http://[\d.:]+/ext/bc/debugged")[0]  # and no part of it
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


@contextmanager
def kept_port() -> Iterator[int]:
    """A port that the system gives to nobody else, but to whoever asks for this one."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


def test_an_editor_stops_the_vm_in_execute_and_lets_it_go_on(tmp_path: Path) -> None:
    pytest.importorskip("debugpy")
    file = tmp_path / "vm.py"
    file.write_text(CHAIN)
    with kept_port() as port, Dev(file, "--debug", str(port), folder=tmp_path) as dev:
        url = dev.url()
        editor = Editor(port)
        try:
            editor.request("initialize", adapterID="debugpy")
            editor.send("attach", justMyCode=True)
            editor.event("initialized")
            editor.request("setBreakpoints", source={"path": str(file)}, breakpoints=[{"line": LINE}])
            editor.request("configurationDone")
            thread = threading.Thread(target=call, args=(url, "write"), kwargs={"text": "one"})
            thread.start()
            stopped = editor.event("stopped")
            frames = editor.request("stackTrace", threadId=stopped["threadId"])["stackFrames"]
            assert (frames[0]["name"], frames[0]["line"]) == ("execute", LINE)
            height = editor.request("evaluate", expression="height", frameId=frames[0]["id"])
            assert height["result"] == "1"
            editor.request("setBreakpoints", source={"path": str(file)}, breakpoints=[])
            editor.request("continue", threadId=stopped["threadId"])
            dev.line("block 1 ")
            thread.join(TIMEOUT_S)
        finally:
            editor.close()
        dev.interrupt()
        assert dev.wait() == 0


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
