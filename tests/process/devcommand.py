"""`vmsdk dev` as a user starts it: a process of its own, of which one sees the output."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import psutil
from typing_extensions import Self

TIMEOUT_S = 60.0
TIMESTAMP_VM = Path(__file__).resolve().parents[2] / "examples" / "timestamp" / "timestampvm.py"


class Dev:
    """Runs the command in *folder*, with a nearly empty environment and a free port, until it ends
    by itself.

    Leaving the context kills it where a test has failed before.
    """

    def __init__(
        self,
        *arguments: object,
        folder: Path,
        port: int | None = 0,
        command: Sequence[str] = ("-m", "vmsdk", "dev"),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        argv = [sys.executable, *command, *map(str, arguments)]
        if port is not None:
            argv += ["--port", str(port)]
        self._process = subprocess.Popen(
            argv,
            cwd=folder,
            env={"LANG": "C", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._next: dict[str, int] = {}
        """Where to look on for each pattern."""
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    # Output ---------------------------------------------------------------------------------------

    @property
    def output(self) -> str:
        """All that was written until now."""
        with self._changed:
            return "\n".join(self._lines)

    def line(self, pattern: str) -> re.Match[str]:
        """The next line in which *pattern* is found, waiting for it; next to the last that it was
        found in.

        Lines of different origin (the command's, the VM's two streams) come in no certain order.
        """
        with self._changed:
            deadline = time.monotonic() + TIMEOUT_S
            while True:
                while (index := self._next.get(pattern, 0)) < len(self._lines):
                    self._next[pattern] = index + 1
                    match = re.search(pattern, self._lines[index])
                    if match is not None:
                        return match
                rest = deadline - time.monotonic()
                assert not self._ended, f"ended without {pattern!r}:\n" + "\n".join(self._lines)
                assert rest > 0, f"no {pattern!r} in time:\n" + "\n".join(self._lines)
                self._changed.wait(rest)

    def url(self) -> str:
        """Waits until the chain is served; where."""
        return self.line(r"URL: (http://\S+)")[1]

    def _collect(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            for line in pipe:
                with self._changed:
                    self._lines.append(line.decode().rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    # Life -----------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def interrupt(self) -> None:
        """Press Ctrl-C: it reaches the whole process group."""
        os.killpg(self._process.pid, signal.SIGINT)

    def terminate(self) -> None:
        """Send a SIGTERM, to the command alone."""
        self._process.terminate()

    def wait(self) -> int:
        """Wait for the end; the exit status. All output is read then."""
        try:
            status = self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end in time:\n{self.output}") from None
        self._reader.join(TIMEOUT_S)
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)


class OtherProcess:
    """A process that is not our child; it may have ended already."""

    def __init__(self, pid: int) -> None:
        self._process: psutil.Process | None
        try:
            self._process = psutil.Process(pid)
        except psutil.NoSuchProcess:
            self._process = None

    def wait(self) -> None:
        """Raises `psutil.TimeoutExpired` if it does not end in time."""
        if self._process is not None:
            self._process.wait(TIMEOUT_S)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()


def request(url: str, body: bytes | None = None, method: str | None = None) -> tuple[int, bytes]:
    """Status and body of the answer; JSON is what is sent."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
    try:
        connection.request(
            method or ("GET" if body is None else "POST"),
            parts.path,
            body,
            {"content-type": "application/json"},
        )
        with connection.getresponse() as answer:
            return answer.status, answer.read()
    finally:
        connection.close()


def call(url: str, method: str, **params: object) -> Any:
    """The result of a JSON-RPC call."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    status, text = request(url, body.encode())
    assert status == 200, text
    answer = json.loads(text)
    assert "error" not in answer, answer
    return answer["result"]
