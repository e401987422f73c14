"""Processes that the author's code starts: ordinary ones, which exit when the plugin does."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

# How often to check for what the kernel doesn't report.
POLL_S = 1.0
# The plugin, as seen by all its processes: a fork server's workers are not its children.
_PLUGIN_VARIABLE = "VMSDK_PLUGIN_PID"
# The worker loops of thread pools, by module and function. A child that returned to one would wait
# there forever.
_POOLS = (("concurrent.futures.thread", "_worker"), ("anyio._backends._asyncio", "run"))
_MAX_COMMAND = 200
# Processes that these packages start exit when their connection to the plugin closes.
_END_BY_THEMSELVES = (b"multiprocessing", b"loky", b"debugpy")

_log = logging.getLogger("vmsdk")

_release: Callable[[], None] | None = None
_registered = False
_forking_pid = 0
_main_returns = False
"""Whether a thread other than the main one forked this process, or its parent."""
_pool_work: FrameType | None = None
"""The frame that a pool's thread was running when it forked this process, if it was one."""
_mask = threading.local()


def manage(release: Callable[[], None]) -> None:
    """From now on, have each forked child call *release* first, and end when its parent ends."""
    global _release, _registered  # noqa: PLW0603 - hooks at forks are global, and can't be removed
    _release = release
    os.environ[_PLUGIN_VARIABLE] = str(os.getpid())
    if not _registered and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork, after_in_parent=_unblock, after_in_child=_in_child)
        _registered = True


def unmanage() -> None:
    """Leave forked children alone from now on."""
    global _release  # noqa: PLW0603
    _release = None
    os.environ.pop(_PLUGIN_VARIABLE, None)


def end_with_plugin() -> None:
    """Have this process, which was spawned, and those that it forks end when the plugin ends."""
    plugin = int(os.environ.get(_PLUGIN_VARIABLE, os.getppid()))
    manage(lambda: None)
    _follow(os.getppid(), plugin)


def report_commands() -> None:
    """Warn about each running command of the VM that keeps the pipes of the node's log open.

    Linux only.
    """
    try:
        own = {_pipe("self", descriptor) for descriptor in (1, 2)} - {""}
        pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()] if own else []
        me, began = _command(os.getpid()), _start_of(os.getpid())
    except OSError:
        return  # not Linux
    for pid in pids:
        try:
            if pid == os.getpid() or own.isdisjoint((_pipe(pid, 1), _pipe(pid, 2))):
                continue
            command = _command(pid) if _start_of(pid) > began else b""  # not what started the plugin
        except OSError:
            continue  # it has exited, or is another user's
        if command and command != me and not any(each in command for each in _END_BY_THEMSELVES):
            # Only the beginning: arguments may be secret.
            name = b" ".join(command.split(b"\0")[:2]).decode(errors="replace")[:_MAX_COMMAND]
            _log.warning(
                "the command %s (process %d) that the VM started is still running, and keeps the node's log "
                "pipes open: stop it in shutdown(), or redirect its output",
                *(name, pid),
            )


def _pipe(pid: int | str, descriptor: int) -> str:
    """The name of the pipe behind this descriptor of a process; empty if it is not a pipe."""
    name = os.readlink(f"/proc/{pid}/fd/{descriptor}")
    return name if name.startswith("pipe:") else ""


def _start_of(pid: int) -> int:
    """When a process started, in clock ticks since boot."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[19])


def _command(pid: int) -> bytes:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


def _before_fork() -> None:
    global _forking_pid  # noqa: PLW0603
    _forking_pid = os.getpid()
    # Until the child has its own handlers, the plugin's would swallow a signal meant to end it.
    _mask.is_main = threading.current_thread() is threading.main_thread()
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _in_child() -> None:
    global _main_returns, _pool_work  # noqa: PLW0603
    _main_returns = _main_returns or not _mask.is_main
    _pool_work = _work_of_pool(sys._getframe())
    if _release is not None:
        _release()
        _follow(_forking_pid)
    _unblock()


def _follow(*pids: int) -> None:
    # A thread, since the kernel's parent-death signal comes when the forking *thread* ends.
    threading.Thread(target=_end_after, args=pids, name="vmsdk-parent", daemon=True).start()


def _end_after(*pids: int) -> None:
    parent = os.getppid()
    poll = select.poll()
    for pid in pids:
        try:
            poll.register(os.pidfd_open(pid), select.POLLIN)
        except (AttributeError, OSError):
            pass  # not available, not allowed, or the process is gone: checked below
    while not poll.poll(POLL_S * 1000) and os.getppid() == parent and all(map(_exists, pids)):
        if _main_returns and not _is_used():
            os._exit(0)
        if _pool_work is not None and not _runs(_pool_work):
            _log.error("a process that a thread of the VM forked returns: end it with os._exit")
            break
    os._exit(1)


def _work_of_pool(frame: FrameType) -> FrameType | None:
    """The frame that a pool's loop has called, if *frame* is inside one."""
    while (outer := frame.f_back) is not None:
        is_loop = (outer.f_globals.get("__name__"), outer.f_code.co_name) in _POOLS
        if is_loop and outer.f_back is not None and outer.f_back.f_globals.get("__name__") == "threading":
            return frame
        frame = outer
    return None


def _runs(work: FrameType) -> bool:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and frame is not work:
        frame = frame.f_back
    return frame is work


def _is_used() -> bool:
    """Whether a thread that keeps a process alive is still running.

    A child forked by a thread other than the main one exits when that thread returns, which this
    module's thread would prevent.
    """
    if any(not thread.daemon for thread in threading.enumerate()):
        return True
    # To `threading`, a thread that it did not start, such as a C library's, is alive forever.
    return threading.main_thread().ident in sys._current_frames()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
