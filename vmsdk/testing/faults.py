"""Faults between a node and its VM: failed, lost and slow calls, and crashes."""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk.host.client import VMClient
from vmsdk.host.errors import PluginGone
from vmsdk.host.service import ServiceError
from vmsdk.host.services import NodeServices
from vmsdk.services.channel import CallFailed

When: TypeAlias = Literal["before", "after"]

DATABASE_WRITE = "database write"
ENGINE_CALL = "engine call"
SERVICE_CALL = "service call"
_KINDS = (DATABASE_WRITE, ENGINE_CALL, SERVICE_CALL)
_WRITES = {"Put", "Delete", "WriteBatch", "Apply"}
# A held call continues after this time, so that a forgotten release can't hang a test forever.
_MAX_HELD_S = 30.0
_LOST = "the response was lost (injected)"
_CANCELLED = "the node has cancelled the call (injected)"


class Point(NamedTuple):
    """A moment at which a VM can crash: before or after the *number*-th of some calls."""

    what: str
    number: int
    when: When

    def __str__(self) -> str:
        return f"{self.when} {self.what} {self.number}"


class _Fault(NamedTuple):
    kind: Literal["fail", "lose", "hold", "cancel"]
    text: str = ""
    released: threading.Event = threading.Event()


class Faults:
    """Disturbs the calls between one node and its VM. Thread-safe; it outlives restarts.

    Calls are named as on the wire: `BuildBlock` of the VM, `WriteBatch` or `SendAppGossip` of the
    node. *record* gets a line for each call.
    """

    def __init__(self, record: Callable[[str], None]) -> None:
        self._record = record
        self._lock = threading.Lock()
        self._planned: dict[str, deque[_Fault]] = {}
        self._unused: list[tuple[str, _Fault]] = []
        self._crash: Point | None = None
        self._crash_asked: Point | None = None
        self._kill: Callable[[], object] = lambda: None
        self._client: VMClient | None = None
        self.reached: Counter[str] = Counter()
        """The number of calls, by method and by kind: "database write", "engine call" (of the VM)
        and "service call" (of the node).
        """
        self.crashed_at: Point | None = None
        """Where the VM has crashed, if it has."""
        self._methods: set[str] = set()
        self._scrambled = False
        self._held_back: list[Callable[[], None]] = []

    # For tests ------------------------------------------------------------------------------------

    def fail(self, method: str, text: str = "injected fault", *, times: int = 1) -> None:
        """Make the next *times* calls of *method* fail with *text*, and have no effect."""
        self._plan(method, _Fault("fail", text), times)

    def lose(self, method: str, *, times: int = 1) -> None:
        """Lose the responses to the next *times* calls of *method*: they take effect, but fail."""
        self._plan(method, _Fault("lose"), times)

    def cancel(self, method: str, *, times: int = 1) -> None:
        """Make the node cancel the next *times* calls of the VM's *method* once they have begun.

        The VM may still be busy with such a call while the node makes the next one.
        """
        if self._client is not None and not hasattr(self._client, method):
            raise ValueError(f"the VM has no method {method!r}, and only calls of the VM can be cancelled")
        self._plan(method, _Fault("cancel"), times)

    @contextmanager
    def hold(self, method: str) -> Iterator[None]:
        """Make the next call of *method* wait until the `with` block ends."""
        released = threading.Event()
        self._plan(method, _Fault("hold", released=released), 1)
        try:
            yield
        finally:
            released.set()

    def crash_at(self, what: str, number: int = 1, when: When = "before") -> None:
        """Kill the VM before or after the *number*-th call of *what*, counted from now.

        *what* is a method or "database write", "engine call", "service call". A crash after an
        engine call comes before the node gets the response.
        """
        self._check(what, _KINDS)
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"calls are counted from 1, so number can't be {number!r}")
        if when not in get_args(When):
            raise ValueError(f'a crash comes "before" or "after" a call, not {when!r}')
        with self._lock:
            self._crash = Point(what, self.reached[what] + number, when)
            self._crash_asked = Point(what, number, when)

    def scramble(self) -> None:
        """From now on, deliver the VM's gossip and requests to its peers twice: the second time
        after the next message, or in `clear`.
        """
        self._scrambled = True

    def clear(self) -> int:
        """Forget the faults and the crash that have not happened yet, and deliver the messages that
        were held back. Returns the number of these faults.
        """
        with self._lock:
            count = sum(map(len, self._planned.values()))
            self._planned.clear()
            self._unused.clear()
            self._crash = None
            self._scrambled = False
            held, self._held_back = self._held_back, []
        for deliver in held:
            deliver()
        return count

    def missing(self) -> list[str]:
        """Describe each planned fault or crash of which nothing has happened."""
        with self._lock:
            found = [
                f"faults.{fault.kind}({method!r}): there was no such call after it"
                for method, fault in self._unused
            ]
            if self._crash is not None and self._crash_asked is not None:
                what, number, when = self._crash_asked
                calls = number - (self._crash.number - self.reached[what])
                there = {0: "there was no such call", 1: "there was 1 such call"}.get(
                    calls, f"there were {calls} such calls"
                )
                found.append(f"crash_at({what!r}, {number}, {when!r}): {there} after it")
        return found

    # For the chain --------------------------------------------------------------------------------

    def attach(self, client: VMClient, services: NodeServices, kill: Callable[[], object]) -> None:
        """Disturb the calls between *client* of the VM and *services*. *kill* kills the VM."""
        self._kill = kill
        self._client = client
        self.crashed_at = None
        client.around = self._engine_call
        self._methods = {name for name in vars(client) if name[:1].isupper()}
        for service in services.all:
            service.around = self._service_call
            self._methods |= set(service.service.methods)
        with self._lock:
            # Faults that were planned before there was a VM.
            for method in self._planned:
                self._check(method)
            if self._crash is not None:
                self._check(self._crash.what, _KINDS)

    def pass_on(self, deliver: Callable[[], None]) -> None:
        """Deliver a message of the VM by calling *deliver*: once, or twice after `scramble`."""
        with self._lock:
            again, self._held_back = self._held_back, [deliver] if self._scrambled else []
        for each in (deliver, *again):
            each()

    def _check(self, what: str, kinds: Sequence[str] = ()) -> None:
        if self._methods and what not in (*self._methods, *kinds):
            names = ", ".join([*kinds, *sorted(self._methods)])
            raise ValueError(f"neither the VM nor the node has a method {what!r}: the choices are {names}")

    def _plan(self, method: str, fault: _Fault, times: int) -> None:
        self._check(method)
        if times < 1:
            raise ValueError(f"a fault happens at least once, not {times} times")
        with self._lock:
            self._planned.setdefault(method, deque()).extend([fault] * times)
            self._unused.append((method, fault))

    def _engine_call(self, name: str, request: Any, invoke: Callable[[], Any]) -> Any:
        kinds = (name, ENGINE_CALL)
        return self._disturb("->", name, request, invoke, kinds, _failed_call, PluginGone(name))

    def _service_call(self, name: str, request: Any, invoke: Callable[[], Any]) -> Any:
        kinds = (name, SERVICE_CALL, *((DATABASE_WRITE,) if name in _WRITES else ()))
        gone = ServiceError("the VM has crashed")
        return self._disturb("<-", name, request, invoke, kinds, ServiceError, gone)

    def _disturb(
        self,
        arrow: str,
        name: str,
        request: Any,
        invoke: Callable[[], Any],
        kinds: tuple[str, ...],
        failure: Callable[[str], Exception],
        gone: Exception,
    ) -> Any:
        with self._lock:
            self.reached.update(kinds)
            numbers = {kind: self.reached[kind] for kind in kinds}
            planned = self._planned.get(name)
            fault = planned.popleft() if planned else None
            self._unused = [(method, each) for method, each in self._unused if each is not fault]
        line = f"{arrow} {name} {shown(request)}".rstrip()
        try:
            self._reach(numbers, "before", gone)
            if fault is not None and fault.kind == "fail":
                raise failure(fault.text)
            if fault is not None and fault.kind == "hold":
                fault.released.wait(_MAX_HELD_S)
            if fault is not None and fault.kind == "cancel":
                self._begin_and_cancel(name, request)
                raise failure(_CANCELLED)
            response = invoke()
            self._reach(numbers, "after", gone)
            if fault is not None and fault.kind == "lose":
                raise failure(_LOST)
        except Exception as error:
            self._record(f"{line}: {error}")
            raise
        self._record(f"{line}: {shown(response) or 'ok'}")
        return response

    def _begin_and_cancel(self, name: str, request: Any) -> None:
        assert self._client is not None, "only a VM's client makes calls"
        call = getattr(self._client, name).start(request)
        self._client.Version.start(Empty()).result()  # Once it returns, the call before has arrived.
        call.cancel()

    def _reach(self, numbers: dict[str, int], when: When, gone: Exception) -> None:
        with self._lock:
            point = self._crash
            if point is None or point.when != when or numbers.get(point.what) != point.number:
                return
            self._crash = None
            self.crashed_at = point
        self._kill()
        raise gone


def _failed_call(text: str) -> CallFailed:
    return CallFailed(grpc.StatusCode.UNKNOWN, text)


def garbage(seed: int, count: int, *, longest: int = 300) -> Iterator[bytes]:
    """Yield *count* messages as a faulty peer may send them: empty, short, random, altered."""
    source = random.Random(seed)
    message = b""
    for _ in range(count):
        kind = source.randrange(4)
        if kind == 1:
            message = bytes([source.randrange(256)])
        elif kind == 2:
            message = source.randbytes(source.randrange(longest))
        elif kind == 3 and message:
            cut = source.randrange(len(message))
            message = message[:cut] + bytes([source.randrange(256)]) + message[cut + 1 :]
        yield message


def shown(message: Any, limit: int = 100) -> str:
    """Return a protobuf message on one line, with the first bytes of long fields in hex."""
    parts = []
    for field, value in message.ListFields():
        if isinstance(value, bytes):
            text = value[:8].hex() + (f"… ({len(value)} bytes)" if len(value) > 8 else "")
        elif isinstance(value, (int, str)):
            text = str(value)
        elif field.message_type is not None and hasattr(value, "__len__"):
            text = f"[{len(value)}]"
        else:
            text = " ".join(str(value).split())
        parts.append(f"{field.name}={text}")
    line = " ".join(parts)
    return line if len(line) <= limit else line[: limit - 1] + "…"
