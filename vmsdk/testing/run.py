"""Runs checks, each in its own thread, and turns what they raise into verdicts."""

from __future__ import annotations

import enum
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc

from vmsdk.errors import MissingExtra
from vmsdk.host.engine import call_failed
from vmsdk.host.errors import (
    CallFailed,
    ChainFatal,
    ChainMisused,
    ClientClosed,
    DatabaseInUse,
    DatabaseUnreadable,
    EndedBeforeHandshake,
    HandshakeFailed,
    HostError,
    InvalidResponse,
    PluginGone,
    StartFailed,
    ending,
)
from vmsdk.testing.bench import NO_WORK, Bench
from vmsdk.testing.contract import Check, Skipped, Violation
from vmsdk.testing.hook import HookFailed
from vmsdk.testing.pool import Pool

# How long a check may take before its plugin is killed.
CHECK_TIMEOUT_S = 60.0
_SLOW_FACTOR = 5
# How long it may take to return after that.
_KILLED_TIMEOUT_S = 15.0
# How often the deadlines and the memory are checked.
_POLL_S = 0.2
MEMORY_LIMIT_BYTES = 4 * 1024**3
_LAST_LINES = 20
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has no SIGKILL


class Verdict(enum.Enum):
    """The outcome of a check."""

    PASSED = "passed"
    VIOLATED = "violated"
    SKIPPED = "skipped"
    HOOK = "hook failed"
    """The user's hook is at fault."""
    ERROR = "error"
    """vmsdk's own fault."""


@dataclass(frozen=True)
class Result:
    """A check and its verdict."""

    check: Check
    verdict: Verdict
    seconds: float
    violation: Violation | None = None
    why: str = ""
    """Why it was skipped; the error of the hook or of vmsdk."""
    log: tuple[str, ...] = ()
    """The last lines of the plugin, if it was violated."""


def run_checks(
    bench: Bench,
    checks: Sequence[Check],
    *,
    jobs: int = 1,
    on_start: Callable[[Check], None] = lambda check: None,
    on_result: Callable[[Result], None] = lambda result: None,
    timeout_s: float = CHECK_TIMEOUT_S,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
) -> list[Result]:
    """Run *checks*, *jobs* at a time, each on a fork of *bench*; returns their results in order.

    Checks that leave a chain as it was share it. One that fails on a chain that others have used is
    run again on its own chain, and only that result counts.

    A plugin that takes longer than *timeout_s* in one check (slow ones: 5 times that) or has more
    memory than *memory_limit_bytes* is killed. The callbacks are called on the calling thread.
    """
    waiting = list(checks)
    running: list[_Run] = []
    results: dict[str, Result] = {}
    changed = threading.Event()
    pool = Pool()

    def finish(result: Result) -> None:
        results[result.check.name] = result
        on_result(result)

    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                check = waiting.pop(0)
                on_start(check)
                if check.needs_blocks and not bench.has_work:
                    finish(Result(check, Verdict.SKIPPED, 0.0, why=NO_WORK))
                    continue
                limit_s = timeout_s * (_SLOW_FACTOR if check.slow else 1)
                running.append(_Run(check, bench, pool, limit_s, memory_limit_bytes, changed))
            changed.wait(_POLL_S)
            changed.clear()
            for run in list(running):
                result = run.poll()
                if result is not None:
                    running.remove(run)
                    finish(result)
    finally:
        for run in running:  # after Ctrl-C
            run.cancel()
        pool.close()
    return [results[check.name] for check in checks]


class _Run:
    """A check that is running."""

    def __init__(
        self,
        check: Check,
        plugin: Bench,
        pool: Pool,
        limit_s: float,
        memory_limit_bytes: int,
        changed: threading.Event,
    ) -> None:
        self._check = check
        self._plugin = plugin
        self._bench = plugin.fork(pool)
        self._limit_s = limit_s
        self._memory_limit_bytes = memory_limit_bytes
        self._changed = changed
        self._began_s = time.monotonic()
        self._outcome: BaseException | None = None
        self._ended = False
        self._killed: tuple[Violation, float] | None = None
        self._thread = threading.Thread(target=self._work, name=check.name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        outcome = self._try()
        if self._bench.is_shared and outcome is not None and not isinstance(outcome, (Skipped, MissingExtra)):
            self._bench = self._plugin.fork()
            outcome = self._try()
        self._outcome = outcome
        self._ended = True
        self._changed.set()

    def _try(self) -> BaseException | None:
        try:
            try:
                self._check.function(self._bench)
            finally:
                self._bench.close()
        except BaseException as error:  # noqa: BLE001 - judged in poll()
            return error
        return None

    def poll(self) -> Result | None:
        """Return the result if the check has ended; kill its plugin if the check is overdue."""
        if self._ended:
            self._thread.join()
            return self._judge()
        now_s = time.monotonic()
        if self._killed is None:
            violation = self._excess(now_s - self._began_s)
            if violation is None:
                return None
            self._killed = (violation, now_s)
        self._kill()
        if now_s - self._killed[1] > _KILLED_TIMEOUT_S:
            frame = sys._current_frames().get(self._thread.ident or 0)
            stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
            return self._result(
                Verdict.ERROR, why=f"the check did not return although its plugin was killed\n{stack}"
            )
        return None

    def cancel(self) -> None:
        """Kill the plugin, and wait for the check, but not forever."""
        deadline = time.monotonic() + _KILLED_TIMEOUT_S
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._kill()  # again: a process may just have started
            self._thread.join(_POLL_S)

    def _kill(self) -> None:
        for process in self._bench.running:
            process.send_signal(KILL)

    def _excess(self, seconds: float) -> Violation | None:
        if seconds > self._limit_s:
            return Violation(
                f"the check had not finished after {self._limit_s:.0f} s, so the plugin was killed",
                got="no response, or many slow ones: see the end of its log",
                node="it has no deadlines, so it would wait forever",
                cure="find out what the plugin was waiting for",
            )
        memory = max((resident_bytes(process.pid) for process in self._bench.running), default=0)
        if memory > self._memory_limit_bytes:
            return Violation(
                f"the plugin used more than {self._memory_limit_bytes >> 20} MiB of memory, so it was killed",
                got=f"{memory >> 20} MiB resident",
                node="the system would kill the plugin, or the node",
                cure="bound what the plugin keeps",
            )
        return None

    def _judge(self) -> Result:
        error = self._outcome
        if self._killed is not None:
            return self._result(Verdict.VIOLATED, violation=self._killed[0])
        if error is None:
            return self._result(Verdict.PASSED)
        if isinstance(error, (Skipped, MissingExtra)):
            return self._result(Verdict.SKIPPED, why=str(error))
        if isinstance(error, HookFailed):
            return self._result(Verdict.HOOK, why=str(error))
        violation = error if isinstance(error, Violation) else blame(error)
        if violation is not None:
            return self._result(Verdict.VIOLATED, violation=violation)
        return self._result(Verdict.ERROR, why="".join(traceback.format_exception(error)))

    def _result(self, verdict: Verdict, violation: Violation | None = None, why: str = "") -> Result:
        seconds = time.monotonic() - self._began_s
        log = () if violation is None else tuple(self._bench.log[-_LAST_LINES:])
        return Result(self._check, verdict, seconds, violation, why, log)


def blame(error: BaseException) -> Violation | None:
    """Return the violation behind an error that a check did not expect.

    None if the plugin is not at fault.
    """
    if isinstance(error, ChainFatal):
        violation = blame(error.cause)
        if violation is not None:
            violation.node = "it stops the chain"
        return violation
    if isinstance(error, PluginGone):
        return Violation(
            "the plugin's process ended" + (f" during {error.method}" if error.method else ""),
            sent=error.method or "",
            got=f"the process ended{ending(error.exit_code)}",
            node="it stops the chain",
            cure="see the end of its log",
        )
    if isinstance(error, HandshakeFailed | StartFailed):
        ended = (
            f"; the process ended{ending(error.exit_code)}" if isinstance(error, EndedBeforeHandshake) else ""
        )
        return Violation(
            "the plugin can't be started",
            sent="exec, as a node does",
            got=f"{error.reason}{ended}",
            node="it does not have the VM",
            cure="see the end of its log",
        )
    if isinstance(error, grpc.RpcError):
        return blame(call_failed("a call", error))
    if isinstance(error, InvalidResponse):
        return Violation(
            f"a node refuses the response to {error.method}: {error.details}",
            sent=error.method,
            got=error.details,
            node="it drops the response",
            cure=f"return what the node's vm_client.go expects of {error.method}",
        )
    if isinstance(error, CallFailed):
        if error.code == grpc.StatusCode.DEADLINE_EXCEEDED.name:
            return Violation(
                f"{error.method} did not return",
                sent=error.method,
                got="nothing within the time limit",
                node="it waits forever",
                cure="find out what the plugin was waiting for",
            )
        hint = "; if the VM needs a genesis, give --genesis FILE" if error.method == "Initialize" else ""
        return Violation(
            f"{error.method} failed: {error.details or error.code}",
            sent=error.method,
            got=f"{error.code}: {error.details}",
            node="it logs the error",
            cure=f"find out why {error.method} fails{hint}",
        )
    if isinstance(error, HostError) and not isinstance(
        error, ChainMisused | ClientClosed | DatabaseInUse | DatabaseUnreadable
    ):
        return Violation(str(error), got=str(error))
    return None


def resident_bytes(pid: int | None) -> int:
    """Return the resident memory of a process; 0 if the system doesn't show it."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
