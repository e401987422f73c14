"""The processes above this one: a plugin's parent is its node, or a script that a node has started."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from vmsdk.runtime.command import Command

# Far more than any wrapper needs; and an end, should the process table change underfoot.
MAX_GENERATIONS = 16
PS_TIMEOUT_S = 1.0
PROC = "/proc"


class Ancestor:
    """A running process that this one descends from."""

    def __init__(self, pid: int, path: str, executable: str) -> None:
        self.pid = pid
        self.path = path
        """Of the file that it was started from, absolute: which may be gone, or another one by now."""
        self.executable = executable
        """A path by which the very file that the process runs can be read and run."""

    def arguments(self) -> list[str]:
        """Its command line, empty when that can't be known."""
        try:
            with open(f"{PROC}/{self.pid}/cmdline", "rb") as file:
                return os.fsdecode(file.read()).split("\0")[:-1]
        except OSError:
            return []

    def holds(self, sockets: set[str]) -> bool:
        """Whether one of its open files is called like that, as `socket:[12345]`. False if it can't
        be known.
        """
        directory = f"{PROC}/{self.pid}/fd"
        try:
            return any(_link(f"{directory}/{each}") in sockets for each in os.listdir(directory))
        except OSError:
            return False

    def __repr__(self) -> str:
        return f"<Ancestor {self.pid} {self.path}>"


def ancestors() -> list[Ancestor]:
    """The parent, its parent and so on. Those of which the system tells no executable are left out."""
    if os.path.exists(f"{PROC}/self/exe"):
        return list(_from_proc())
    return from_ps(_ps(), os.getppid())


def listeners(address: str) -> set[str]:
    """The sockets that listen at the port of *address*, as their owners' open files are called.

    Empty where the system does not tell.
    """
    try:
        port = f":{int(address.rpartition(':')[2]):04X}"
    except ValueError:
        return set()
    found = set()
    for table in (f"{PROC}/self/net/tcp", f"{PROC}/self/net/tcp6"):
        try:
            with open(table, encoding="ascii") as rows:
                next(rows, None)
                for row in rows:
                    # sl local_address rem_address st queues timer retrnsmt uid timeout inode; 0A: listening
                    cells = row.split(None, 10)
                    if cells[1].endswith(port) and cells[3] == "0A":
                        found.add(f"socket:[{cells[9]}]")
        except (OSError, IndexError):
            continue
    return found


def from_ps(table: str, pid: int) -> list[Ancestor]:
    """The process *pid* and those above it, in what `ps -axo pid=,ppid=,comm=` says on macOS.

    Left out are those without an absolute path there: login shells, mostly.
    """
    processes: dict[int, tuple[int, str]] = {}
    for row in table.splitlines():
        cells = row.split(None, 2)
        if len(cells) == 3 and cells[0].isdecimal() and cells[1].isdecimal():
            processes[int(cells[0])] = int(cells[1]), cells[2].strip()
    found = []
    for _ in range(MAX_GENERATIONS):
        if pid not in processes:
            break
        parent, path = processes[pid]
        if os.path.isabs(path):
            found.append(Ancestor(pid, path, path))
        pid = parent
    return found


def _from_proc() -> Iterator[Ancestor]:
    pid = os.getppid()
    for _ in range(MAX_GENERATIONS):
        if pid <= 0:
            return
        executable = f"{PROC}/{pid}/exe"
        path = _link(executable)
        if path is not None:
            # Running the link runs the file that the process runs, also when an upgrade has replaced it.
            yield Ancestor(pid, path.removesuffix(" (deleted)"), executable)
        try:
            with open(f"{PROC}/{pid}/stat", "rb") as file:
                # pid (name) state ppid …: the name may hold anything, brackets too.
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _ps() -> str:
    """The process table, from the one tool that every Unix has; empty when it does not answer."""
    try:
        command = Command("/bin/ps", ["ps", "-axo", "pid=,ppid=,comm="])
    except OSError:
        return ""
    return command.output(time.monotonic() + PS_TIMEOUT_S)
