"""Start a process the way a node does, from a program with running gRPC threads."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from vmsdk.host.errors import StartFailed

_HAS_PARENT_DEATH_SIGNAL = sys.platform == "linux"

# On Linux only the child itself can ask for a parent-death signal, before the exec. Running Python
# between fork and exec is unsafe once gRPC has threads, and util-linux's setpriv is not always
# installed and hides why an exec failed. So a small interpreter (about 15 ms, before the plugin's
# time starts) asks for the signal and then becomes the plugin, with the same PID and parent, and
# exactly this argv and environment. It exits if the parent has died meanwhile, and reports the
# error of a failed exec.
_BECOME = """
import ctypes, json, os, signal, socket, sys
control = socket.socket(fileno=int(sys.argv[1]))
control.set_inheritable(False)
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
control.sendall(b"+")
order = json.loads(control.makefile("r", encoding="utf-8").readline() or "null")
if order is None or os.getppid() != order["parent"]:
    sys.exit(1)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
user, directory, umask, limits = order["surroundings"]
try:
    if directory is not None:
        os.chdir(directory)
    if umask is not None:
        os.umask(umask)
    if limits:
        import resource
        for number, limit in limits:
            resource.setrlimit(number, limit)
    if user is not None:
        # A program on root's terminal could type into it.
        os.setsid()
        os.setgroups(user[2])
        os.setgid(user[1])
        os.setuid(user[0])
        # A change of the user clears it.
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
        if os.getppid() != order["parent"]:
            sys.exit(1)
    os.execve(order["argv"][0], order["argv"], order["environment"])
except Exception as error:
    control.sendall((getattr(error, "strerror", None) or str(error)).encode())
    os._exit(127)
"""

_DIED = b"the interpreter died"
_DEATH_S = 5.0
"""How long it may take to exit."""


class Surroundings(NamedTuple):
    """What a process inherits from its node; None keeps what this process has.

    *limits* are numbers of `resource` and their soft and hard limits; off Linux, they have no
    effect.
    """

    user: tuple[int, int, Sequence[int]] | None = None
    """User ID, group ID, all groups. Only root can be another user."""
    directory: str | None = None
    umask: int | None = None
    limits: Sequence[tuple[int, tuple[int, int]]] = ()


UNCHANGED = Surroundings()


class Spawned(NamedTuple):
    """A process and the `time.perf_counter` of its exec."""

    process: subprocess.Popen[bytes]
    started_at_s: float


def spawn(
    argv: Sequence[str], environment: Mapping[str, str], surroundings: Surroundings = UNCHANGED
) -> Spawned:
    """Start ``argv[0]`` (a path) with *environment*, no stdin, and pipes for stdout and stderr.

    On Linux the child gets SIGTERM when the calling *thread* ends, as with a node: call this from a
    thread that outlives the process. Raises `StartFailed` with the system's text.
    """
    try:
        if _HAS_PARENT_DEATH_SIGNAL:
            return _spawn_linux(argv, environment, surroundings)
        started_at_s = time.perf_counter()
        return Spawned(_popen(argv, environment, surroundings=surroundings), started_at_s)
    except OSError as error:
        raise StartFailed(argv[0], error.strerror or str(error)) from None


def _spawn_linux(argv: Sequence[str], environment: Mapping[str, str], surroundings: Surroundings) -> Spawned:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            become = [sys.executable, "-I", "-S", "-c", _BECOME, str(theirs.fileno())]
            process = _popen(become, environment, pass_fds=(theirs.fileno(),))
        order = {
            "parent": os.getpid(),
            "argv": list(argv),
            "environment": dict(environment),
            "surroundings": surroundings,
        }
        try:
            ready = ours.recv(1)
            started_at_s = time.perf_counter()
            ours.sendall(json.dumps(order).encode() + b"\n")
            # The exec closes the other end: if there is nothing to read, it worked.
            reason = b"".join(iter(lambda: ours.recv(4096), b"")) if ready else _DIED
        except ConnectionError:
            reason = _DIED
        except BaseException:
            process.kill()
            process.communicate()
            raise
        if reason:
            if reason is _DIED:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_DEATH_S)  # the exit code shows why, such as Ctrl-C
            process.kill()
            process.communicate()
            raise StartFailed(argv[0], reason.decode(errors="replace"), process.returncode)
    return Spawned(process, started_at_s)


def _popen(
    argv: Sequence[str],
    environment: Mapping[str, str],
    pass_fds: Sequence[int] = (),
    surroundings: Surroundings = UNCHANGED,
) -> subprocess.Popen[bytes]:
    user, group, groups = surroundings.user or (None, None, None)
    return subprocess.Popen(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        pass_fds=pass_fds,
        cwd=surroundings.directory,
        umask=-1 if surroundings.umask is None else surroundings.umask,
        user=user,
        group=group,
        extra_groups=groups,
    )
