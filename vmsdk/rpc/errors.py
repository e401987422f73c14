"""Maps exceptions to gRPC statuses, and logs the faults of an author's code.

Texts that leave the process contain no file paths of this machine: the node shows errors on its
health page, and peers and HTTP clients see some. The log has the full text.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from binascii import crc32
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from types import TracebackType

import grpc

from vmsdk._pb.vm import vm_pb2
from vmsdk.errors import Closed, Fatal, NodeError, NotFound, StateSyncNotImplemented, VMError
from vmsdk.metrics import Family, Sample

# A status text is sent in an HTTP/2 header. Peers built on gRPC's C core accept at most 8 KiB, and
# each byte that is not printable ASCII takes three.
MAX_DETAILS_BYTES = 4_096
_CUT = "..."

MAX_SIGNATURES = 1_000
MAX_LOGGED_CHARACTERS = 1_000
"""Limits an exception's text in the log: it may quote what a client or a peer has sent."""

_USUAL_ROOTS = ("home", "root", "opt", "usr", "var", "tmp", "etc", "srv")

_SENTINELS: tuple[tuple[type[Exception], vm_pb2.Error.ValueType], ...] = (
    (Closed, vm_pb2.ERROR_CLOSED),
    (NotFound, vm_pb2.ERROR_NOT_FOUND),
    (StateSyncNotImplemented, vm_pb2.ERROR_STATE_SYNC_NOT_IMPLEMENTED),
)
SENTINELS = tuple(kind for kind, _ in _SENTINELS)
"""Exceptions that a method with an `err` field reports as a number, in a response with status OK.

An exception raised *from* one of these is not one of them, as in the node's own code.
"""


def sentinel_number(error: BaseException) -> vm_pb2.Error.ValueType:
    """The `vm.Error` number of a sentinel. Raises *error* itself if it is not one."""
    for kind, number in _SENTINELS:
        if isinstance(error, kind):
            return number
    raise error


def status(error: BaseException) -> tuple[grpc.StatusCode, str]:
    """The gRPC status for *error*: UNKNOWN with its text, as in a Go VM.

    A failed call to the node keeps its code.
    """
    code = grpc.StatusCode.UNKNOWN
    if isinstance(error, NodeError):
        code = grpc.StatusCode.__members__.get(error.code, code)
        if code is grpc.StatusCode.OK:
            code = grpc.StatusCode.UNKNOWN
    return code, details(error)


def details(error: BaseException) -> str:
    """The text of *error*, without paths, cut to fit into a header.

    If it is not one of vmsdk's exceptions, its type comes first: `KeyError: 'x'`, not `'x'`.
    """
    text = text_of(error)
    if not text or not isinstance(error, VMError):
        text = described(error)
    raw = without_paths(text[: 4 * MAX_DETAILS_BYTES]).encode("utf-8", "replace")
    used = fitting = 0
    for length, byte in enumerate(raw, start=1):
        # Source: Percent-Encoded in the protocol of gRPC over HTTP/2.
        used += 1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3
        if used > MAX_DETAILS_BYTES:
            return raw[:fitting].decode("utf-8", "ignore") + _CUT
        if used <= MAX_DETAILS_BYTES - len(_CUT):
            fitting = length
    return raw.decode("utf-8")


def described(error: BaseException) -> str:
    """The type of *error*, and its text if it has one."""
    text, kind = text_of(error), type(error).__name__
    if kind.lower() == "error":  # struct.error, binascii.Error and others mean nothing alone
        kind = f"{type(error).__module__}.{kind}"
    return f"{kind}: {text}" if text else kind


def text_of(error: BaseException) -> str:
    """The text of *error*; empty if its `__str__` fails."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - an author's __str__ may do anything; the call needs a response
        return ""


def without_paths(text: str) -> str:
    """*text* with each absolute file path cut to its last part: `vm.py` for `/opt/vms/vm.py`.

    A file path begins with a directory of this machine's root. So URLs stay, except those of files,
    and so do HTTP paths, except those such as `/tmp/x/y`.
    """
    return _directories().sub("", text) if "/" in text else text


@cache
def _directories() -> re.Pattern[str]:
    try:
        names = os.listdir("/")
    except OSError:  # not allowed in this sandbox
        names = list(_USUAL_ROOTS)
    root = f"/(?:{'|'.join(map(re.escape, names))})/+"
    quoted = rf"""(?<=['"`])/*{root}(?:[^'"`/\n]+/+)*(?=[^'"`/\n])"""
    rest = r"""(?:[^\s'"`,;:()<>/]+/+)*(?=[^\s'"`,;:()<>/])"""
    # Two slashes after a colon are a URL's. An option's letter may touch its path: -I/usr/include.
    option = r"""(?:(?<=^-[A-Za-z])|(?<=[\s'"`]-[A-Za-z]))/*"""
    starts = (r"""(?<![\w./'"`-])""", r"""(?<![\w./'"`:-])/+""", "(?<=file://)", option)
    return re.compile("|".join((quoted, *(f"{start}{root}{rest}" for start in starts))))


class FaultLog:
    """Logs each fault of an author's code with one traceback, then only counts it."""

    def __init__(self, log: logging.Logger, on_fatal: Callable[[Fatal], None] = lambda _: None) -> None:
        self.log = log
        self._on_fatal = on_fatal
        self._lock = threading.Lock()
        self._seen: Counter[tuple[str, str, str]] = Counter()
        self._by_method: Counter[str] = Counter()

    def record(self, method: str, error: BaseException, consequence: str) -> str:
        """Log that the VM's *method* raised *error*, and the *consequence*. Reports a `Fatal`.

        Returns an ID to search the log for. A place in the code always has the same one.
        """
        if isinstance(error, Fatal):
            self._on_fatal(error)
        signature = (method, type(error).__qualname__, _place(error.__traceback__))
        with self._lock:
            self._by_method[method] += 1
            if signature not in self._seen and len(self._seen) >= MAX_SIGNATURES:
                self._seen.clear()
            self._seen[signature] += 1
            times = self._seen[signature]
        fault = f"{crc32(repr(signature).encode()):08x}"
        if times == 1:
            text = "%s raised %s; %s (fault %s)"
            self.log.error(text, method, _short(error), consequence, fault, exc_info=error)
        elif times & (times - 1) == 0:  # 2, 4, 8, …: a flood must not fill the node's disk
            self.log.error(
                "%s raised %s again, %d times so far, last: %s; %s (fault %s)",
                method,
                type(error).__qualname__,
                times,
                _short(error),
                consequence,
                fault,
            )
        return fault

    def counts(self) -> dict[str, int]:
        """How many faults each method of the VM had."""
        with self._lock:
            return dict(self._by_method)

    def collect(self) -> Iterator[Family]:
        name = "faults_total"
        samples = [Sample(name, {"method": method}, n) for method, n in sorted(self.counts().items())]
        text = "Exceptions of the VM's methods that vmsdk contained or returned to the node"
        yield Family(name, text, "counter", samples)


def _short(error: BaseException) -> str:
    text = described(error)
    return text if len(text) <= MAX_LOGGED_CHARACTERS else text[:MAX_LOGGED_CHARACTERS] + _CUT


def _place(traceback: TracebackType | None) -> str:
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
