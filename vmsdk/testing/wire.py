"""What the checks share: direct calls of the VM, without the rules and caches of the host."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from operator import eq
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.errors import VMError
from vmsdk.host.block import Block, check_timestamp
from vmsdk.host.engine import call_failed
from vmsdk.host.errors import CallFailed, ClientClosed, InvalidResponse, PluginGone
from vmsdk.host.node import Host
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.host.strict import QUIET_S
from vmsdk.ids import NodeID
from vmsdk.testing.contract import Skipped, Violation

# Longer than a node's timeout, since a busy machine is not the plugin's fault.
CALL_TIMEOUT_S = 20.0
PROMPT_S = 10.0
SHUTDOWN_TIMEOUT_S = 10.0
KIB, MIB = 1024, 1024 * 1024
# Garbage that breaks a parser which recurses, or which allocates the length that it reads.
DEEP = b"[" * 100_000
HUGE = b"\0\0" + b"\x7f\xff\xff\xff" * 16
PEER = NodeID(b"peer" * 5)
_CONNECT_TIMEOUT_S = 5.0
_HELD_CALLS = 16
# How often to read a database until it no longer changes.
_MAX_READS = 10
DEADLINE = Timestamp(seconds=4_000_000_000)
_TIMED_OUT = grpc.StatusCode.DEADLINE_EXCEEDED.name
_NO_RESPONSE = (_TIMED_OUT, grpc.StatusCode.UNAVAILABLE.name)


# Calls --------------------------------------------------------------------------------------------


def call(host: Host, method: str, request: Message, timeout_s: float = CALL_TIMEOUT_S) -> Any:
    """Call a method of the VM. Raises `CallFailed`, or `PluginGone`."""
    try:
        return getattr(host.client, method)(request, timeout_s)
    except grpc.RpcError as error:
        raise call_failed(method, error) from None


def attempt(host: Host, method: str, request: Message, timeout_s: float = CALL_TIMEOUT_S) -> Any:
    """Like `call`, but return None if the VM responds with an error."""
    try:
        return call(host, method, request, timeout_s)
    except CallFailed as error:
        if error.code in _NO_RESPONSE:
            raise
        return None


@contextmanager
def must_succeed(
    otherwise: str,
    *,
    sent: str,
    node: str,
    cure: str,
    errors: type[Exception] | tuple[type[Exception], ...] = (CallFailed, grpc.RpcError),
) -> Iterator[None]:
    """Raise `Violation` with the message *otherwise* if the block raises one of *errors*, such as
    a failed call.

    `InvalidResponse` passes through, because it has its own message.
    """
    try:
        yield
    except InvalidResponse:
        raise
    except errors as error:
        raise Violation(otherwise, sent=sent, got=_described(error), node=node, cure=cure) from None


@contextmanager
def must_return(
    otherwise: str, *, sent: str, node: str, cure: str, timeout_s: float = PROMPT_S
) -> Iterator[None]:
    """Raise `Violation` with the message *otherwise* if a call in the block exceeds its deadline,
    which is *timeout_s*. It may fail in any other way.
    """
    try:
        yield
    except (CallFailed, grpc.RpcError) as error:
        code = error.code if isinstance(error, CallFailed) else call_failed("", error).code
        if code == _TIMED_OUT:
            got = f"nothing for {timeout_s:.0f} s"
            raise Violation(otherwise, sent=sent, got=got, node=node, cure=cure) from None


def _described(error: Exception) -> str:
    if isinstance(error, grpc.RpcError):
        error = call_failed("", error)
    if isinstance(error, CallFailed):
        return f"{error.code}: {error.details}"
    return str(error) if isinstance(error, VMError) else f"{type(error).__name__}: {error}"


def gossip(data: bytes, sender: bytes = PEER) -> tuple[str, Message]:
    """Return AppGossip with its request."""
    return "AppGossip", pb.AppGossipMsg(node_id=sender, msg=data)


def app_request(
    data: bytes, number: int = 2, *, sender: bytes = PEER, deadline: Timestamp = DEADLINE
) -> tuple[str, Message]:
    """Return AppRequest with its request, which has the ID *number*."""
    return "AppRequest", pb.AppRequestMsg(node_id=sender, request_id=number, deadline=deadline, request=data)


def get_ancestors(block_id: bytes) -> tuple[str, Message]:
    """Return GetAncestors with a request for one block: a Go VM panics if it is for none."""
    return "GetAncestors", pb.GetAncestorsRequest(blk_id=block_id, max_blocks_num=1)


def parse(host: Host, data: bytes) -> pb.ParseBlockResponse:
    """Call ParseBlock."""
    response: pb.ParseBlockResponse = call(host, "ParseBlock", pb.ParseBlockRequest(bytes=data))
    return response


def get(host: Host, block_id: bytes) -> pb.GetBlockResponse:
    """Call GetBlock."""
    response: pb.GetBlockResponse = call(host, "GetBlock", pb.GetBlockRequest(id=block_id))
    return response


def difference(block: Block, response: pb.ParseBlockResponse | pb.GetBlockResponse, method: str) -> str:
    """Describe the first field of *response* that differs from *block*; empty if all are equal.

    Raises `InvalidResponse` if there is no timestamp.
    """
    pairs: list[tuple[str, object, object]] = [
        ("parent_id", response.parent_id.hex(), block.parent_id.hex()),
        ("height", response.height, block.height),
        ("timestamp", check_timestamp(method, response), block.timestamp),
    ]
    if isinstance(response, pb.ParseBlockResponse):
        pairs.insert(0, ("id", response.id.hex(), block.id.hex()))
    elif response.bytes != block.raw:
        same = sum(1 for _ in takewhile(bool, map(eq, response.bytes, block.raw)))
        return (
            f"{len(response.bytes)} bytes, not the block's {len(block.raw)}: from byte {same} on "
            f"{short(response.bytes[same:])}, not {short(block.raw[same:])}"
        )
    return next((f"{name} {got}, not {wanted}" for name, got, wanted in pairs if got != wanted), "")


def accept(host: Host, block: Block) -> None:
    """Verify, prefer and accept a block."""
    host.chain.verify(block)
    host.chain.prefer(block.id)
    host.chain.accept(block)


# Events -------------------------------------------------------------------------------------------


def wait_for_event(host: Host, timeout_s: float = PROMPT_S) -> int | None:
    """Call WaitForEvent, within `events_ended`; None if it does not return."""
    try:
        return host.client.WaitForEvent.start(Empty(), timeout_s).result().message
    except grpc.RpcError as error:
        failure = call_failed("WaitForEvent", error)
        if failure.code == _TIMED_OUT:
            return None
        raise failure from None


@contextmanager
def events_ended(host: Host) -> Iterator[None]:
    """Stop the host's own calls of WaitForEvent until the end of the block."""
    host.chain.end_events()
    try:
        yield
    finally:  # Also if the check is skipped: another one may use the chain.
        if host.process.alive:
            host.chain.resume_events()


def check_prompt_during_waits(host: Host, *methods: str) -> None:
    """Raise `Violation` if a method does not return while calls of WaitForEvent are waiting."""
    with events_ended(host):
        calls = [host.client.WaitForEvent.start(Empty()) for _ in range(_HELD_CALLS)]
        try:
            for method in methods:
                check_prompt(host, method, f"{_HELD_CALLS} calls of WaitForEvent")
        finally:
            for each in calls:
                each.cancel()


def check_prompt(host: Host, method: str, during: str) -> None:
    """Raise `Violation` if *method* does not return in time while the VM does something else."""
    with must_return(
        f"{method} waits for other calls",
        sent=f"{method} during {during}",
        node="Health holds the chain's lock, and Gather the whole metrics page, for as long",
        cure="calls that wait must not use up the server's threads, nor hold a lock",
    ):
        call(host, method, Empty(), PROMPT_S)


# Shutdown and storage -----------------------------------------------------------------------------


def check_calls_after_shutdown(host: Host, calls: Iterable[tuple[str, Message]]) -> None:
    """Shut the VM down, and raise `Violation` if one of *calls* does not return after that."""
    host.chain.end_events()
    try:
        call(host, "Shutdown", Empty(), SHUTDOWN_TIMEOUT_S)
        for method, request in calls:
            with must_return(
                f"{method} hangs after Shutdown",
                sent=f"Shutdown, then {method}",
                node="a graceful stop waits for the call, so the process is killed",
                cure="let calls fail once the VM is shut down",
            ):
                call(host, method, request, PROMPT_S)
    except (PluginGone, ClientClosed):
        pass  # A plugin may exit by itself once it has shut down.


@contextmanager
def storage() -> Iterator[dict[str, Any]]:
    """A database and a folder that outlive hosts started with them: options for `Bench.start`."""
    with SQLiteDatabase() as database, TemporaryDirectory(prefix="vmsdk-check-") as directory:
        yield {"database": database, "chain_data_dir": Path(directory)}


def quiet_database(host: Host) -> dict[bytes, bytes]:
    """Return what the VM has stored, once its writes in the background have ended.

    Raises `Skipped` if they do not end.
    """
    space = host.services.database.space
    pairs = dict(space.items())
    for _ in range(_MAX_READS):
        host.process.wait(QUIET_S)
        before, pairs = pairs, dict(space.items())
        if pairs == before:
            return pairs
    raise Skipped("the VM never stops writing to its database")


def changed_keys(before: dict[bytes, bytes], after: dict[bytes, bytes]) -> list[bytes]:
    """Return the keys in which two databases differ, sorted."""
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


# The machine --------------------------------------------------------------------------------------


def only_on_linux() -> None:
    """Raise `Skipped` if this system has no /proc."""
    if not os.path.isdir("/proc/self/fd"):
        raise Skipped("only on Linux")


def process_fields(stat: Path) -> tuple[str, int]:
    """Return the state and the parent of a process or thread from its file *stat* in /proc; "" and
    0 if it has ended.
    """
    try:
        state, parent = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return "", 0
    return state, int(parent)


def dial(address: str) -> socket.socket:
    """Connect to *address*, ``host:port`` or ``unix:path``. Raises `OSError`."""
    scheme, colon, path = address.partition(":")
    if scheme == "unix" and colon:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.settimeout(_CONNECT_TIMEOUT_S)
            client.connect(path)
        except OSError:
            client.close()
            raise
        return client
    host, _, port = address.rpartition(":")
    try:
        return socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S)
    except (ValueError, OverflowError) as error:
        raise OSError(f"{address!r} is not an address: {error}") from None


def connects(address: str) -> bool:
    """Whether a connection to *address* succeeds."""
    try:
        dial(address).close()
    except OSError:
        return False
    return True


def check_loopback_only(what: str, addresses: Iterable[str]) -> None:
    """Raise `Violation` if *what*, which listens at *addresses*, can be reached from outside."""
    ports = {address.rpartition(":")[2] for address in addresses if not address.startswith("unix:")}
    # Linux has all of 127.0.0.0/8: a server bound to 127.0.0.1 refuses 127.0.0.2.
    exposed = sorted(port for port in ports if connects(f"127.0.0.2:{port}"))
    if exposed:
        raise Violation(
            f"{what} listens on all interfaces",
            sent=f"a TCP connection to 127.0.0.2:{exposed[0]}",
            got="it was accepted",
            node="it does not notice, but any machine in the network can call the VM",
            cure='bind to "127.0.0.1", not to "0.0.0.0" or "[::]"',
        )


def short(data: bytes) -> str:
    """Describe bytes in a message: their length, and the first ones in hexadecimal."""
    if not data:
        return "0 bytes"
    more = "…" if len(data) > 16 else ""
    return f"{len(data)} bytes {data[:16].hex()}{more}"
