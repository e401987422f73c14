"""Reports calls that hang: for how long, and at which line of the author's code."""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

PATIENCE_S = 3.0
"""A call that takes longer is reported."""
MAX_PATIENCE_S = 1_000_000
REMINDER = 10
"""It is reported again after this many times as long."""
PATIENCE_VARIABLE = "GRPC_VMSDK_SLOW_CALL_S"
"""Sets the patience in seconds; 0 turns reports off. A node passes on only GRPC_ variables."""
_CHECKS = 4
"""How many times the thread checks within the patience."""
_ANYIO = "AnyIO worker thread"
"""The name of the threads in which Starlette and FastAPI run plain functions."""
_FRAMEWORKS = ("anyio", "starlette", "fastapi")
_MAX_FRAMES = 30
_MAX_STACKS = 3

_log = logging.getLogger("vmsdk.watchdog")
_Line = tuple[FrameType, int]
_Stack = list[_Line]
"""The outermost frame first."""
_VMSDK = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_PYTHON = os.path.dirname(os.__file__) + os.sep
_IDLE = ("pool.py", "pollserver.py", "loopthread.py", "eventsource.py")
"""Files in which vmsdk's threads wait for work."""


class Watched:
    """A context manager around work that the watchdog observes. Reusable."""

    __slots__ = ("_calls", "_clock", "began_s", "name", "needs_lock", "once", "pid", "reports", "thread")

    def __init__(
        self, calls: dict[Watched, None], name: str, clock: Callable[[], float], needs_lock: bool, once: bool
    ) -> None:
        self._calls = calls
        self._clock = clock
        self.name = name
        self.needs_lock = needs_lock
        self.once = once

    def __enter__(self) -> Watched:
        self.reports = 0
        self.pid = os.getpid()
        self.thread = threading.get_ident()
        self.began_s = self._clock()
        self._calls[self] = None
        return self

    def __exit__(self, *failure: object) -> None:
        end_if_forked(self.pid, self.name)
        del self._calls[self]


class Watchdog:
    """A thread that reports slow work. Watching a call costs about a microsecond."""

    def __init__(self, patience_s: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """*patience_s* defaults to the environment's, else `PATIENCE_S`; 0 turns reports off.

        *clock* returns seconds. Raises `ValueError` if *patience_s* is out of range.
        """
        check_patience(patience_s)
        self.patience_s = _patience_s() if patience_s is None else patience_s
        self.lock: object = None
        """The chain's lock, once there is a chain."""
        self._clock = clock
        self._calls: dict[Watched, None] = {}
        self._anyio: dict[int, tuple[FrameType, Watched]] = {}
        """The author's functions that anyio runs in its threads."""
        self._reported: set[tuple[tuple[str, str], ...]] = set()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the thread. Raises `RuntimeError` if the system has no thread left."""
        if self.patience_s > 0:
            threading.Thread(target=self._run, name="vmsdk-watchdog", daemon=True).start()

    def stop(self) -> None:
        """End the thread soon."""
        self._stopped.set()

    def watch(self, name: str, *, needs_lock: bool = False, once: bool = False) -> Watched:
        """Enter the result around work called *name*. *needs_lock*: it takes the chain's lock.

        With *once*, each of the author's functions is reported only once, since clients call it.
        """
        return Watched(self._calls, name, self._clock, needs_lock, once)

    def check(self) -> None:
        """Report work once when it exceeds the patience, and once more much later."""
        now_s = self._clock()
        self._look_at_anyio(now_s)
        for call in list(self._calls):
            ran_s = now_s - call.began_s
            due_s = (self.patience_s, self.patience_s * REMINDER, float("inf"))[call.reports]
            if ran_s >= due_s:
                call.reports += 1
                self._report(call, ran_s)

    def _look_at_anyio(self, now_s: float) -> None:
        """Watch what runs in anyio's threads, from the first time that it is seen."""
        threads = [each.ident for each in threading.enumerate() if each.name == _ANYIO]
        frames = sys._current_frames() if threads else {}
        seen = {}
        for thread in threads:
            frame = frames.get(thread or 0)
            if thread is None or frame is None or not any(map(_authorship, _running(frame)[0])):
                continue
            stack = list(traceback.walk_stack(frame))
            called = [inner[0] for inner, outer in pairwise(stack) if _package(outer) == "anyio"]
            if called:
                # What the thread's loop has called: each function, and each step of a generator,
                # has its own frame there.
                seen[thread] = called[-1]
        for thread, (frame, call) in list(self._anyio.items()):
            if seen.get(thread) is not frame:
                del self._anyio[thread], self._calls[call]
        for thread in seen.keys() - self._anyio.keys():
            call = self.watch("a plain function of an HTTP app", once=True)
            call.reports, call.thread, call.began_s = 0, thread, now_s
            self._calls[call] = None
            self._anyio[thread] = seen[thread], call

    def _report(self, call: Watched, ran_s: float) -> None:
        holder = lock_holder(self.lock) if call.needs_lock else None
        if holder is None or holder == call.thread:
            stacks = _stacks(call.thread, call.name)
            functions = set(map(_functions, stacks))
            if not call.once or functions - self._reported:
                self._reported |= functions
                _warn(stacks, "%s has been running for %.0f s%s", call.name, ran_s, _places(stacks))
        elif all(other.thread != holder or other.once for other in list(self._calls)):
            # If the holder is watched, it is reported itself, unless it was reported before.
            stacks, hint = _stacks(holder), ""
            lines = [line for stack in stacks for line in stack]
            if not any(map(_authorship, lines)) and _is_idle(lines):
                hint = ", which runs none of the VM's code: was it acquired without `with ctx.lock:`?"
            text = "%s has been waiting for ctx.lock for %.0f s, held by %s%s"
            _warn(stacks, text, call.name, ran_s, described(holder), hint)

    def _run(self) -> None:
        while True:
            # Code in C may hold the GIL, which faulthandler's own thread does not need.
            with suppress(RuntimeError):  # the system has no thread left for it
                faulthandler.dump_traceback_later(2 * self.patience_s, file=2)
            if self._stopped.wait(self.patience_s / _CHECKS):
                break
            try:
                self.check()
            except Exception as error:  # noqa: BLE001 - it reads what other threads change
                _log.debug("the watchdog failed", exc_info=error)
        faulthandler.cancel_dump_traceback_later()


def lock_holder(lock: object) -> int | None:
    """The thread that holds *lock*, or None. A `threading.RLock` names it only in its `repr`."""
    found = re.search(r"owner=(\d+)", repr(lock))
    return int(found[1]) or None if found else None


def described(thread: int) -> str:
    """The name of *thread*, and the line of the author's code that it runs."""
    names = {each.ident: each.name for each in threading.enumerate()}
    return f"thread {names.get(thread, thread)}{_places(_stacks(thread))}"


def end_if_forked(pid: int, name: str) -> None:
    """Exit if this is a child process, forked from process *pid* during a call of *name*.

    Returning from the call, it would write to the plugin's sockets.
    """
    if os.getpid() != pid:
        _log.error("%s: a child process that the VM forked returned: end it with os._exit", name)
        os._exit(1)


def check_patience(patience_s: float | None) -> None:
    """Raise `ValueError` if *patience_s* is neither None nor a number that threads can wait."""
    if patience_s is not None and not 0 <= patience_s <= MAX_PATIENCE_S:
        raise ValueError(f"slow_call_s is {patience_s!r}, but must be from 0 to {MAX_PATIENCE_S}")


def _patience_s() -> float:
    text = os.environ.get(PATIENCE_VARIABLE) or str(PATIENCE_S)
    try:
        patience_s = float(text)
        check_patience(patience_s)
    except ValueError:
        _log.warning(
            "%s=%s is not a number of seconds up to %d: using %g",
            *(PATIENCE_VARIABLE, text, MAX_PATIENCE_S, PATIENCE_S),
        )
        return PATIENCE_S
    return patience_s


def _warn(stacks: list[_Stack], text: str, *values: object) -> None:
    """Log *text*, with each stack from the author's outermost line on."""
    if not _log.isEnabledFor(logging.WARNING):
        return
    shown = ""
    for stack in stacks[:_MAX_STACKS]:
        first = next((index for index, line in enumerate(stack) if _authorship(line)), 0)
        lines = traceback.StackSummary.extract(iter(stack[first:][-_MAX_FRAMES:])).format()
        shown += "Stack (most recent call last):\n" + "".join(lines)
    _log.handle(
        _log.makeRecord(_log.name, logging.WARNING, __file__, 0, text, values, None, sinfo=shown.rstrip())
    )


def _places(stacks: list[_Stack]) -> str:
    """The innermost line of each stack that is most likely the author's."""
    found = [max(reversed(stack), key=_authorship) for stack in stacks[:_MAX_STACKS] if stack]
    return " or".join(
        f" at {each.f_code.co_filename}:{line} in {each.f_code.co_name}" for each, line in found
    )


def _functions(stack: _Stack) -> tuple[tuple[str, str], ...]:
    """The file and name of the outermost function that is most likely the author's, and of the
    innermost, since the outermost may be a decorator of many.
    """
    found = [max(each, key=_authorship)[0].f_code for each in (stack, stack[::-1]) if each]
    return tuple((code.co_filename, code.co_name) for code in found)


def _package(line: _Line) -> str:
    return str(line[0].f_globals.get("__name__")).partition(".")[0]


def _is_idle(stack: _Stack) -> bool:
    """Whether no code of vmsdk's runs in *stack*, except to wait for work."""
    files = [line[0].f_code.co_filename for line in stack]
    own = [file for file in files if file.startswith(_VMSDK)]
    return not own or os.path.basename(own[-1]) in _IDLE


def _authorship(line: _Line) -> int:
    """2 for the author's own code, 1 for an installed package, 0 for what calls them."""
    file = line[0].f_code.co_filename
    if file.startswith(("<frozen", _VMSDK)) or _package(line) in _FRAMEWORKS:
        return 0
    if "site-packages" in file or "dist-packages" in file:
        return 1
    return 0 if file.startswith(_PYTHON) else 2


def _stacks(thread: int, task: str = "") -> list[_Stack]:
    """The stack of *thread*. If none of it is the author's, the stack of its task on an event loop:
    the one called *task*, or if that is empty, each task if *thread* runs the loop.
    """
    frames = sys._current_frames()
    own, _ = _running(frames.get(thread))
    if any(map(_authorship, own)):
        return [own]
    found = []
    for ident, frame in frames.items():
        running, loop = _running(frame)
        tasks = [each for each in _tasks(loop) if (each.get_name() == task if task else ident == thread)]
        # A task that blocks the loop is not suspended anywhere.
        if tasks and any(map(_authorship, running)):
            return [running]
        found += [stack for each in tasks if any(map(_authorship, stack := _suspended(each.get_coro())))]
    return found or [own]


def _running(frame: FrameType | None) -> tuple[_Stack, Any]:
    """What a thread runs, and the event loop that runs it, if any."""
    stack: _Stack = []
    for each, line in traceback.walk_stack(frame) if frame is not None else ():
        if each.f_code.co_name == "run_until_complete":
            return stack[::-1], each.f_locals.get("self")
        stack.append((each, line))
    return stack[::-1], None


def _tasks(loop: Any) -> set[asyncio.Task[Any]]:
    if loop is None:
        return set()
    from asyncio import all_tasks  # loaded already, if there is a loop

    try:
        return all_tasks(loop)
    except RuntimeError:  # other threads are changing them
        return set()


def _suspended(awaited: Any) -> _Stack:
    """Where a suspended coroutine waits, and what it awaits."""
    stack: _Stack = []
    for _ in range(_MAX_FRAMES):
        if awaited is None:
            break
        kind = next((each for each in ("cr", "gi", "ag") if hasattr(awaited, each + "_frame")), None)
        if kind is None:
            # Such as `anext(generator)`, which shows only the garbage collector what it awaits.
            inner = (each for each in gc.get_referents(awaited) if hasattr(each, "ag_frame"))
            awaited = next(inner, None)
            continue
        frame = getattr(awaited, kind + "_frame")
        if frame is not None:
            stack.append((frame, frame.f_lineno))
        awaited = getattr(awaited, kind + ("_yieldfrom" if kind == "gi" else "_await"))
    return stack
