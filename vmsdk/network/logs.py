"""The logs of a node: following them, and finding why something failed."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from typing_extensions import Self

from vmsdk.network.errors import NetworkError, PluginFailed, PortTaken, with_lines

SHOWN_LINES = 25
"""How many lines of a log an error shows: enough for a traceback."""

# Only lines of the node itself name a place in Go code; a VM's lines may begin in the same way.
_RECORD = re.compile(
    r"\[[^\]]+\] (?P<level>[A-Z]+) (?:<[^>]+> )?\S+\.go:\d+ (?P<message>.*?)(?P<fields> \{.*\})?"
)
_CHAIN_ENDS = frozenset({"chain failed to start", "chain shutdown"})
_NO_HANDSHAKE = "it exited, or did not respond within the node's 5 s"
_NO_HANDLERS = "failed to create path route handlers"
_PLUGIN_STARTS = "plugin handshake succeeded"
_PLUGIN_ENDS = "stdout collector shutdown"
_ADDRESS_IN_USE = re.compile(r"listen tcp (?P<address>\S+): bind: address already in use")
_FILE_LIMIT = re.compile(r"fd-limit: \((?P<needed>\d+)\) greater than max: \((?P<limit>\d+)\)")
_NODE_ID = re.compile(r'initializing node .*?"nodeID": "(?P<node_id>NodeID-\w+)"')


class LogFile:
    """Reads new lines of a log file.

    A node rotates a file of 8 MB; lines of the old one that were not read yet are skipped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._inode: int | None = None
        self._rest = b""

    @classmethod
    def at_end(cls, path: Path) -> Self:
        """A reader of lines added from now on. The file need not exist yet."""
        log = cls(path)
        try:
            status = path.stat()
        except FileNotFoundError:
            return log
        log._offset, log._inode = status.st_size, status.st_ino
        return log

    @classmethod
    def last_lines(cls, path: Path, count: int) -> tuple[Self, list[str]]:
        """The last `count` whole lines, and a reader of what follows them."""
        log = cls(path)
        lines = log.new_lines()
        return log, lines[-count:] if count > 0 else []

    def new_lines(self) -> list[str]:
        """The complete lines added since the last call; none if there is no file."""
        try:
            with self.path.open("rb") as file:
                self._seek(file)
                data = self._rest + file.read()
                self._offset = file.tell()
        except FileNotFoundError:
            return []
        *lines, self._rest = data.split(b"\n")
        return [line.decode(errors="replace").rstrip("\r") for line in lines]

    def _seek(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        replaced = self._inode is not None and status.st_ino != self._inode
        if replaced or status.st_size < self._offset:
            self._offset, self._rest = 0, b""
        self._inode = status.st_ino
        file.seek(self._offset)


@dataclass(frozen=True)
class LogRecord:
    """A line that the node itself logged, not a plugin."""

    level: str
    message: str
    fields: dict[str, object] = field(default_factory=dict)

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """None for other lines: a plugin's, or the continuation of a record."""
        match = _RECORD.fullmatch(line)
        if match is None:
            return None
        try:
            fields = json.loads(match["fields"] or "{}")
        except ValueError:
            fields = {}
        return cls(match["level"], match["message"], fields)

    @property
    def reason(self) -> str:
        reason = str(self.fields.get("error") or self.fields.get("reason") or self.message)
        return f"{reason} ({_NO_HANDSHAKE})" if reason.endswith("vm process not found") else reason


def node_id_in(main: Iterable[str]) -> str | None:
    """The node ID, which the node logs right after its start."""
    return next((match["node_id"] for line in main if (match := _NODE_ID.search(line))), None)


def node_exit(
    node: str, exit_code: int | None, main: Sequence[str], output: Sequence[str], log: Path
) -> NetworkError:
    """Why the node exited: `main` is its log since its start, `output` what it printed.

    `exit_code` is negative for a signal, and None if another process started the node.
    """
    text = "\n".join([*main, *output])
    if in_use := _ADDRESS_IN_USE.search(text):
        return PortTaken(node, in_use["address"])
    if limit := _FILE_LIMIT.search(text):
        return file_limit_too_low(int(limit["limit"]), int(limit["needed"]))
    fatal = [line for line in main if (record := LogRecord.parse(line)) and record.level == "FATAL"]
    return NetworkError(with_lines(f"{node} {_ending(exit_code)}", fatal or [*main[-5:], *output[-5:]], log))


def file_limit_too_low(limit: int, needed: int) -> NetworkError:
    return NetworkError(
        f"this process may open only {limit} files, and a node needs {needed}: "
        f"raise the hard limit (ulimit -Hn {needed}) and try again"
    )


def registration_failure(
    node: str, main: Iterable[str], plugin_output: Sequence[str], plugin_dir: Path, log: Path
) -> PluginFailed | None:
    """Why the node could not register a plugin, if so. `plugin_output` is its plugin log."""
    for line in main:
        record = LogRecord.parse(line)
        if record and record.message == "failed to register VM":
            plugin = plugin_dir / str(record.fields.get("vmID", ""))
            what = f"{node} could not start the plugin {plugin}"
            return PluginFailed(what, record.reason, plugin_lines(plugin_output), log)
    return None


def chain_failure(
    node: str, chain: str, chain_id: str, main: Iterable[str], chain_lines: Sequence[str], log: Path
) -> PluginFailed | None:
    """Why the node could not create the chain, or stopped it, if so."""
    what = f"the chain {chain} failed on {node}"
    for line in main:
        record = LogRecord.parse(line)
        if record is None:
            continue
        if record.message == "error creating chain" and record.fields.get("chainID") == chain_id:
            return PluginFailed(what, record.reason, chain_lines[-SHOWN_LINES:], log)
        if record.message == _NO_HANDLERS and record.fields.get("chainName") in (chain, chain_id):
            reason = f"its HTTP handlers could not be created: {record.reason}"
            return PluginFailed(what, reason, chain_lines[-SHOWN_LINES:], log)
    return _end_in(what, chain_lines, log)


def end_of_chain(what: str, log: Path) -> PluginFailed | None:
    """Why the chain stopped, if it did after the last start of its plugin, according to its log."""
    _, lines = LogFile.last_lines(log, sys.maxsize)
    starts = [
        i
        for i, line in enumerate(lines)
        if _PLUGIN_STARTS in line and LogRecord.parse(line)  # not the VM's line
    ]
    return _end_in(what, lines[starts[-1] if starts else 0 :], log)


def _end_in(what: str, lines: Sequence[str], log: Path) -> PluginFailed | None:
    records = [(i, record) for i, line in enumerate(lines) if (record := LogRecord.parse(line))]
    started = any(record.message == _PLUGIN_STARTS for _, record in records)
    reason = ""
    for i, record in records:
        if record.level in ("ERROR", "FATAL"):
            reason = record.reason
        if record.level == "FATAL" or record.message in _CHAIN_ENDS:
            return PluginFailed(what, reason or "the node stopped it", lines[: i + 1][-SHOWN_LINES:], log)
        if record.message == _PLUGIN_ENDS and started:
            # A node waits forever for a plugin that exits after the handshake, and logs no more. If
            # one exits before it, the node logs why it has no chain.
            return PluginFailed(what, reason or "its plugin's process exited", plugin_lines(lines), log)
    return None


def plugin_lines(lines: Sequence[str]) -> list[str]:
    """The last lines that the plugin wrote."""
    return [line for line in lines if line.strip() and LogRecord.parse(line) is None][-SHOWN_LINES:]


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "exited"
    if exit_code < 0:
        try:
            return f"was killed by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"was killed by signal {-exit_code}"
    return f"exited with code {exit_code}"
