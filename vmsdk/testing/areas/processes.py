"""A plugin's relatives: the node that has started it, and the processes that it has started."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import uuid4

from vmsdk.host.node import Host
from vmsdk.host.plugin import GRACEFUL_STOP_TIMEOUT_S, PluginProcess, with_variables
from vmsdk.testing.bench import HANDSHAKE_TIMEOUT_S, Bench
from vmsdk.testing.contract import RUNTIME, STOPPER, Severity, Skipped, Violation, contract
from vmsdk.testing.wire import PROMPT_S, process_fields

# A node that starts the plugin, prints its process ID, and waits to be killed.
_NODE = """
import json, sys
from vmsdk.host.node import Host
order = json.loads(sys.argv[1])
fields = {name: bytes.fromhex(order[name]) for name in ("genesis", "config", "upgrade")}
host = Host(
    order["command"],
    protocol=order["protocol"],
    log=lambda stream, line: None,
    handshake_timeout_s=order["handshake_timeout_s"],
    **fields,
)
host.start()
print(host.process.pid, flush=True)
sys.stdin.read()
"""


@contract("life", severity=Severity.MISBEHAVES, source=RUNTIME)
def ends_with_the_node(bench: Bench) -> None:
    """A node that is killed can't stop its plugins; they must notice."""
    _needs_pidfd()
    order = {
        "command": bench.command,
        "protocol": bench.protocol,
        "handshake_timeout_s": HANDSHAKE_TIMEOUT_S,
        "genesis": bench.genesis.hex(),
        "config": bench.config.hex(),
        "upgrade": bench.upgrade.hex(),
    }
    node = subprocess.Popen(
        [sys.executable, "-c", _NODE, json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert node.stdin is not None
    assert node.stdout is not None
    with node.stdin, node.stdout:
        line = node.stdout.readline()
        if not line:
            raise Skipped("the plugin does not start: see the other checks")
        with ExitStack() as resources:
            watched = _watch([int(line)], resources)
            node.kill()
            node.wait()
            running = _await_ends(watched, PROMPT_S)
    if running:
        raise Violation(
            "the plugin keeps running after its node was killed",
            sent="SIGKILL to the node",
            got=f"the plugin still ran after {PROMPT_S:.0f} s",
            node="the next node can't open what the old plugin still holds",
            cure="exit when the parent process changes; on Linux, the plugin gets SIGTERM at that moment",
        )


@contract("life", severity=Severity.MISBEHAVES, source=STOPPER)
def leaves_no_child(bench: Bench) -> None:
    """Processes that the plugin has started end with it."""
    _check_children(bench, "Shutdown, then SIGTERM", Host.stop)


@contract("life", severity=Severity.MISBEHAVES, source=STOPPER)
def leaves_no_child_when_killed(bench: Bench) -> None:
    """Processes that the plugin has started end with it even if it is killed."""
    _check_children(bench, "SIGKILL", Host.kill)


def _check_children(bench: Bench, sent: str, end: Callable[[Host], int | None]) -> None:
    _needs_pidfd()
    # Not the node's address: processes of an earlier plugin with the same address may still run.
    mark = f"VMSDK_CHECK_CHILDREN={uuid4().hex}"
    bench.command = with_variables(bench.command, mark)
    with ExitStack() as resources:
        with bench.alone() as host:
            bench.alive(host)
            watched = _watch(_family(host.process, mark), resources)
            end(host)
        running = _await_ends(watched, GRACEFUL_STOP_TIMEOUT_S)
    if running:
        raise Violation(
            "processes that the plugin has started outlive it",
            sent=sent,
            got=f"{len(running)} still ran 5 s after the plugin had ended",
            node="it can't stop them; they keep files, ports and memory",
            cure="stop them in Shutdown, and let them exit when their parent does",
        )


def _family(process: PluginProcess, mark: str) -> list[int]:
    """Return the processes that the plugin has started, and those that they have started.

    *mark* is a variable in the environment of the plugin alone.
    """
    pid = process.pid
    parents: dict[int, int] = {}
    family = set()
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and int(entry) != pid:
            _, parent = process_fields(Path("/proc", entry, "stat"))
            parents[int(entry)] = parent
            # A process that has lost its parent still has its environment.
            if mark.encode() in _environment(entry):
                family.add(int(entry))
    found = {pid or 0}
    while found:
        found = {child for child, parent in parents.items() if parent in found}
        family.update(found)
    return sorted(family)


def _needs_pidfd() -> None:
    if not hasattr(os, "pidfd_open"):
        raise Skipped("only Linux can wait for a process that is not a child")


def _environment(pid: str) -> list[bytes]:
    try:
        return Path("/proc", pid, "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _watch(pids: Iterable[int], resources: ExitStack) -> dict[int, int]:
    """Return a descriptor for each process ID that becomes readable when the process ends."""
    watched = {}
    for pid in pids:
        try:
            watched[pid] = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        resources.callback(os.close, watched[pid])
    return watched


def _await_ends(watched: dict[int, int], timeout_s: float) -> list[int]:
    """Wait for the processes, and kill those that still run after *timeout_s*; returns these."""
    running = dict(watched)
    deadline = time.monotonic() + timeout_s
    while running and (rest_s := deadline - time.monotonic()) > 0:
        ended, _, _ = select.select(list(running.values()), [], [], rest_s)
        running = {pid: descriptor for pid, descriptor in running.items() if descriptor not in ended}
    for pid in running:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return list(running)
