"""Limits: many calls at once, large messages, garbage, and idle connections."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.host.client import CHANNEL_OPTIONS
from vmsdk.host.engine import call_failed
from vmsdk.host.errors import CallFailed, PluginGone
from vmsdk.host.node import Host
from vmsdk.host.strict import MAX_BLOCK_BYTES
from vmsdk.protocol import PROTOCOLS
from vmsdk.state import State
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import Severity, Skipped, Violation, contract
from vmsdk.testing.hook import HookFailed
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

_DEADLINE = Timestamp(seconds=4_000_000_000)
_MANY_TRANSACTIONS, _SUBMIT_S = 1_000, 20.0
_SUBMITTED, _BUILT, _BUILD_TIMEOUT_S = 100, 3, 15.0
# A node pings an idle connection each 30 s; a server must allow pings each 5 s.
_PING_S = 6
_IDLE_S = 60.0


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


# Idleness -----------------------------------------------------------------------------------------


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
