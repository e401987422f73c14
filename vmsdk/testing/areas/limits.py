"""Limits: many calls at once, large messages, garbage, and idle connections."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.host.client import CHANNEL_OPTIONS
from vmsdk.host.errors import CallFailed, PluginGone
from vmsdk.host.node import Host
from vmsdk.host.strict import MAX_BLOCK_BYTES
from vmsdk.state import State
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import (
    FROM_42,
    GRPC_SERVER,
    VM_CLIENT,
    VM_SERVER,
    Severity,
    Skipped,
    Violation,
    contract,
)
from vmsdk.testing.hook import HookFailed
from vmsdk.testing.wire import (
    KIB,
    MIB,
    PROMPT_S,
    accept,
    app_request,
    attempt,
    call,
    check_prompt_during_waits,
    connects,
    dial,
    gossip,
    must_return,
    must_succeed,
)

_AT_ONCE = 200
_LARGE_TIMEOUT_S = 60.0
_HANG_UP_TIMEOUT_S = 1.0
_MANY_TRANSACTIONS, _SUBMIT_S = 1_000, 20.0
_SUBMITTED, _BUILT, _BUILD_TIMEOUT_S = 100, 3, 15.0
# A node pings an idle connection every 30 s; a server must allow pings every 5 s.
_PING_S = 6
_IDLE_S = 60.0


@contract("limits", severity=Severity.STOPS, source=VM_CLIENT, protocols=FROM_42)
def health_does_not_wait_for_events(bench: Bench) -> None:
    """Health and Version return while calls of WaitForEvent are waiting."""
    with bench.chain() as host:
        check_prompt_during_waits(host, "Health", "Version")


@contract("limits", severity=Severity.STOPS, source="vms/rpcchainvm/factory.go")
def version_returns_any_time(bench: Bench) -> None:
    """Version returns at any time, even before Initialize."""
    with bench.connected() as host:
        _check_version(host, "before Initialize")
        host.chain.initialize()
        _check_version(host, "after Initialize")
        host.chain.create_handlers()
        host.chain.begin_events()
        host.chain.set_state(State.BOOTSTRAPPING)
        _check_version(host, "while the chain bootstraps")


def _check_version(host: Host, when: str) -> None:
    with must_succeed(
        f"Version fails {when}",
        sent=f"Version {when}",
        node="it can't register the VM",
        cure="return a constant",
    ):
        call(host, "Version", Empty(), PROMPT_S)


@contract("limits", severity=Severity.STOPS, source=GRPC_SERVER)
def many_calls_at_once(bench: Bench) -> None:
    """The number of calls under way is not limited, so no call may be refused."""
    with bench.chain() as host:
        missing = pb.GetBlockRequest(id=bytes(32))
        calls: list[tuple[str, grpc.Future[Any]]] = []
        for _ in range(_AT_ONCE // 2):
            calls.append(("Version", host.client.Version.start(Empty(), _LARGE_TIMEOUT_S)))
            calls.append(("GetBlock", host.client.GetBlock.start(missing, _LARGE_TIMEOUT_S)))
        for name, running in calls:
            with must_succeed(
                f"{name} fails when there are many calls at once",
                sent=f"{_AT_ONCE} calls of Version and GetBlock at once",
                node="an error of an engine call stops the chain",
                cure="queue calls instead of refusing them (maximum_concurrent_rpcs must not be set)",
            ):
                running.result()


@contract("limits", severity=Severity.STOPS, source=VM_CLIENT, needs_blocks=True)
def calls_of_all_kinds_at_once(bench: Bench) -> None:
    """Blocks are built while transactions, messages, Health and Gather arrive."""
    calls: tuple[tuple[str, Message], ...] = (
        gossip(b"garbage"),
        app_request(b"garbage"),
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
            accept(host, bench.build_next(host))

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


@contract("limits", severity=Severity.STOPS, source=GRPC_SERVER)
def messages_over_4_mib(bench: Bench) -> None:
    """gRPC's default message limit of 4 MiB must be off: blocks and requests may be larger."""
    _check_size(bench, 5)


@contract("limits", severity=Severity.MISBEHAVES, source=GRPC_SERVER, slow=True)
def messages_of_64_mib(bench: Bench) -> None:
    """There is no limit for messages between the node and the plugin."""
    _check_size(bench, 64)


def _check_size(bench: Bench, size_mib: int) -> None:
    with bench.chain() as host:
        garbage = os.urandom(KIB) * (size_mib * MIB // KIB)
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
                        sent=f"{method} with {size_mib} MiB",
                        got=f"{error.code}: {error.details}",
                        node="a peer's large block fails; the node itself has no limit",
                        cure="set no maximum message length for the server and its channels",
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
                got=f"{len(block.raw)} bytes; with what a node adds, {MAX_BLOCK_BYTES} fit",
                node="no peer ever receives the block, so the chain stops",
                cure="limit the block's size: the other transactions can wait for the next block",
            )


def _submit_more(bench: Bench, host: Host) -> bool:
    """Submit a transaction to a VM that has accepted one before. Returns False if its mempool is
    full.
    """
    try:
        bench.submit(host)
    except (HookFailed, Skipped):
        return False
    return True


# Garbage ------------------------------------------------------------------------------------------


@contract("limits", severity=Severity.MISBEHAVES, source=GRPC_SERVER)
def bytes_that_are_not_grpc(bench: Bench) -> None:
    """A connection that sends anything but gRPC does no harm."""
    with bench.chain() as host:
        for garbage in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", os.urandom(64 * KIB)):
            # An error means that the plugin has hung up already, waits for more, or has ended.
            with suppress(OSError), dial(host.client.address) as connection:
                connection.sendall(garbage)
                connection.shutdown(socket.SHUT_WR)
                # A plugin hangs up once it has read the bytes.
                connection.settimeout(_HANG_UP_TIMEOUT_S)
                while connection.recv(KIB):
                    pass
        if host.process.alive and not connects(host.client.address):
            raise Violation(
                "the plugin accepts no connections after bytes that are not gRPC",
                sent="an empty connection, an HTTP/1.1 request, the start of a TLS handshake, and "
                f"{64 * KIB} random bytes",
                got="a new connection is refused",
                node="if its connection breaks, it can no longer reach the plugin",
                cure="close only that connection, and keep accepting others",
            )
        bench.alive(host)


@contract("limits", severity=Severity.MISBEHAVES, source=VM_SERVER)
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
                with must_return(
                    "a request that is not protobuf makes the call hang",
                    sent=f"{path} with the bytes ffffff",
                    node="it never sends such a request",
                    cure="let the gRPC library decode requests, and return its error",
                ):
                    invoke(b"\xff\xff\xff", timeout=PROMPT_S)
            except ValueError:  # The channel is closed when the process ends.
                raise PluginGone(path, host.process.exit_code) from None
        bench.alive(host)


# Idle connections ---------------------------------------------------------------------------------


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
                sent=f"nothing but a ping every {_PING_S} s for {_IDLE_S:.0f} s",
                got="the connection was closed (too_many_pings)",
                node="it pings every 30 s: sooner or later an engine call fails, and the chain stops",
                cure="allow pings every 5 s and without calls (grpc.http2.min_ping_interval_without_data_ms)",
            )
        bench.alive(host)
