"""Which users may call a server on a TCP port: on Linux, only the node's user, the VM's and root.

The system lists each connection's two sockets with their owners in `/proc/net/tcp`.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from vmsdk.address import ANY_USER

TABLES = "/proc/self/net/"
"""The tables of this process's network namespace. No other can reach its 127.0.0.1."""
VALID_S = 1.0
"""How long a verdict holds: after this time another user might have the same port."""
REFUSAL = "not permitted"

# A client may use an IPv6 socket, as Python's gRPC does. Its address is IPv4's, mapped.
_FILES = (("tcp", ""), ("tcp6", "0000000000000000FFFF0000"))
_LOOPBACK = "127.0.0.1"
# The table changes while it is read, so a read may miss a row.
_ATTEMPTS = 3
_MAX_VERDICTS = 1_000

_log = logging.getLogger("vmsdk.rpc")


class _Verdict(NamedTuple):
    is_admitted: bool
    until_s: float


class PeerCheck:
    """Whether a call to *port* of 127.0.0.1 comes from one of the *users*. Thread-safe."""

    def __init__(
        self,
        port: int,
        users: frozenset[int],
        *,
        tables: str = TABLES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = _entry(_LOOPBACK, port)
        self._users = users
        self._tables = tables
        self._clock = clock
        self._verdicts: dict[str, _Verdict] = {}
        self._refused = 0

    def admits(self, peer: str) -> bool:
        """Whether to serve a call from *peer*, an address as gRPC writes it.

        Reads the system's table at most once a second for each connection.
        """
        now_s = self._clock()
        verdict = self._verdicts.get(peer)
        if verdict is None or now_s >= verdict.until_s:
            try:
                owner = self.owner(peer)
            except OSError:  # such as no descriptor left
                return verdict is not None and verdict.is_admitted
            verdict = _Verdict(owner in self._users, now_s + VALID_S)
            if len(self._verdicts) >= _MAX_VERDICTS:
                self._verdicts.clear()
            self._verdicts[peer] = verdict
            if not verdict.is_admitted:
                self._log_refusal(owner)
        return verdict.is_admitted

    def owner(self, peer: str) -> int | None:
        """The user ID of the peer's socket; None if it is closed, or not listed.

        Raises `OSError` if the table can't be read.
        """
        kind, _, address = peer.partition(":")
        if kind != "ipv4":
            return None
        host, _, port = address.partition(":")
        client = _entry(host, int(port))
        for _ in range(_ATTEMPTS):
            for name, mapped in _FILES:
                row = f" {mapped}{client} {mapped}{self._server} ".encode()
                try:
                    with open(self._tables + name, "rb") as table:
                        _, found, rest = table.read().partition(row)
                except FileNotFoundError:
                    continue  # a system without IPv6
                if found:
                    # State, queues, timer, retransmits, user, timeouts, inode. A socket that its
                    # process has closed has no inode, and seems to be root's.
                    fields = rest.split(None, 7)
                    return int(fields[4]) if fields[6] != b"0" else None
        return None

    def _log_refusal(self, owner: int | None) -> None:
        self._refused += 1
        if not self._refused & (self._refused - 1):  # 1, 2, 4, …: they must not fill the log
            _log.warning(
                "refused a call by %s of this machine (%d so far): only the node may call the VM",
                "an unknown user" if owner is None else f"user {owner}",
                self._refused,
            )


def peer_check(address: str, transport: str) -> PeerCheck | None:
    """The check for a server at *address*. None on a Unix socket, where no other user can connect;
    if *transport* admits any user; and if the system does not list the owners of sockets.
    """
    if address.startswith("unix:") or transport == ANY_USER or not sys.platform.startswith("linux"):
        return None
    try:
        with open(f"{TABLES}tcp", "rb"):
            pass
    except OSError as error:
        _log.warning("other users of this machine can call the VM, which can't tell who calls: %s", error)
        return None
    users = {0, os.getuid(), os.geteuid()}
    with suppress(OSError):  # hidden, or ended
        users.add(os.stat(f"/proc/{os.getppid()}").st_uid)
    return PeerCheck(int(address.rpartition(":")[2]), frozenset(users))


def _entry(host: str, port: int) -> str:
    """An IPv4 address as the table writes it."""
    return f"{int.from_bytes(bytes(map(int, host.split('.'))), sys.byteorder):08X}:{port:04X}"
