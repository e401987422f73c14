"""The resources that a plugin uses: descriptors, threads, memory, processor time."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.client import CHANNEL_OPTIONS
from vmsdk.host.errors import CallFailed, HostError
from vmsdk.host.node import Host
from vmsdk.testing.areas.http import Handler, handlers, upgrade
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import GRPC_SERVER, NOTIFIER, Severity, Skipped, Violation, contract
from vmsdk.testing.run import resident_bytes
from vmsdk.testing.wire import (
    KIB,
    MIB,
    PROMPT_S,
    app_request,
    attempt,
    call,
    check_prompt,
    dial,
    get_ancestors,
    gossip,
    only_on_linux,
    process_fields,
)

_DESCRIPTORS = 128
# How many calls the plugin gets to accept that many connections.
_ACCEPT_CALLS = 1_000
_WARM_UP_CALLS, _MEASURED_CALLS, _CALL_BYTES = 100, 800, 256 * KIB
# Health is cheap, and may leak less in each call.
_HEALTH_TIMES = 5
# Two thirds of what is sent to each method.
_GROWTH_BYTES = 32 * MIB
_ROUNDS = 50
# How long a request may take, and all of them: a handler may be slow, or send an endless stream.
_HTTP_TIMEOUT_S, _HTTP_S = 1.0, 20.0
# So much of each request's time does not count, because the machine may be busy.
_HTTP_PROMPT_S = 0.05
_CLIENTS, _SAMPLES, _SAMPLE_S = 3, 30, 0.1
# Enough to rule out chance, such as a thread that has just been given the GIL.
_IDLE_SAMPLES = 5


@contract("limits", severity=Severity.MISBEHAVES, source=GRPC_SERVER)
def runs_out_of_descriptors(bench: Bench) -> None:
    """A plugin without free file descriptors still responds, and recovers."""
    only_on_linux()
    bench.command = ["/bin/sh", "-c", f'ulimit -n {_DESCRIPTORS} && exec "$@"', "sh", *bench.command]
    with ExitStack() as resources:
        try:
            host = resources.enter_context(bench.alone())
        except HostError:
            raise Skipped(f"the plugin does not start with {_DESCRIPTORS} file descriptors") from None
        sent = f"{_DESCRIPTORS} idle connections to a plugin with {_DESCRIPTORS} descriptors"
        with ExitStack() as connections:
            for _ in range(_DESCRIPTORS):
                try:
                    connections.enter_context(dial(host.client.address))
                except BlockingIOError:
                    break  # The backlog of a Unix socket is full.
            for _ in range(_ACCEPT_CALLS):
                if _count(host, "fd") >= _DESCRIPTORS:
                    break
                check_prompt(host, "Version", sent)
            for method in ("Health", "Version"):
                check_prompt(host, method, sent)
        bench.alive(host)
        with grpc.insecure_channel(host.client.address, options=CHANNEL_OPTIONS) as channel:
            try:
                grpc.channel_ready_future(channel).result(PROMPT_S)
            except grpc.FutureTimeoutError:
                raise Violation(
                    "the plugin accepts no connections after it ran out of descriptors",
                    sent=f"{sent}; then they were closed, and one was opened",
                    got=f"no connection for {PROMPT_S:.0f} s",
                    node="if its connection breaks, it can no longer reach the plugin",
                    cure="keep accepting connections after EMFILE",
                ) from None


class _Requests:
    """Sends requests to a handler until they have taken a certain time: it may serve streams."""

    def __init__(self, handler: Handler | None) -> None:
        self._handler = handler
        self._left_s = _HTTP_S
        self.count = 0

    def send(self, body: bytes = b"") -> None:
        """Send a GET, and wait for the response."""
        with self._timed() as handler:
            if handler is not None:
                error = handler.start(body=body, timeout_s=_HTTP_TIMEOUT_S).exception()
                if error is not None and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    self._left_s -= _HTTP_S / 2  # Not all of it: the machine may have been busy.

    def upgrade(self, url: str) -> None:
        """Request a WebSocket, and hang up."""
        with self._timed() as handler:
            if handler is not None:
                with upgrade(url, handler) as stream:
                    select.select([stream], [], [], _HTTP_TIMEOUT_S)

    @contextmanager
    def _timed(self) -> Iterator[Handler | None]:
        """Count a request, and its time. None if no more are to be sent."""
        if self._handler is None or self._left_s <= 0:
            yield None
            return
        began_s = time.monotonic()
        yield self._handler
        self._left_s -= max(0.0, time.monotonic() - began_s - _HTTP_PROMPT_S)
        self.count += 1


@contextmanager
def _requests(host: Host) -> Iterator[_Requests]:
    if not host.chain.handlers:
        yield _Requests(None)
        return
    with handlers(host) as found:
        yield _Requests(found[0])


@contract("limits", severity=Severity.MISBEHAVES, source="network/throttling/inbound_msg_throttler.go")
def memory_stays_flat(bench: Bench) -> None:
    """What peers and HTTP clients send is not kept in memory, nor is what Health returns."""
    with bench.chain() as host, _requests(host) as requests:
        if not resident_bytes(host.process.pid):
            raise Skipped("this system does not show how much memory a process uses")

        def send(count: int) -> None:
            for number in range(count):
                data = os.urandom(_CALL_BYTES)
                peer = data[-20:]
                calls: tuple[tuple[str, Message], ...] = (
                    ("ParseBlock", pb.ParseBlockRequest(bytes=data)),
                    gossip(data, peer),
                    app_request(data, sender=peer),
                    ("Health", Empty()),
                )
                method, request = calls[number % len(calls)]
                for _ in range(_HEALTH_TIMES if method == "Health" else 1):
                    with suppress(CallFailed):  # Whether it may fail is for other checks.
                        call(host, method, request, PROMPT_S)
                if method == "Health":
                    requests.send(data)

        send(_WARM_UP_CALLS)
        for _ in range(2):  # A cache with a limit fills up, then stops growing.
            before = resident_bytes(host.process.pid)
            send(_MEASURED_CALLS)
            grown = resident_bytes(host.process.pid) - before
            if grown <= _GROWTH_BYTES:
                return
        raise Violation(
            "the plugin's memory grows with each call",
            sent=f"{_MEASURED_CALLS // 4} calls each of ParseBlock, AppGossip and AppRequest with "
            f"{_CALL_BYTES // KIB} KiB, and {_MEASURED_CALLS // 4 * _HEALTH_TIMES} of Health; all twice; "
            f"{requests.count} HTTP GETs in all",
            got=f"{grown // MIB} MiB more resident memory, even the second time",
            node="the system eventually kills the plugin or the node",
            cure="keep nothing that is invalid, and limit every cache",
        )


@contract("limits", severity=Severity.MISBEHAVES, source=GRPC_SERVER)
def descriptors_stay_few(bench: Bench) -> None:
    """Calls leave no open files, sockets or threads behind."""
    only_on_linux()
    with bench.chain() as host, _requests(host) as requests:
        block_id = host.chain.last_accepted.id
        calls: list[tuple[str, Message]] = [
            ("Health", Empty()),
            ("GetBlock", pb.GetBlockRequest(id=block_id)),
            get_ancestors(block_id),
            ("ParseBlock", pb.ParseBlockRequest(bytes=b"garbage")),
            gossip(b"garbage"),
            ("Gather", Empty()),
        ]
        counts = [_counts(host)]
        for _ in range(2):  # The first time, a VM may start threads that it keeps.
            for method, request in calls * _ROUNDS:
                attempt(host, method, request)
            for _ in range(_ROUNDS):
                requests.send()
                requests.upgrade(bench.url(host))
            counts.append(_settled(host, counts[-1]))
    kinds = ("file descriptors", "threads", "ended children")
    for before, after, what in zip(*counts[1:], kinds, strict=True):
        if after - before >= _ROUNDS // 2:
            raise Violation(
                f"the number of the plugin's {what} grows with each call",
                sent=f"{_ROUNDS} times {', '.join(method for method, _ in calls)}"
                f"; {requests.count} HTTP GETs and upgrades in all",
                got=f"{after} {what}, after {before}",
                node="it loses the chain once the plugin reaches its limit",
                cure="close what each call opens, end its threads, and wait for the processes that it starts",
            )


def _settled(host: Host, earlier: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return `_counts` once the VM has noticed that its clients have disconnected."""
    deadline = time.monotonic() + PROMPT_S
    while True:
        counts = _counts(host)
        few = all(after - before < _ROUNDS // 2 for before, after in zip(earlier, counts, strict=True))
        if few or time.monotonic() > deadline:
            return counts
        host.process.wait(_SAMPLE_S)


def _counts(host: Host) -> tuple[int, int, int]:
    """Return the number of descriptors, threads, and children that have ended unawaited."""
    zombie = ("Z", host.process.pid)
    zombies = sum(process_fields(stat) == zombie for stat in Path("/proc").glob("[0-9]*/stat"))
    return _count(host, "fd"), _count(host, "task"), zombies


def _count(host: Host, what: str) -> int:
    return len(os.listdir(f"/proc/{host.process.pid}/{what}"))


@contract("limits", severity=Severity.BETTER_NOT, source=NOTIFIER)
def idleness_costs_no_processor(bench: Bench) -> None:
    """A chain without work uses no processor time, even after clients have disconnected."""
    only_on_linux()
    with bench.chain() as host:
        with _requests(host) as requests:
            for _ in range(_CLIENTS):
                requests.send()
                requests.upgrade(bench.url(host))
        idle = 0
        for _ in range(_SAMPLES):
            idle += not _is_running(host)
            if idle == _IDLE_SAMPLES:
                return
            host.process.wait(_SAMPLE_S)
    raise Violation(
        "the plugin is busy although there is nothing to do",
        sent=f"some HTTP requests and upgrades, then nothing for {_SAMPLES * _SAMPLE_S:.0f} s",
        got=f"a running thread in {_SAMPLES - idle} of {_SAMPLES} samples",
        node="it competes with the plugin for the machine",
        cure="wait for a condition or an event instead of polling",
    )


def _is_running(host: Host) -> bool:
    """Whether one of the plugin's threads uses a processor or waits for one."""
    threads = Path(f"/proc/{host.process.pid}/task").glob("*/stat")
    return any(process_fields(stat)[0] == "R" for stat in threads)
