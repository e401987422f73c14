"""Where a plugin's servers listen: Unix sockets that only its own user can open, or TCP ports.

A node dials whatever address a plugin announces, `unix:/path` included. Any user of the machine can
connect to a TCP port of 127.0.0.1; `vmsdk.rpc.peercheck` keeps them from sending `Shutdown` or
`BlockAccept` to the VM.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import sys
from collections.abc import Iterator
from typing import Literal, Protocol

from vmsdk.errors import VMError

Transport = Literal["auto", "unix", "tcp", "tcp-any-user"]
TRANSPORTS: tuple[Transport, ...] = ("auto", "unix", "tcp", "tcp-any-user")
ANY_USER = "tcp-any-user"
# A node hands its GRPC_* variables on to its plugins, and no others.
TRANSPORT_VARIABLE = "GRPC_VMSDK_TRANSPORT"

# The system's limit for the path of a socket is 104 (macOS) or 108 bytes (Linux).
MAX_PATH_BYTES = 100
# In a `unix:` address they begin an escape, a query, a fragment, or the next address.
_NOT_IN_ADDRESSES = frozenset("%?#,")
_NAME = re.compile(r"vmsdk-plugin-\d+-[0-9a-f]{8}")
_SUFFIX = ".sock"
_ATTEMPTS = 10

_log = logging.getLogger("vmsdk")


class Listener(Protocol):
    """The part of a gRPC server that binds addresses."""

    def add_insecure_port(self, address: str) -> int:
        """Listen at *address*; returns the port."""


class Addresses:
    """The addresses at which the servers of one plugin listen.

    *transport* is "unix", "tcp", "tcp-any-user" (without checking who connects), or "auto": the
    value of `GRPC_VMSDK_TRANSPORT` in the environment, or else Unix sockets if possible, and TCP
    with a warning if not. Raises `VMError` if that value is not a transport.
    """

    def __init__(self, transport: Transport = "auto") -> None:
        self.transport = transport = _from_environment() if transport == "auto" else transport
        self._directory: SocketDirectory | None = None
        self._numbers = itertools.count()
        if transport in ("auto", "unix"):
            try:
                self._directory = SocketDirectory()
            except OSError as error:
                self._use_tcp(error)

    def listen(self, server: Listener) -> str:
        """Have *server* listen at a new address; returns the address for the node.

        Raises `VMError` if a Unix socket is required and can't be made, `RuntimeError` if no port
        is free.
        """
        if self._directory is not None:
            address = f"unix:{self._directory.path}/{next(self._numbers)}{_SUFFIX}"
            try:
                server.add_insecure_port(address)
            except RuntimeError as error:
                self._use_tcp(error)
            else:
                return address
        return f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"

    def close(self) -> None:
        """Remove the sockets; in a forked child, only release them. Idempotent."""
        if self._directory is not None:
            self._directory.close()

    def remove_stale(self) -> None:
        """Remove the sockets that killed plugins of this user left behind."""
        if self._directory is not None:
            remove_stale(self._directory.parent)

    def _use_tcp(self, reason: Exception) -> None:
        text = f"no Unix socket can be made: {reason}"
        if self.transport == "unix":
            raise VMError(f"{text}. Use transport=tcp, or give the VM another TMPDIR") from None
        _log.warning("%s. The VM listens on TCP ports of this machine instead", text)


class SocketDirectory:
    """A new directory for sockets that no other user can enter.

    Its owner holds a lock on it, which the system releases however the owner exits. So directories
    of killed plugins differ from those in use, and systemd does not clean up the latter either.
    Raises `OSError` if none can be created.
    """

    def __init__(self) -> None:
        if sys.platform == "win32":
            raise OSError("Windows has no Unix sockets that gRPC can use")
        self._pid = os.getpid()
        errors = []
        for parent in _temporary_directories():
            try:
                self.path, self._descriptor = _make(parent)
            except OSError as error:
                errors.append(f"{parent}: {error.strerror or error}")
            else:
                self.parent = parent
                return
        raise OSError("; ".join(errors))

    def close(self) -> None:
        """Remove it with its sockets; in a forked child, only release the lock."""
        if self._descriptor >= 0:
            if os.getpid() == self._pid:
                _empty(self.path, self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


def remove_stale(parent: str) -> None:
    """Remove this user's directories of sockets in *parent* whose owners have exited."""
    try:
        with os.scandir(parent) as entries:
            paths = [entry.path for entry in entries if _NAME.fullmatch(entry.name)]
    except OSError:
        return
    for path in paths:
        _remove_if_stale(path)


def _from_environment() -> Transport:
    given = os.environ.get(TRANSPORT_VARIABLE) or "auto"
    for transport in TRANSPORTS:
        if transport == given:
            return transport
    raise VMError(f"{TRANSPORT_VARIABLE} is {given!r}, but must be one of {', '.join(TRANSPORTS)}")


# Not `tempfile`, whose import takes longer than all of this: a plugin must start quickly.
def _temporary_directories() -> Iterator[str]:
    given = os.environ.get("TMPDIR")
    if given:
        yield os.path.abspath(given)
    yield from ("/tmp", "/var/tmp")


if sys.platform != "win32":
    import fcntl

    def _make(parent: str) -> tuple[str, int]:
        """The path of a new directory in *parent*, and a descriptor of it that holds the lock."""
        for _ in range(_ATTEMPTS):
            path = os.path.join(parent, f"vmsdk-plugin-{os.getpid()}-{os.urandom(4).hex()}")
            if len(os.fsencode(path)) + len(f"/00000{_SUFFIX}") > MAX_PATH_BYTES:
                raise OSError(f"a socket's path there has more than {MAX_PATH_BYTES} bytes")
            if not path.isprintable() or _NOT_IN_ADDRESSES.intersection(path):
                raise OSError("its path can't be part of a gRPC address")
            os.mkdir(path, 0o700)
            try:
                descriptor = _locked(path)
            except OSError:
                os.rmdir(path)
                raise
            if descriptor is not None:
                return path, descriptor
        raise OSError("other plugins keep removing it")

    def _locked(path: str) -> int | None:
        """A descriptor of the directory that holds its lock; None if another plugin, which is
        starting, considered the directory stale.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.stat(path)
        except (BlockingIOError, FileNotFoundError):
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _remove_if_stale(path: str) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return  # another user's, or gone
        try:
            if os.fstat(descriptor).st_uid == os.geteuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _empty(path, descriptor)
        except OSError:
            pass  # in use
        finally:
            os.close(descriptor)


def _empty(path: str, descriptor: int) -> None:
    """Remove the directory with its sockets, and nothing else."""
    try:
        for name in os.listdir(descriptor):
            if name.endswith(_SUFFIX):
                os.unlink(name, dir_fd=descriptor)
        os.rmdir(path)
    except OSError:
        pass  # already gone, or has files that aren't ours
