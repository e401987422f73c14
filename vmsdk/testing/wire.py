"""Calls that bypass the rules and caches of the host, for checks."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from operator import eq
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.block import Block, check_timestamp
from vmsdk.host.engine import call_failed
from vmsdk.host.errors import CallFailed, InvalidResponse
from vmsdk.host.node import Host
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.host.strict import QUIET_S
from vmsdk.testing.contract import Skipped, Violation

# Longer than a node's, since a busy machine is not the plugin's fault.
CALL_TIMEOUT_S = 20.0
PROMPT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
# Garbage that ends a parser which recurses, or which allocates the length that it reads.
DEEP = b"[" * 100_000
HUGE = b"\0\0" + b"\x7f\xff\xff\xff" * 16
HELD_CALLS = 16
# How often a database is looked at until it no longer changes.
MAX_LOOKS = 10
NO_RESPONSE = (grpc.StatusCode.DEADLINE_EXCEEDED.name, grpc.StatusCode.UNAVAILABLE.name)


def call(host: Host, method: str, request: Message, timeout_s: float = CALL_TIMEOUT_S) -> Any:
    """Call a method of the VM. Raises `CallFailed`, or `PluginGone`."""
    try:
        return getattr(host.client, method)(request, timeout_s)
    except grpc.RpcError as error:
        raise call_failed(method, error) from None


def attempt(host: Host, method: str, request: Message) -> Any:
    """Like `call`, but return None if the VM responds with an error."""
    try:
        return call(host, method, request)
    except CallFailed as error:
        if error.code in NO_RESPONSE:
            raise
        return None


@contextmanager
def must_succeed(otherwise: str, *, sent: str, node: str, cure: str) -> Iterator[None]:
    """Raise `Violation` with the message *otherwise* if the VM fails a call in the block.

    A response that a node refuses has a message of its own: `InvalidResponse` stays what it is.
    """
    try:
        yield
    except InvalidResponse:
        raise
    except CallFailed as error:
        got = f"{error.code}: {error.details}"
        raise Violation(otherwise, sent=sent, got=got, node=node, cure=cure) from None


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


def wait_for_event(host: Host, timeout_s: float = PROMPT_S) -> int | None:
    """Call WaitForEvent, within `events_ended`; None if it does not return."""
    try:
        return host.client.WaitForEvent.start(Empty(), timeout_s).result().message
    except grpc.RpcError as error:
        failure = call_failed("WaitForEvent", error)
        if failure.code == grpc.StatusCode.DEADLINE_EXCEEDED.name:
            return None
        raise failure from None


@contextmanager
def storage() -> Iterator[dict[str, Any]]:
    """A database and a folder that outlive hosts started with them: options for `Bench.start`."""
    with SQLiteDatabase() as database, TemporaryDirectory(prefix="vmsdk-check-") as directory:
        yield {"database": database, "chain_data_dir": Path(directory)}


@contextmanager
def events_ended(host: Host) -> Iterator[None]:
    """Stop the host's own calls of WaitForEvent until the end of the block."""
    host.chain.end_events()
    try:
        yield
    finally:  # Also if the check is skipped: another one may use the chain.
        if host.process.alive:
            host.chain.resume_events()


def quiet_database(host: Host) -> dict[bytes, bytes]:
    """Return what the VM has stored, once its writes in the background have ended.

    Raises `Skipped` if they do not end.
    """
    space = host.services.database.space
    pairs = dict(space.items())
    for _ in range(MAX_LOOKS):
        host.process.wait(QUIET_S)
        before, pairs = pairs, dict(space.items())
        if pairs == before:
            return pairs
    raise Skipped("the VM never stops writing to its database")


@contextmanager
def waits_held(host: Host, count: int = HELD_CALLS) -> Iterator[None]:
    """Keep *count* calls of WaitForEvent under way."""
    with events_ended(host):
        calls = [host.client.WaitForEvent.start(Empty()) for _ in range(count)]
        try:
            yield
        finally:
            for each in calls:
                each.cancel()


def check_prompt(host: Host, method: str, during: str) -> None:
    """Raise `Violation` if *method* does not return in time while the VM does something else."""
    try:
        call(host, method, Empty(), PROMPT_S)
    except CallFailed as error:
        if error.code == grpc.StatusCode.DEADLINE_EXCEEDED.name:
            raise Violation(
                f"{method} waits for other calls",
                sent=f"{method} during {during}",
                got=f"nothing for {PROMPT_S:.0f} s",
                node="Health holds the chain's lock, and Gather the whole metrics page, for as long",
                cure="calls that wait must not use up the server's threads, nor hold a lock",
            ) from None


def returns(host: Host, method: str, request: Message) -> None:
    """Call a method of a VM that is shut down. Raises `Violation` if it hangs."""
    try:
        call(host, method, request, PROMPT_S)
    except CallFailed as error:
        if error.code == grpc.StatusCode.DEADLINE_EXCEEDED.name:
            raise Violation(
                f"{method} hangs after Shutdown",
                sent=f"Shutdown, then {method}",
                got=f"nothing for {PROMPT_S:.0f} s",
                node="a graceful stop waits for the call, so the process is killed",
                cure="let calls fail once the VM is shut down",
            ) from None


def dial(address: str) -> socket.socket:
    """Connect to *address*, ``host:port`` or ``unix:path``. Raises `OSError`."""
    scheme, colon, path = address.partition(":")
    if scheme == "unix" and colon:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.settimeout(CONNECT_TIMEOUT_S)
            client.connect(path)
        except OSError:
            client.close()
            raise
        return client
    host, _, port = address.rpartition(":")
    try:
        return socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S)
    except (ValueError, OverflowError) as error:
        raise OSError(f"{address!r} is not an address: {error}") from None


def connects(address: str) -> bool:
    """Whether something listens at *address*."""
    try:
        dial(address).close()
    except OSError:
        return False
    return True


def short(data: bytes) -> str:
    """Describe bytes in a message: their number, and the first ones in hexadecimal."""
    if not data:
        return "0 bytes"
    more = "…" if len(data) > 16 else ""
    return f"{len(data)} bytes {data[:16].hex()}{more}"
