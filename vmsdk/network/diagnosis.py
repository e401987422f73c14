"""Why a node, a plugin or a chain failed, read from the lines of the node's logs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import Self

from vmsdk.network.errors import (
    ChainFailed,
    FileLimitTooLow,
    NetworkError,
    NodeDied,
    PluginNotRegistered,
    PortTaken,
)

SHOWN_LINES = 25
"""How many lines of a log an error shows: a traceback fits in."""

# A node names the place in its code; VMs may begin their lines in the same way, but without that.
_RECORD = re.compile(
    r"\[[^\]]+\] (?P<level>[A-Z]+) (?:<[^>]+> )?\S+\.go:\d+ (?P<message>.*?)(?P<fields> \{.*\})?"
)
_CHAIN_ENDS = frozenset({"chain failed to start", "chain shutdown"})
_NO_HANDSHAKE = "it ended, or did not answer within the 5 s that a node waits"
_NO_HANDLERS = "failed to create path route handlers"
_PLUGIN_ENDS = "stdout collector shutdown"
_ADDRESS_IN_USE = re.compile(r"listen tcp (?P<address>\S+): bind: address already in use")
_FILE_LIMIT = re.compile(r"fd-limit: \((?P<needed>\d+)\) greater than max: \((?P<limit>\d+)\)")


@dataclass(frozen=True)
class LogRecord:
    """A line that the node itself wrote (and not a plugin), taken apart."""

    level: str
    message: str
    fields: dict[str, object] = field(default_factory=dict)

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """None for a line of another form: a plugin's, or the continuation of a long one."""
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


def node_death(
    node: str, exit_code: int | None, main: Sequence[str], output: Sequence[str], log: Path
) -> NetworkError:
    """Why the node ended. `main` are the lines of its log since it was started, `output` what it printed."""
    text = "\n".join([*main, *output])
    in_use = _ADDRESS_IN_USE.search(text)
    if in_use:
        return PortTaken(node, in_use["address"])
    limit = _FILE_LIMIT.search(text)
    if limit:
        return FileLimitTooLow(int(limit["limit"]), int(limit["needed"]))
    grave = [line for line in main if (record := LogRecord.parse(line)) and record.level == "FATAL"]
    return NodeDied(node, exit_code, grave or [*main[-5:], *output[-5:]], log)


def registration_failure(
    node: str, main: Iterable[str], plugin_output: Sequence[str], plugin_dir: Path, log: Path
) -> PluginNotRegistered | None:
    """What the node says of a plugin whose registration launch failed; `plugin_output` are the lines of its log of plugins."""
    for line in main:
        record = LogRecord.parse(line)
        if record and record.message == "failed to register VM":
            plugin = plugin_dir / str(record.fields.get("vmID", ""))
            return PluginNotRegistered(node, plugin, record.reason, said_by_plugin(plugin_output), log)
    return None


def chain_failure(
    node: str, chain: str, chain_id: str, main: Iterable[str], chain_lines: Sequence[str], log: Path
) -> ChainFailed | None:
    """What the node says of a chain that it could not make or had to stop."""
    for line in main:
        record = LogRecord.parse(line)
        if record is None:
            continue
        if record.message == "error creating chain" and record.fields.get("chainID") == chain_id:
            return ChainFailed(node, chain, record.reason, chain_lines[-SHOWN_LINES:], log)
        if record.message == _NO_HANDLERS and record.fields.get("chainName") in (chain, chain_id):
            reason = f"its HTTP handlers could not be made: {record.reason}"
            return ChainFailed(node, chain, reason, chain_lines[-SHOWN_LINES:], log)
    return _end_of_chain(node, chain, chain_lines, log)


def _end_of_chain(node: str, chain: str, lines: Sequence[str], log: Path) -> ChainFailed | None:
    reason = ""
    for i, line in enumerate(lines):
        record = LogRecord.parse(line)
        if record is None:
            continue
        if record.level in ("ERROR", "FATAL"):
            reason = record.reason
        if record.level == "FATAL" or record.message in _CHAIN_ENDS:
            return ChainFailed(
                node, chain, reason or "the node stopped it", lines[: i + 1][-SHOWN_LINES:], log
            )
        if record.message == _PLUGIN_ENDS:
            # The node itself would wait for it for ever, once they have greeted each other.
            return ChainFailed(
                node, chain, reason or "its plugin's process ended", said_by_plugin(lines), log
            )
    return None


def said_by_plugin(lines: Sequence[str]) -> list[str]:
    """The lines of the log of plugins that the node did not write itself, and at most the last few."""
    return [line for line in lines if line.strip() and LogRecord.parse(line) is None][-SHOWN_LINES:]
