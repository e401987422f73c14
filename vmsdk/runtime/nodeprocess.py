"""The node that started this process: the address where it waits, and its own process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from vmsdk.errors import VMError
from vmsdk.runtime.release import VERSION_FLAG, Command

ENGINE_ADDRESS_VARIABLE = "AVALANCHE_VM_RUNTIME_ENGINE_ADDR"
"""The only variable that a node sets for its plugins. MetalGo uses the same name."""

INSTALL_COMMAND = "vmsdk install TARGET --plugin-dir DIR"
"""How to install a VM whose target is unknown."""

NODE_NAMES = ("avalanchego", "metalgo")
# An interpreter is not a node: it would print its own version.
_INTERPRETERS = ("python", "pypy")

# More than any wrapper needs. Ends the search even if the process table changes during it.
MAX_GENERATIONS = 16
PS_TIMEOUT_S = 1.0
# The table of sockets changes while it is read, so a read may miss a row.
_ATTEMPTS = 3
PROC = "/proc"
# Where to look for a command without a slash, since a plugin has no PATH.
_SEARCHED = ("/usr/local/bin", *os.defpath.split(os.pathsep))


class Ancestor:
    """A parent process, or a parent's parent, and so on."""

    def __init__(self, pid: int, path: str, executable: str) -> None:
        self.pid = pid
        self.path = path
        """The absolute path of its executable, which may have been removed or replaced since."""
        self.executable = executable
        """A path that runs the same file as the process, even after a replacement."""

    def arguments(self) -> list[str]:
        """Return its command line, or an empty list if unreadable."""
        return _command_line(self.pid)

    def holds(self, sockets: set[str]) -> bool:
        """Return whether it has one of *sockets* (`socket:[12345]`) open; False if unreadable."""
        directory = f"{PROC}/{self.pid}/fd"
        try:
            return any(_link(f"{directory}/{each}") in sockets for each in os.listdir(directory))
        except OSError:
            return False

    def __repr__(self) -> str:
        return f"<Ancestor {self.pid} {self.path}>"


def engine_address(environment: Mapping[str, str], name: str, install_command: str = INSTALL_COMMAND) -> str:
    """Return the address at which the node waits. Raises `VMError` if no node is the parent."""
    address = environment.get(ENGINE_ADDRESS_VARIABLE, "")
    if not address:
        raise VMError(
            f"{name} is a VM plugin, which a node starts (required env var missing: "
            f'"{ENGINE_ADDRESS_VARIABLE}"). To run it without a node: vmsdk dev TARGET. To run it on a node: '
            f"{install_command}"
        )
    return address


def find_node(engine: str) -> Ancestor | None:
    """Return the parent process that is the node, or None.

    It is the one whose file name contains `avalanchego` or `metalgo`, or, on Linux, the one that
    listens at the address *engine*. Its executable will be run, so shells and service managers must
    not match. A node that itself runs with `--version` doesn't match either: if it starts plugins
    even then, they would start each other without end.
    """
    lineage = ancestors()
    node = _by_name(lineage) or _by_engine(lineage, engine)
    if node is None or VERSION_FLAG in node.arguments()[1:]:
        return None
    return node


def why_not_found(engine: str) -> str:
    """Return why `find_node` returned None, for messages."""
    parent = os.getppid()
    if all(each.pid != parent for each in ancestors()):
        return f"the executable of the parent process {parent} can't be read"
    return f"no parent process is called {' or '.join(NODE_NAMES)} or listens at {engine}"


def ancestors() -> list[Ancestor]:
    """Return the parent, its parent and so on, without those whose executable is unknown."""
    if os.path.exists(f"{PROC}/self/exe"):
        return list(_from_proc())
    return from_ps(_ps(), os.getppid())


def listeners(address: str) -> set[str]:
    """Return the sockets (`socket:[12345]`) that listen at the port of *address*, if known."""
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
                    # sl local_address rem_address st queues timer retrnsmt uid timeout inode
                    # State 0A is listening.
                    cells = row.split(None, 10)
                    if cells[1].endswith(port) and cells[3] == "0A":
                        found.add(f"socket:[{cells[9]}]")
        except (OSError, IndexError):
            continue
    return found


def from_ps(table: str, pid: int) -> list[Ancestor]:
    """Return *pid* and its parents from the output of `ps -axo pid=,ppid=,comm=` on macOS.

    Leaves out those without an absolute path, most of which are login shells.
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


def _by_name(lineage: Sequence[Ancestor]) -> Ancestor | None:
    for each in lineage:
        name = os.path.basename(each.path).lower()
        if any(known in name for known in NODE_NAMES):
            return each
    return None


def _by_engine(lineage: Sequence[Ancestor], engine: str) -> Ancestor | None:
    candidates = [
        each for each in lineage if not os.path.basename(each.path).lower().startswith(_INTERPRETERS)
    ]
    for _ in range(_ATTEMPTS if candidates else 0):
        # This is slow on a machine with many connections.
        sockets = listeners(engine)
        if sockets:
            return next((each for each in candidates if each.holds(sockets)), None)
    return None


def _from_proc() -> Iterator[Ancestor]:
    pid = os.getppid()
    for _ in range(MAX_GENERATIONS):
        if pid <= 0:
            return
        executable = f"{PROC}/{pid}/exe"
        path = _link(executable)
        if path is not None:
            # The link leads to the running file, even after an upgrade has replaced it.
            yield Ancestor(pid, path.removesuffix(" (deleted)"), executable)
        else:
            # Another user's process, or one with file capabilities, such as to bind port 443.
            path = _command_file(pid)
            if path is not None:
                yield Ancestor(pid, path, path)
        try:
            with open(f"{PROC}/{pid}/stat", "rb") as file:
                # pid (name) state ppid …: the name may have brackets.
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return


def _command_file(pid: int) -> str | None:
    """Return the executable in a process's command line.

    A relative path is relative to our working directory, which is the node's: neither changes it.
    """
    command = next(iter(_command_line(pid)), "")
    if not command:
        return None
    folders = ("",) if os.sep in command else _SEARCHED
    paths = (os.path.join(folder, command) for folder in folders)
    found = next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)
    return None if found is None else os.path.abspath(found)


def _command_line(pid: int) -> list[str]:
    try:
        with open(f"{PROC}/{pid}/cmdline", "rb") as file:
            return os.fsdecode(file.read()).split("\0")[:-1]
    except OSError:
        return []


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _ps() -> str:
    """Return the process table from `ps`, or an empty string if that fails."""
    try:
        command = Command("/bin/ps", ["ps", "-axo", "pid=,ppid=,comm="])
    except OSError:
        return ""
    return command.output(PS_TIMEOUT_S)
