"""The machine that a node runs on: limits, temporary directory, disk, Python, proxies."""

from __future__ import annotations

import glob
import importlib.metadata
import importlib.util
import os
import re
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from vmsdk._version import __version__
from vmsdk.doctor.finding import Finding
from vmsdk.doctor.user import User
from vmsdk.host.spawn import Surroundings
from vmsdk.install.installation import cache_of

LIMITS = ("NOFILE", "NPROC", "AS", "DATA", "STACK", "FSIZE", "CPU", "CORE", "MEMLOCK")
"""What a plugin inherits from its node, as in `resource.RLIMIT_…`."""
# A vmsdk plugin under load has up to 50 threads, and this program has some itself.
_THREADS = 64
# A plugin's libraries, sockets and streams.
_MIN_FILES = 64
# With the connections of clients, and a database of its own. macOS gives 256.
_FILES = 256
_MIN_FREE_BYTES = 16 * 1024**2
_MIN_DATA_BYTES = 512 * 1024**2
_MIN_STACK_BYTES = _MIN_FILE_BYTES = 1024**2
_DEVICES = ("/dev/null", "/dev/urandom")
_TEMPORARY = ("/tmp", "/var/tmp")
_PROXIES = ("grpc_proxy", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
_CONNECT_TIMEOUT_S = 2.0


def description() -> dict[str, str]:
    """Return the versions of what vmsdk runs on."""
    found = {"vmsdk": __version__, "Python": f"{sys.version.split()[0]} ({sys.executable})"}
    for name in ("grpcio", "protobuf"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    missing = sorted(_missing_extras())
    found["extras not installed"] = ", ".join(missing) if missing else "none"
    return found


def findings(
    user: User, surroundings: Surroundings, environment: Mapping[str, str], path: Path | None
) -> Iterator[Finding]:
    """Yield what may keep a plugin of *user* at *path* from running, with these *surroundings*."""
    yield from _limits(user, surroundings)
    yield from _umask(surroundings)
    yield from _loopback()
    yield from _devices(user)
    yield from _cgroup()
    yield from _temporary(user)
    yield from _disks([*map(Path, _TEMPORARY), *([] if path is None else [path])])
    yield from _stale(user)
    yield from _variables(environment)


def own_findings() -> Iterator[Finding]:
    """Yield findings about the Python that runs vmsdk, from which plugins are installed."""
    tool = cache_of(Path(sys.prefix))
    if tool is not None:
        yield Finding(
            "warning",
            "cached-interpreter",
            sys.prefix,
            f"this Python is in {tool}'s cache, and vmsdk install refuses it, since {tool} may delete it",
            "use a virtual environment: python3 -m venv DIR && DIR/bin/pip install vmsdk",
        )


def _limits(user: User, surroundings: Surroundings) -> Iterator[Finding]:
    if sys.platform == "win32":
        return
    import resource

    limits = dict(surroundings.limits)
    files, _ = limits.get(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))
    if exceeds(_FILES, files):
        yield Finding(
            "error" if files < _MIN_FILES else "warning",
            "too-many-files",
            "ulimit -n",
            f"a plugin may open only {files} files: too few for a chain's connections and databases, if it"
            " starts at all",
            "raise the limit: LimitNOFILE=65536 in the node's unit, or ulimit -n 65536",
        )
    processes, _ = limits.get(resource.RLIMIT_NPROC, resource.getrlimit(resource.RLIMIT_NPROC))
    used = _threads_of(user.uid)
    if user.uid != 0 and exceeds(used + _THREADS, processes):
        yield Finding(
            "error",
            "thread-limit",
            "ulimit -u",
            f"the user {user.name} has {used} threads and may have {processes}; a plugin needs up to"
            f" {_THREADS}",
            "raise the limit: LimitNPROC= in the node's unit, or ulimit -u",
        )
    for name, number, unit, code, what, least in (
        ("ulimit -d", resource.RLIMIT_DATA, "LimitDATA", "memory", "of memory", _MIN_DATA_BYTES),
        ("ulimit -v", resource.RLIMIT_AS, "LimitAS", "memory", "of memory", _MIN_DATA_BYTES),
        ("ulimit -s", resource.RLIMIT_STACK, "LimitSTACK", "memory", "of stack", _MIN_STACK_BYTES),
        ("ulimit -f", resource.RLIMIT_FSIZE, "LimitFSIZE", "file-size", "in a file", _MIN_FILE_BYTES),
    ):
        size, _ = limits.get(number, resource.getrlimit(number))
        if exceeds(least, size):
            yield Finding(
                "error",
                code,
                name,
                f"a plugin may have only {size // 1024:,} KiB {what}; a Python VM needs {least // 1024:,}",
                f"raise the limit: {unit}= in the node's unit, or {name}",
            )


def _umask(surroundings: Surroundings) -> Iterator[Finding]:
    if surroundings.umask is not None and surroundings.umask & stat.S_IRWXU:
        yield Finding(
            "warning",
            "umask",
            f"umask {surroundings.umask:03o}",
            "it denies the owner access to new files and folders, so a plugin can't use those that it"
            " creates, such as its sockets",
            "set UMask=0022 in the node's unit, or umask 022 where it is started",
        )


def _threads_of(uid: int) -> int:
    count = 0
    for status in glob.glob("/proc/[0-9]*/status"):
        try:
            text = Path(status).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        owner = re.search(r"^Uid:\s+(\d+)", text, re.MULTILINE)
        threads = re.search(r"^Threads:\s+(\d+)", text, re.MULTILINE)
        if owner and threads and int(owner[1]) == uid:
            count += int(threads[1])
    return count


def _cgroup() -> Iterator[Finding]:
    try:
        rows = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for row in rows:
        _, controllers, path = row.split(":", 2)
        if controllers not in ("", "pids"):
            continue
        folder = Path("/sys/fs/cgroup", controllers, path.lstrip("/"))
        for each in (folder, *folder.parents):
            try:
                limit, current = (int((each / f"pids.{name}").read_text()) for name in ("max", "current"))
            except (OSError, ValueError):  # not there, or "max"
                continue
            if limit - current < _THREADS:
                yield Finding(
                    "error",
                    "thread-limit",
                    str(each / "pids.max"),
                    f"the cgroup has {current} threads and may have {limit}; a plugin needs up to {_THREADS}",
                    "raise TasksMax= of the unit, or the container's limit of processes (--pids-limit)",
                )
                return


def _loopback() -> Iterator[Finding]:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        yield Finding(
            "error",
            "no-loopback",
            "127.0.0.1",
            f"this machine can't connect to itself, as plugins do with their node: {error.strerror or error}",
            "ip link set lo up, and let the firewall pass what comes from lo",
        )


def _devices(user: User) -> Iterator[Finding]:
    # gRPC ends the process without the second one, this program's too, so this comes first.
    for each in _DEVICES:
        if not user.may(each, os.R_OK):
            yield Finding(
                "error",
                "no-device",
                each,
                f"the user {user.name} can't read {each}, without which Python or gRPC ends the plugin",
                "in a chroot: mount --rbind /dev ROOT/dev; in a unit: PrivateDevices=yes provides it",
            )


def _temporary(user: User) -> Iterator[Finding]:
    if not any(user.may(each, os.W_OK | os.X_OK) for each in _TEMPORARY):
        yield Finding(
            "warning",
            "no-unix-socket",
            " ".join(_TEMPORARY),
            f"the user {user.name} can't write there, so a vmsdk plugin listens on TCP ports, where it can"
            " refuse other users' calls only on Linux",
            "chmod 1777 /tmp, or: vmsdk install --env TMPDIR=/run/vms",
        )


def _disks(paths: list[Path]) -> Iterator[Finding]:
    for each in paths:
        try:
            disk = os.statvfs(each)
        except OSError:
            continue
        free = disk.f_bavail * disk.f_frsize
        if free < _MIN_FREE_BYTES or (disk.f_files and not disk.f_favail):
            yield Finding(
                "warning",
                "disk-full",
                str(each),
                f"its file system has {free // 1024} KiB and {disk.f_favail} inodes left",
                "free space: df -h, df -i",
            )


def _stale(user: User) -> Iterator[Finding]:
    for each in _TEMPORARY:
        stale = sum(not _is_locked(found, user.uid) for found in glob.glob(f"{each}/vmsdk-plugin-*"))
        if stale:
            yield Finding(
                "note",
                "stale-sockets",
                f"{each}/vmsdk-plugin-*",
                f"killed plugins have left directories of sockets behind ({stale})",
                "none needed: the next plugin of the same user removes them",
            )


def _is_locked(directory: str, uid: int) -> bool:
    """Return whether the directory is in use, or belongs to another user."""
    import fcntl

    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return True
    try:
        if os.fstat(descriptor).st_uid != uid:
            return True
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)


def _variables(environment: Mapping[str, str]) -> Iterator[Finding]:
    proxies = [name for name in _PROXIES if environment.get(name)]
    if proxies:
        yield Finding(
            "note",
            "proxy",
            ", ".join(proxies),
            "this environment has a proxy, which a node does not pass on to its plugins",
            "a plugin that needs it must set it itself, with no_proxy=127.0.0.1: vmsdk install --env",
        )
    for name in ("GRPC_VERBOSITY", "GRPC_TRACE", "GODEBUG"):
        if environment.get(name):
            yield Finding(
                "note",
                "variable",
                name,
                f"{name}={environment[name]} is passed on to plugins",
                "unset it if you don't need it",
            )


def _missing_extras() -> set[str]:
    missing: set[str] = set()
    try:
        requirements = importlib.metadata.requires("vmsdk") or []
    except importlib.metadata.PackageNotFoundError:
        return missing
    for each in requirements:
        found = re.match(r"([\w.-]+).*\bextra\s*==\s*['\"]([\w.-]+)['\"]", each)
        if found is None or found[1] == "vmsdk" or found[2] in ("all", "docs", "lint", "release", "test"):
            continue
        version = re.search(r"\bpython_version\s*(<|>=)\s*['\"]3\.(\d+)['\"]", each)
        if version is not None and (sys.version_info[1] < int(version[2])) != (version[1] == "<"):
            continue
        try:
            importlib.metadata.version(found[1])
        except importlib.metadata.PackageNotFoundError:
            missing.add(found[2])
    return missing


# Resource limits of processes ---------------------------------------------------------------------


def limits_of(pid: int) -> tuple[tuple[int, tuple[int, int]], ...]:
    """Return the resource limits of a process (0: this one), or none if they can't be read."""
    if sys.platform != "linux":
        return ()
    import resource

    numbers = [getattr(resource, f"RLIMIT_{name}") for name in LIMITS]
    try:
        return tuple((number, resource.prlimit(pid, number)) for number in numbers)
    except (PermissionError, ProcessLookupError):  # in a container, even root may lack the right
        return ()


def own_limits() -> tuple[tuple[int, tuple[int, int]], ...]:
    """Return this process's limits, then raise that of open files: this program needs some, too."""
    limits = limits_of(0)
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # macOS refuses an unlimited number, and anything above a limit of its kernel.
        wanted = 10_240 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
        if exceeds(wanted, soft):
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return limits


def exceeds(limit: int, other: int) -> bool:
    """Return whether *limit* is above *other*; either may be unlimited."""
    import resource

    return other != resource.RLIM_INFINITY and (limit == resource.RLIM_INFINITY or limit > other)


def hard_limit(number: int, wanted: int) -> int:
    """Return *wanted*, or the highest hard limit that this process may set if that is lower."""
    import resource

    soft, hard = resource.getrlimit(number)
    if sys.platform != "linux" or not exceeds(wanted, hard):
        return wanted
    try:
        resource.setrlimit(number, (soft, wanted))  # some of root's processes may raise it
    except (ValueError, OSError):
        return hard
    resource.setrlimit(number, (soft, hard))
    return wanted
