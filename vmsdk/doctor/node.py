"""An available node: an executable, a running process, or the URL of its API."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

from vmsdk.doctor.machine import limits_of
from vmsdk.doctor.user import User
from vmsdk.errors import VMError
from vmsdk.host.spawn import UNCHANGED, Surroundings
from vmsdk.install.installation import NODE_TIMEOUT_S, ask_node, node_path
from vmsdk.network.client import JSONRPCClient
from vmsdk.runtime.nodeprocess import NODE_NAMES
from vmsdk.runtime.release import Command, Release

_TIMEOUT_S = 10.0
# Becomes another user's program. In its own session, since a program that shares root's
# terminal can type into it.
_BECOME = """
import os, sys
uid, gid, *groups = map(int, sys.argv[2].split())
os.chdir("/")
os.setsid()
os.setgroups(groups)
os.setgid(gid)
os.setuid(uid)
os.execve(sys.argv[1], [sys.argv[1], "--version"], {})
"""


@dataclass(frozen=True)
class Node:
    """What is known about a node."""

    name: str
    """As in `metalgo/1.13.5`."""
    protocol: int | None = None
    pid: int | None = None
    user: User | None = None
    surroundings: Surroundings = UNCHANGED
    """What its plugins inherit, without the user."""
    environment: Mapping[str, str] | None = None
    directories: tuple[Path, ...] = ()
    """Its plugin directory, according to its command line and environment."""


def find(text: str) -> Node:
    """Return the node *text*: a path, a command, a process ID, or a URL. Raises `VMError`."""
    if text.isdecimal() and not Path(text).exists():
        return running(int(text), named=True)
    if "://" in text:
        return _asked(text)
    release = ask_node(node_path(text))
    return Node(release.application, release.protocol)


def _asked(url: str) -> Node:
    try:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.netloc or parts.port == 0:
            raise ValueError
        client = JSONRPCClient(f"http://{parts.netloc}/ext/info", _TIMEOUT_S)
    except ValueError:
        raise VMError(
            f"{url} is not the URL of a node's API: use one such as http://127.0.0.1:9650"
        ) from None
    info = client.call("info.getNodeVersion")
    try:
        return Node(str(info["version"]), int(info["rpcProtocolVersion"]))
    except (KeyError, TypeError, ValueError):
        raise VMError(f"{url} does not report its protocol version: give the node's executable") from None


def running(pid: int, *, named: bool) -> Node:
    """Return the running node with this process ID. Raises `VMError`.

    Anyone can name a program metalgo, so another user's is run only as that user, and only if our
    user has *named* the process. A program confined to a container is not run outside of it.
    """
    proc = Path("/proc") / str(pid)
    try:
        arguments = [os.fsdecode(each) for each in (proc / "cmdline").read_bytes().split(b"\0")[:-1]]
        status = (proc / "status").read_text(encoding="utf-8", errors="replace")
        entries = (os.fsdecode(each).partition("=") for each in (proc / "environ").read_bytes().split(b"\0"))
        environment = {name: value for name, _, value in entries if name}
        directory = os.readlink(proc / "cwd")
        executable = os.readlink(proc / "exe")
        contained = not os.path.samefile(proc / "root", "/")
    except (FileNotFoundError, ProcessLookupError):
        raise VMError(f"there is no process {pid}") from None
    except PermissionError:
        raise VMError(
            f"the process {pid} can't be inspected: run vmsdk doctor as its user, or as root"
        ) from None
    gid, groups = int(_field(status, "Gid").split()[0]), map(int, _field(status, "Groups").split())
    user = User.called(_field(status, "Uid").split()[0])._replace(
        gid=gid, groups=tuple(dict.fromkeys((gid, *groups)))
    )
    name, protocol = os.path.basename(executable).removesuffix(" (deleted)"), None
    release = None if contained else _release(proc / "exe", user, named)
    directories: tuple[Path, ...] = ()
    if not contained:
        home = environment.get("HOME") or user.home()
        directories = tuple(
            plugin_directories(arguments, environment, Path(directory), home)
            or default_directories(home, name)
        )
    if release is not None:
        name, protocol = release.application, release.protocol
    surroundings = Surroundings(None, directory, int(_field(status, "Umask") or "022", 8), limits_of(pid))
    return Node(name, protocol, pid, user, surroundings, environment, directories)


def _release(executable: Path, user: User, named: bool) -> Release | None:
    """Ask a process's *executable* for its version, as its *user*. None if that fails."""
    me = os.geteuid()
    try:
        if user.uid == me:
            return ask_node(executable)
        if me != 0 or not named:
            return None
        who = " ".join(map(str, (user.uid, user.gid, *user.groups)))
        command = Command(sys.executable, [sys.executable, "-I", "-S", "-c", _BECOME, str(executable), who])
        return command.release(NODE_TIMEOUT_S)
    except (VMError, OSError):  # a wrapper, or something that is not a node
        return None


def running_nodes() -> Iterator[int]:
    """Yield the process IDs of the nodes that run on this machine."""
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            name = os.path.basename(os.readlink(proc / "exe"))
        except OSError:
            continue
        if any(name.removesuffix(" (deleted)") == each for each in NODE_NAMES):
            yield int(proc.name)


def nodes_on_path() -> list[str]:
    """Return the nodes' executables on the PATH."""
    return [found for name in reversed(NODE_NAMES) if (found := shutil.which(name))]


def is_hidden(pid: int, path: Path) -> bool:
    """Return whether the process sees nothing, or something else, at *path*, by its mounts."""
    root = f"/proc/{pid}/root"
    try:
        if not os.path.samefile(root, "/"):  # a container, whose paths are others
            return False
        real = os.path.realpath(path)  # a link would lead out of the process's mounts
        return not os.path.samefile(root + real, real)
    except (FileNotFoundError, NotADirectoryError):
        return path.exists() and os.path.isdir(root)
    except OSError:
        return False


def usual_directories(home: str | None, environment: Mapping[str, str]) -> list[Path]:
    """Return the plugin directories that nodes use by default and that exist."""
    found = [*plugin_directories([], environment, Path.cwd(), home), *default_directories(home)]
    return [each for each in dict.fromkeys(found) if os.path.isdir(each)]


def default_directories(home: str | None, name: str = "") -> list[Path]:
    """Return the plugin directories that exist in *home*, of the node called *name* or of all."""
    names = [each for each in NODE_NAMES if each == name] or sorted(NODE_NAMES, reverse=True)
    found = [Path(home, f".{each}", "plugins") for each in names] if home else []
    return [each for each in found if os.path.isdir(each)]


def plugin_directories(
    arguments: list[str], environment: Mapping[str, str], cwd: Path, home: str | None
) -> list[Path]:
    """Return the plugin directory that a node was given, if any: otherwise it uses the default."""
    for flag, variable, inside in (
        ("plugin-dir", "AVAGO_PLUGIN_DIR", ""),
        ("data-dir", "AVAGO_DATA_DIR", "plugins"),
    ):
        joined = (found[1] for each in arguments if (found := re.match(rf"--?{flag}=(.+)", each)))
        separate = (value for name, value in pairwise(arguments) if name in (f"--{flag}", f"-{flag}"))
        given = next(joined, None) or next(separate, None) or environment.get(variable)
        if given:
            return [cwd / _expanded(given, environment, home or "") / inside]
    return []


def _expanded(text: str, environment: Mapping[str, str], home: str) -> str:
    """Expand variables and ~ as the node does, whose environment is not ours."""
    variables = {"HOME": home, **environment}
    text = re.sub(r"^~(?=/|$)", lambda _: home, text)
    return re.sub(r"\$(?:(\w+)|\{(\w+)\})", lambda found: variables.get(found[1] or found[2], ""), text)


def _field(status: str, name: str) -> str:
    found = re.search(rf"^{name}:[ \t]*(.*)$", status, re.MULTILINE)
    return "" if found is None else found[1]
