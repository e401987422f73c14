"""Limits: large messages, many calls and connections, few descriptors, memory, and idleness."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.host.client import CHANNEL_OPTIONS
from vmsdk.host.engine import call_failed
from vmsdk.host.errors import CallFailed, HostError, PluginGone
from vmsdk.host.node import Host
from vmsdk.host.strict import MAX_BLOCK_BYTES
from vmsdk.protocol import PROTOCOLS
from vmsdk.state import State
from vmsdk.testing.areas.http import Handler, handlers, upgrade
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import Severity, Skipped, Violation, contract
from vmsdk.testing.hook import HookFailed
from vmsdk.testing.run import resident_bytes
from vmsdk.testing.wire import (
    HELD_CALLS,
    PROMPT_S,
    attempt,
    call,
    check_prompt,
    connects,
    dial,
    must_succeed,
    waits_held,
)

_SERVER = "vms/rpcchainvm/grpcutils/server.go"
_CLIENT = "vms/rpcchainvm/vm_client.go"

_AT_ONCE = 200
_KIB, _MIB = 1024, 1024 * 1024
_LARGE_TIMEOUT_S = 60.0

_HANGS_UP_S = 1.0

_DESCRIPTORS = 128
# How many calls the plugin gets to accept that many connections.
_ACCEPT_CALLS = 1_000
_WARM_UP_CALLS, _MEASURED_CALLS, _CALL_BYTES = 100, 800, 256 * _KIB
# Health is cheap, and may keep less in each call.
_HEALTH_TIMES = 5
# Two thirds of what one of the methods gets.
_GROWTH_BYTES = 32 * _MIB
_DEADLINE = Timestamp(seconds=4_000_000_000)
_MANY_TRANSACTIONS, _SUBMIT_S = 1_000, 20.0
_SUBMITTED, _BUILT, _BUILD_TIMEOUT_S = 100, 3, 15.0
# A node pings an idle connection each 30 s; a server must allow pings each 5 s.
_PING_S = 6
_IDLE_S = 60.0
_ROUNDS = 50
# How long a request may take, and all of them, as a handler may be slow or send an endless stream.
_HTTP_TIMEOUT_S, _HTTP_S = 1.0, 20.0
# So much of each request's time is not counted, as the machine may be busy.
_HTTP_PROMPT_S = 0.05
_CLIENTS, _SAMPLES, _SAMPLE_S = 3, 30, 0.1
# So often that chance, such as a thread that is handed the GIL just then, does not explain it.
_IDLE_SAMPLES = 5


@contract("limits", severity=Severity.STOPS, source=_CLIENT, protocols=range(42, max(PROTOCOLS) + 1))
def health_does_not_wait_for_events(bench: Bench) -> None:
    """Health and Version return while calls of WaitForEvent are waiting."""
    with bench.chain() as host, waits_held(host):
        for method in ("Health", "Version"):
            check_prompt(host, method, f"{HELD_CALLS} calls of WaitForEvent")


@contract("limits", severity=Severity.STOPS, source="vms/rpcchainvm/factory.go")
def version_returns_any_time(bench: Bench) -> None:
    """Version returns at any time, also before Initialize."""
    with bench.connected() as host:
        _check_version(bench, host, "before Initialize")
        host.chain.initialize()
        _check_version(bench, host, "after Initialize")
        host.chain.create_handlers()
        host.chain.begin_events()
        host.chain.set_state(State.BOOTSTRAPPING)
        _check_version(bench, host, "while the chain bootstraps")


def _check_version(bench: Bench, host: Host, when: str) -> None:
    with must_succeed(
        f"Version fails {when}",
        sent=f"Version {when}",
        node="it can't register the VM",
        cure="return a constant",
    ):
        call(host, "Version", Empty(), PROMPT_S)


@contract("limits", severity=Severity.STOPS, source=_SERVER)
def many_calls_at_once(bench: Bench) -> None:
    """The number of calls under way is not limited, so no call may be refused."""
    with bench.chain() as host:
        missing = pb.GetBlockRequest(id=bytes(32))
        calls: list[tuple[str, grpc.Future[Any]]] = []
        for _ in range(_AT_ONCE // 2):
            calls.append(("Version", host.client.Version.start(Empty(), _LARGE_TIMEOUT_S)))
            calls.append(("GetBlock", host.client.GetBlock.start(missing, _LARGE_TIMEOUT_S)))
        for name, under_way in calls:
            try:
                under_way.result()
            except grpc.RpcError as error:
                raise Violation(
                    f"{name} fails when there are many calls at once",
                    sent=f"{_AT_ONCE} calls of Version and GetBlock at once",
                    got=str(call_failed(name, error)),
                    node="an error of an engine call stops the chain",
                    cure="queue calls instead of refusing them (maximum_concurrent_rpcs must not be set)",
                ) from None


@contract("limits", severity=Severity.STOPS, source=_CLIENT, needs_blocks=True)
def calls_of_all_kinds_at_once(bench: Bench) -> None:
    """Blocks are built while transactions, messages, Health and Gather arrive."""
    calls: tuple[tuple[str, Message], ...] = (
        ("AppGossip", pb.AppGossipMsg(node_id=bytes(20), msg=b"garbage")),
        ("AppRequest", pb.AppRequestMsg(node_id=bytes(20), deadline=_DEADLINE, request=b"garbage")),
        ("Gather", Empty()),
        ("Health", Empty()),
    )
    done, one_at_a_time = threading.Event(), threading.Lock()  # A hook need not be thread-safe.
    with ThreadPoolExecutor(len(calls) + 2) as pool, bench.chain() as host:

        def submit_more() -> bool:
            with one_at_a_time:
                return _submit_more(bench, host)

        def submit_many() -> None:
            for _ in range(_SUBMITTED):
                if done.is_set() or not submit_more():
                    return

        def repeat(method: str, request: Message) -> None:
            while not done.is_set():
                attempt(host, method, request)

        def build() -> None:
            submit_more()
            block = bench.build_next(host)
            host.chain.verify(block)
            host.chain.prefer(block.id)
            host.chain.accept(block)

        bench.submit(host)
        others = [pool.submit(submit_many), *(pool.submit(repeat, *each) for each in calls)]
        try:
            for _ in range(_BUILT):
                pool.submit(build).result(_BUILD_TIMEOUT_S)
        except FutureTimeoutError:
            raise Violation(
                "the plugin builds no block while calls of other kinds arrive",
                sent="transactions, AppGossip, AppRequest, Gather, Health and BuildBlock at once",
                got=f"no block for {_BUILD_TIMEOUT_S:.0f} s",
                node="it waits forever",
                cure="take locks in the same order everywhere, and hold none during a call of the node",
            ) from None
        finally:
            done.set()
        for other in others:
            other.result()
        bench.alive(host)


# Size ---------------------------------------------------------------------------------------------


@contract("limits", severity=Severity.STOPS, source=_SERVER)
def messages_over_4_mib(bench: Bench) -> None:
    """gRPC's default message limit of 4 MiB must be off: blocks and requests may be larger."""
    _parses(bench, 5 * _MIB)


@contract("limits", severity=Severity.MISBEHAVES, source=_SERVER, slow=True)
def messages_of_64_mib(bench: Bench) -> None:
    """There is no limit for messages between the node and the plugin."""
    _parses(bench, 64 * _MIB)


def _parses(bench: Bench, size: int) -> None:
    with bench.chain() as host:
        garbage = os.urandom(_KIB) * (size // _KIB)
        for method, request in (
            ("ParseBlock", pb.ParseBlockRequest(bytes=garbage)),
            ("BatchedParseBlock", pb.BatchedParseBlockRequest(request=[garbage])),
        ):
            try:
                call(host, method, request, _LARGE_TIMEOUT_S)
            except CallFailed as error:
                if error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.name:
                    raise Violation(
                        "the plugin's server refuses large messages",
                        sent=f"{method} with {size // _MIB} MiB",
                        got=f"{error.code}: {error.details}",
                        node="a peer's large block fails; the node itself has no limit",
                        cure="set the server's and the channels' maximum message length to unlimited",
                    ) from None
        bench.alive(host)


@contract("limits", severity=Severity.STOPS, source="network/peer/peer.go", needs_blocks=True)
def blocks_fit_into_a_message(bench: Bench) -> None:
    """A built block fits into a message of 2 MiB, however many transactions are pending."""
    with bench.alone() as host:
        deadline = time.monotonic() + _SUBMIT_S
        bench.submit(host)
        count = 1
        while count < _MANY_TRANSACTIONS and time.monotonic() < deadline and _submit_more(bench, host):
            count += 1
        block = bench.build_next(host)
        if len(block.raw) > MAX_BLOCK_BYTES:
            raise Violation(
                "a built block is too large for a message between nodes",
                sent=f"{count} transactions, and BuildBlock",
                got=f"{len(block.raw)} bytes; with what a node adds, {MAX_BLOCK_BYTES} have room",
                node="no peer ever gets the block, so the chain stands still",
                cure="stop adding transactions in time: they can wait for the next block",
            )


def _submit_more(bench: Bench, host: Host) -> bool:
    """Submit a transaction to a VM that has taken one. Return False if its mempool is full."""
    try:
        bench.submit(host)
    except (HookFailed, Skipped):
        return False
    return True


# Garbage ------------------------------------------------------------------------------------------


@contract("limits", severity=Severity.MISBEHAVES, source=_SERVER)
def bytes_that_are_not_grpc(bench: Bench) -> None:
    """A connection that sends anything but gRPC does no harm."""
    with bench.chain() as host:
        for garbage in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", os.urandom(64 * _KIB)):
            try:
                with dial(host.client.address) as connection:
                    connection.sendall(garbage)
                    connection.shutdown(socket.SHUT_WR)
                    # Until the plugin hangs up, which it does once it has seen the bytes.
                    connection.settimeout(_HANGS_UP_S)
                    while connection.recv(_KIB):
                        pass
            except OSError:
                pass  # It has hung up already, waits for more, or has ended.
        if host.process.alive and not connects(host.client.address):
            raise Violation(
                "the plugin accepts no connections after bytes that are not gRPC",
                sent="an empty connection, an HTTP/1.1 request, the start of a TLS handshake, and "
                f"{64 * _KIB} random bytes",
                got="a new connection is refused",
                node="if its connection breaks, it can't reach the plugin any more",
                cure="close that connection alone, and keep accepting others",
            )
        bench.alive(host)


@contract("limits", severity=Severity.MISBEHAVES, source="vms/rpcchainvm/vm_server.go")
def requests_that_are_not_protobuf(bench: Bench) -> None:
    """A request that can't be decoded, or a method that doesn't exist, is an error of that call."""
    with bench.chain() as host:
        for path in (*(method.path for method in VM.methods.values()), "/vm.VM/NoSuchMethod", "/no.such/M"):
            invoke: Any = host.client.channel.unary_unary(path)
            if path in (VM.Shutdown.path, VM.WaitForEvent.path):
                continue  # An Empty may hold anything.
            if not host.process.alive:
                raise PluginGone(path, host.process.exit_code)
            try:
                invoke(b"\xff\xff\xff", timeout=PROMPT_S)
            except ValueError:  # The channel is closed when the process ends.
                raise PluginGone(path, host.process.exit_code) from None
            except grpc.RpcError as error:
                if call_failed(path, error).code == grpc.StatusCode.DEADLINE_EXCEEDED.name:
                    raise Violation(
                        "a request that is not protobuf makes the call hang",
                        sent=f"{path} with the bytes ffffff",
                        got=f"nothing for {PROMPT_S:.0f} s",
                        node="it never sends such a request",
                        cure="let the gRPC library decode requests, and return its error",
                    ) from None
        bench.alive(host)


# Resources ----------------------------------------------------------------------------------------


@contract("limits", severity=Severity.MISBEHAVES, source=_SERVER)
def runs_out_of_descriptors(bench: Bench) -> None:
    """A plugin without free file descriptors still responds, and recovers."""
    if not os.path.isdir("/proc/self/fd"):
        raise Skipped("only on Linux")
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
                if len(os.listdir(f"/proc/{host.process.pid}/fd")) >= _DESCRIPTORS:
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
                    "the plugin accepts no connections after it was out of descriptors",
                    sent=f"{sent}; then they were closed, and one was opened",
                    got=f"no connection for {PROMPT_S:.0f} s",
                    node="if its connection breaks, it can't reach the plugin any more",
                    cure="keep accepting connections after EMFILE",
                ) from None


class _Requests:
    """Requests to a handler, as long as they take little time: it may be one for streams."""

    def __init__(self, handler: Handler | None) -> None:
        self._handler = handler
        self._left_s = _HTTP_S
        self.count = 0

    def send(self, body: bytes = b"") -> None:
        if self._handler is None or self._left_s <= 0:
            return
        began_s = time.monotonic()
        error = self._handler.start(body=body, timeout_s=_HTTP_TIMEOUT_S).exception()
        self._left_s -= max(0.0, time.monotonic() - began_s - _HTTP_PROMPT_S)
        if error is not None and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            self._left_s -= _HTTP_S / 2  # The machine may have been busy once.
        self.count += 1

    def upgrade(self, url: str) -> None:
        """Ask for a WebSocket, and hang up."""
        if self._handler is None or self._left_s <= 0:
            return
        began_s = time.monotonic()
        with upgrade(url, self._handler) as stream:
            select.select([stream], [], [], _HTTP_TIMEOUT_S)
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
    """What peers and HTTP clients send does not stay in memory, nor what Health returns."""
    with bench.chain() as host, _requests(host) as requests:
        if not resident_bytes(host.process.pid):
            raise Skipped("this system does not show how much memory a process uses")

        def send(count: int) -> None:
            for number in range(count):
                data = os.urandom(_CALL_BYTES)
                peer = data[-20:]
                calls: tuple[tuple[str, Message], ...] = (
                    ("ParseBlock", pb.ParseBlockRequest(bytes=data)),
                    ("AppGossip", pb.AppGossipMsg(node_id=peer, msg=data)),
                    ("AppRequest", pb.AppRequestMsg(node_id=peer, deadline=_DEADLINE, request=data)),
                    ("Health", Empty()),
                )
                method, request = calls[number % len(calls)]
                for _ in range(_HEALTH_TIMES if method == "Health" else 1):
                    try:
                        call(host, method, request, PROMPT_S)
                    except CallFailed:
                        pass  # Other checks say which of these may fail.
                if method == "Health":
                    requests.send(data)

        send(_WARM_UP_CALLS)
        for _ in range(2):  # A cache with a bound fills up, and grows no more.
            before = resident_bytes(host.process.pid)
            send(_MEASURED_CALLS)
            grown = resident_bytes(host.process.pid) - before
            if grown <= _GROWTH_BYTES:
                return
        raise Violation(
            "the plugin's memory grows with each call",
            sent=f"{_MEASURED_CALLS // 4} calls each of ParseBlock, AppGossip and AppRequest with "
            f"{_CALL_BYTES // _KIB} KiB, and {_MEASURED_CALLS // 4 * _HEALTH_TIMES} of Health; all twice; "
            f"{requests.count} HTTP GETs in all",
            got=f"{grown // _MIB} MiB more resident memory, also the second time",
            node="the system kills the plugin or the node in the end",
            cure="keep nothing of what is not valid, and bound every cache",
        )


@contract("limits", severity=Severity.MISBEHAVES, source=_SERVER)
def descriptors_stay_few(bench: Bench) -> None:
    """Calls leave no open files, sockets or threads behind."""
    with bench.chain() as host, _requests(host) as requests:
        if not os.path.isdir("/proc/self/fd"):
            raise Skipped("only on Linux")
        block_id = host.chain.last_accepted.id
        calls: list[tuple[str, Message]] = [
            ("Health", Empty()),
            ("GetBlock", pb.GetBlockRequest(id=block_id)),
            ("GetAncestors", pb.GetAncestorsRequest(blk_id=block_id, max_blocks_num=1)),
            ("ParseBlock", pb.ParseBlockRequest(bytes=b"garbage")),
            ("AppGossip", pb.AppGossipMsg(node_id=bytes(20), msg=b"garbage")),
            ("Gather", Empty()),
        ]
        counts = [_counts(host)]
        for _ in range(2):  # The first time, a VM may start what it keeps.
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
                f"the plugin's {what} become more with each call",
                sent=f"{_ROUNDS} times {', '.join(method for method, _ in calls)}"
                f"; {requests.count} HTTP GETs and upgrades in all",
                got=f"{after} {what}, after {before}",
                node="it has no chain any more once the plugin has reached its limit",
                cure="close what each call opens, end its threads, and wait for the processes that it starts",
            )


def _settled(host: Host, earlier: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return `_counts`, once the VM has noticed that clients are gone."""
    deadline = time.monotonic() + PROMPT_S
    while True:
        counts = _counts(host)
        few = all(after - before < _ROUNDS // 2 for before, after in zip(earlier, counts, strict=True))
        if few or time.monotonic() > deadline:
            return counts
        host.process.wait(_SAMPLE_S)


def _counts(host: Host) -> tuple[int, int, int]:
    """Count descriptors, threads and zombies."""
    return _count(host, "fd"), _count(host, "task"), _zombies(host.process.pid)


def _count(host: Host, what: str) -> int:
    return len(os.listdir(f"/proc/{host.process.pid}/{what}"))


def _zombies(pid: int | None) -> int:
    """How many children have ended without their parent's wait."""
    count = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
        except (OSError, UnicodeDecodeError):
            continue  # It has just gone.
        count += state == "Z" and int(parent) == pid
    return count


@contract("limits", severity=Severity.BETTER_NOT, source="snow/engine/common/notifier.go")
def idleness_costs_no_processor(bench: Bench) -> None:
    """A chain without work leaves the processor alone, also after clients have come and gone."""
    with bench.chain() as host:
        if not os.path.isdir("/proc/self/fd"):
            raise Skipped("only on Linux")
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
        got=f"a thread was running {_SAMPLES - idle} of the {_SAMPLES} times that we looked",
        node="it competes with the plugin for the machine",
        cure="wait for a condition or an event instead of asking again and again",
    )


def _is_running(host: Host) -> bool:
    """Whether one of the plugin's threads uses the processor or waits for it."""
    for stat in Path(f"/proc/{host.process.pid}/task").glob("*/stat"):
        try:
            state = stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            continue  # The thread has just ended.
        if state == "R":
            return True
    return False


@contract("limits", severity=Severity.STOPS, source="vms/rpcchainvm/grpcutils/client.go", slow=True)
def stays_connected_when_idle(bench: Bench) -> None:
    """The node pings idle connections; a server that objects to pings breaks the connection."""
    options: list[tuple[str, Any]] = [
        (name, _PING_S * 1_000 if name == "grpc.keepalive_time_ms" else value)
        for name, value in CHANNEL_OPTIONS
    ]
    options.append(("grpc.use_local_subchannel_pool", 1))
    ready, broken = threading.Event(), threading.Event()

    def observe(state: grpc.ChannelConnectivity) -> None:
        if state is grpc.ChannelConnectivity.READY:
            ready.set()
        elif ready.is_set():
            broken.set()

    with bench.alone() as host, grpc.insecure_channel(host.client.address, options=options) as channel:
        channel.subscribe(observe, try_to_connect=True)
        if ready.wait(PROMPT_S) and broken.wait(_IDLE_S):
            raise Violation(
                "the plugin closes an idle connection",
                sent=f"nothing but a ping each {_PING_S} s for {_IDLE_S:.0f} s",
                got="the connection was closed (too_many_pings)",
                node="it pings each 30 s: sooner or later an engine call fails, and the chain stops",
                cure="allow pings each 5 s and without calls (grpc.http2.min_ping_interval_without_data_ms)",
            )
        bench.alive(host)
