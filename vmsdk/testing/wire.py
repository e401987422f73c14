"""Raw calls, which go past the caches of the host, as checks need them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from google.protobuf.message import Message

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.block import Block, check_timestamp
from vmsdk.host.engine import call_failed
from vmsdk.host.errors import CallFailed
from vmsdk.host.node import Host
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.testing.bench import CALL_TIMEOUT_S

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
    else:
        pairs.insert(0, ("bytes", response.bytes.hex()[:64], block.raw.hex()[:64]))
    return next((f"{name} {got}, not {wanted}" for name, got, wanted in pairs if got != wanted), "")


@contextmanager
def storage() -> Iterator[dict[str, Any]]:
    """A database and a folder that outlive the hosts started with them: options for
    `Bench.start`.
    """
    with SQLiteDatabase() as database, TemporaryDirectory(prefix="vmsdk-check-") as directory:
        yield {"database": database, "chain_data_dir": Path(directory)}
