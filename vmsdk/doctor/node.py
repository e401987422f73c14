"""A node at hand: an executable, a running process, or the URL of its API."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from vmsdk.doctor.user import User
from vmsdk.errors import VMError
from vmsdk.host.spawn import UNCHANGED, Surroundings
from vmsdk.install.installation import ask_node
from vmsdk.network.client import JSONRPCClient
from vmsdk.runtime.nodeprocess import NODE_NAMES

_TIMEOUT_S = 10.0
# What a plugin inherits from its node.
_LIMITS = ("NOFILE", "NPROC", "AS", "DATA", "STACK", "FSIZE", "CPU", "CORE", "MEMLOCK")


@dataclass(frozen=True)
class Node:
    """What is known of a node."""

    name: str
    """As in `metalgo/1.13.5`."""
    protocol: int | None = None
    pid: int | None = None
    user: User | None = None
    surroundings: Surroundings = UNCHANGED
    """What its plugins inherit, without the user."""
    environment: Mapping[str, str] | None = None
    directories: tuple[Path, ...] = field(default=())
    """Its plugin directory, as far as its command line and environment say."""


def find(text: str) -> Node:
    """Return the node *text*: a path, a command, a process ID, or a URL. Raises `VMError`."""
    if text.isdecimal() and not Path(text).exists():
        return running(int(text))
    if "://" in text:
        return _asked(text)
    release = ask_node(Path(text))
    return Node(release.application, release.protocol)


def _asked(url: str) -> Node:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.netloc:
        raise VMError(f"{url} is not the URL of a node's API: use one such as http://127.0.0.1:9650")
    info = JSONRPCClient(f"http://{parts.netloc}/ext/info", _TIMEOUT_S).call("info.getNodeVersion")
    try:
        return Node(str(info["version"]), int(info["rpcProtocolVersion"]))
    except (KeyError, TypeError, ValueError):
        raise VMError(f"{url} does not say its protocol version: give the node's executable") from None


def running(pid: int) -> Node:
    """Return the running node with this process ID. Raises `VMError`."""
    proc = Path("/proc") / str(pid)
    try:
        arguments = [os.fsdecode(each) for each in (proc / "cmdline").read_bytes().split(b"\0")[:-1]]
        status = (proc / "status").read_text(encoding="utf-8", errors="replace")
        entries = (os.fsdecode(each).partition("=") for each in (proc / "environ").read_bytes().split(b"\0"))
        environment = {name: value for name, _, value in entries if name}
        directory = os.readlink(proc / "cwd")
        executable = os.readlink(proc / "exe")
    except FileNotFoundError:
        raise VMError(f"there is no process {pid}") from None
    except PermissionError:
        raise VMError(
            f"the process {pid} can't be looked at: run vmsdk doctor as its user, or as root"
        ) from None
    try:
        release = ask_node(proc / "exe")
        name, protocol = release.application, release.protocol
    except VMError:  # a wrapper, or something that is not a node
        name, protocol = os.path.basename(executable), None
    user = User.called(_field(status, "Uid").split()[0])
    surroundings = Surroundings(None, directory, int(_field(status, "Umask") or "022", 8), limits_of(pid))
    return Node(
        name,
        protocol,
        pid,
        user,
        surroundings,
        environment,
        tuple(plugin_directories(arguments, environment, Path(directory))),
    )


def running_nodes() -> Iterator[int]:
    """Yield the process IDs of the nodes that run on this machine."""
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            name = os.path.basename(os.readlink(proc / "exe"))
        except OSError:
            continue
        if any(name.removesuffix(" (deleted)") == each for each in NODE_NAMES):
            yield int(proc.name)


def limits_of(pid: int) -> tuple[tuple[int, tuple[int, int]], ...]:
    """Return the resource limits of a process (0: this one)."""
    if sys.platform != "linux":
        return ()
    import resource

    numbers = [getattr(resource, f"RLIMIT_{name}") for name in _LIMITS]
    return tuple((number, resource.prlimit(pid, number)) for number in numbers)


def plugin_directories(arguments: list[str], environment: Mapping[str, str], cwd: Path) -> Iterator[Path]:
    """Yield the plugin directory that a node with these arguments uses, if it can be seen."""
    for flag, variable, inside in (
        ("plugin-dir", "AVAGO_PLUGIN_DIR", ""),
        ("data-dir", "AVAGO_DATA_DIR", "plugins"),
    ):
        given = next((found[1] for each in arguments if (found := re.match(rf"--?{flag}=(.+)", each))), None)
        if given is None and any(each in (f"--{flag}", f"-{flag}") for each in arguments[:-1]):
            given = next(
                arguments[i + 1] for i, each in enumerate(arguments[:-1]) if each in (f"--{flag}", f"-{flag}")
            )
        given = given or environment.get(variable)
        if given:
            yield cwd / os.path.expandvars(os.path.expanduser(given)) / inside
            return


def _field(status: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*(.*)$", status, re.MULTILINE)
    return "" if found is None else found[1]
